// A tour of the contract: a refusal, an upload, a video with its log and progress, a cancellation.
import { randomUUID } from "node:crypto";
import { parseArgs } from "node:util";

import grpc from "@grpc/grpc-js";

import { connect } from "./connection.js";
import { durationMs, explain, isOfCall } from "./errors.js";
import { download, upload } from "./files.js";
import { retrying } from "./retry.js";
import { watch } from "./watch.js";

const USAGE = 'usage: npm start -- [--steps N] [--size WIDTHxHEIGHT] [--upload FILE] [--out FILE] "PROMPT"';

/** Submits a request for a video; returns the request's id. */
async function submit(queue, { prompt, steps, size }) {
  const submission = {
    // With a key of its own, a submission can be repeated after a broken call: it never makes a second video.
    idempotencyKey: randomUUID(),
    textToVideo: { prompt, numInferenceSteps: steps, ...(size && { videoSize: { dimensions: size } }) },
  };
  const { requestId } = await retrying(queue, "submit", submission);
  return requestId;
}

/** One event on one line; undefined for those that only keep the stream alive. */
function describe(response) {
  const event = response[response.event];
  switch (response.event) {
    case "state":
      return `state ${stateName(event)}, attempt ${event.attempt}${event.failure ? `: ${event.failure.message}` : ""}`;
    case "position":
      return `${event.position} before it in the queue`;
    case "progress": {
      const steps = event.total ? ` ${event.step}/${event.total}` : "";
      const left = event.eta ? `, ${(durationMs(event.eta) / 1000).toFixed(1)} s left` : "";
      return event.stage.replace("STAGE_", "") + steps + left;
    }
    case "log":
      return `log ${event.level.replace("LOG_LEVEL_", "")} ${event.message}`;
    case "logTruncated":
      return "older lines have expired";
    default:
      return undefined;
  }
}

function stateName({ state }) {
  return state.replace("REQUEST_STATE_", "");
}

/** What an error of a call is expected to have as its code; others are thrown on. */
function expectCode(error, code) {
  if (!(isOfCall(error) && error.code === code)) throw error;
}

async function main() {
  const { values, positionals } = parseArgs({
    options: {
      steps: { type: "string", default: "20" },
      size: { type: "string" },
      upload: { type: "string" },
      out: { type: "string", default: "video.mp4" },
    },
    allowPositionals: true,
  });
  const [prompt] = positionals;
  const { COGREEL_ADDRESS: address, COGREEL_API_KEY: apiKey } = process.env;
  if (!prompt) throw new Error(USAGE);
  if (!address || !apiKey) throw new Error("set COGREEL_ADDRESS and COGREEL_API_KEY");
  const size = values.size?.match(/^(\d+)x(\d+)$/);
  if (values.size && !size) throw new Error(USAGE);
  const { queue, storage } = connect(address, apiKey);
  const wish = {
    prompt,
    steps: Number(values.steps),
    size: size ? { width: Number(size[1]), height: Number(size[2]) } : undefined,
  };

  console.log("A submission that is refused:");
  try {
    await submit(queue, { ...wish, prompt: " ", steps: 51 });
    throw new Error("a blank prompt was taken");
  } catch (error) {
    expectCode(error, grpc.status.INVALID_ARGUMENT);
    for (const line of explain(error)) console.log(`  ${line}`);
  }

  if (values.upload) {
    console.log(`An upload of ${values.upload}:`);
    try {
      const file = await upload(storage, values.upload);
      console.log(`  stored as ${file.url}`);
    } catch (error) {
      expectCode(error, grpc.status.UNIMPLEMENTED);
      console.log("  this service takes no uploads");
    }
  }

  const requestId = await submit(queue, wish);
  console.log(`Request ${requestId}:`);
  for await (const event of watch(queue, requestId)) {
    const line = describe(event);
    if (line) console.log(`  ${line}`);
  }
  const { video } = await retrying(queue, "getResult", { requestId });
  await download(video.video.url, values.out, video.sha256);
  console.log(`  ${values.out}: ${video.frames} frames, SHA-256 ${video.sha256} as promised`);

  const unwanted = await submit(queue, wish);
  const { status } = await retrying(queue, "cancel", { requestId: unwanted });
  console.log(`Request ${unwanted}:\n  state ${stateName(status)}`);
}

try {
  await main();
} catch (error) {
  console.error(isOfCall(error) ? explain(error).join("\n") : error.message);
  process.exitCode = 1;
}
