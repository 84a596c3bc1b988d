// Files go to the store and come from it by HTTP, past the service.
import { createHash } from "node:crypto";
import { openAsBlob } from "node:fs";
import { open } from "node:fs/promises";
import { basename, extname } from "node:path";

import { retrying } from "./retry.js";

const CONTENT_TYPES = { ".png": "image/png", ".jpg": "image/jpeg", ".mp4": "video/mp4" };

/** Uploads a file. What it returns is an input for later requests. */
export async function upload(storage, path) {
  const contentType = CONTENT_TYPES[extname(path).toLowerCase()] ?? "application/octet-stream";
  const content = await openAsBlob(path); // read when it is sent
  const description = { fileName: basename(path), contentType, size: content.size };
  const { uploadUrl, headers, file } = await retrying(storage, "createUpload", description);
  const answer = await fetch(uploadUrl, { method: "PUT", headers, body: content });
  if (!answer.ok) throw new Error(`the store refused ${path}: HTTP ${answer.status} ${await answer.text()}`);
  return file;
}

/** Downloads a URL to a path, and checks that it came whole. */
export async function download(url, path, sha256) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`the video is not to be had: HTTP ${answer.status}`);
  const hash = createHash("sha256");
  const file = await open(path, "w");
  try {
    for await (const chunk of answer.body) {
      hash.update(chunk);
      await file.write(chunk);
    }
  } finally {
    await file.close();
  }
  const found = hash.digest("hex");
  if (found !== sha256) throw new Error(`${path} has SHA-256 ${found}, not ${sha256}`);
}
