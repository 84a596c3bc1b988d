// Goes through the calls of the hosted model's documentation with a published client, and prints what came of them.
//
//   node tour.js serverless-client|client middleware|fetch|proxy URL KEY ENDPOINT [large]
//
// All that is ours is `there`, which puts the gateway in the place of the hosted hosts.
"use strict";

const [which, way, url, key, endpoint, size] = process.argv.slice(2);
const published = require(`@fal-ai/${which}`);
const fal = which === "client" ? published.fal : published;
const RED = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAFklEQVR4nGP8z0AaYCJR/aiGUQ1DSAMAQC4BH2bjRnMAAAAASUVORK5CYII=",
  "base64",
);
const input = { prompt: "butterflies", num_inference_steps: 3, use_rife: false, video_size: { width: 64, height: 64 } };

function there(target) {
  const { hostname, pathname, search } = new URL(target);
  return url + (hostname === "fal.run" ? "/run" : "") + pathname + search;
}

const ways = {
  middleware: { requestMiddleware: async (request) => ({ ...request, url: there(request.url) }) },
  fetch: {
    fetch: (target, options) => fetch(String(target).startsWith(url) ? target : there(target), options),
  },
  proxy: { proxyUrl: { url: `${url}/api/fal/proxy`, when: "always" } },
};

async function refused(call) {
  try {
    return { result: await call() };
  } catch (error) {
    return { name: error.name, status: error.status, message: error.message, body: error.body, fields: error.fieldErrors };
  }
}

const outputOf = (answer) => (which === "client" ? answer.data : answer);

// Files above 90 MiB go up in parts.
async function large() {
  const content = Buffer.concat([RED, Buffer.alloc(91 * 1024 * 1024)]);
  const stored = await fal.storage.upload(new File([content], "large.png", { type: "image/png" }));
  return { same: Buffer.from(await (await fetch(stored)).arrayBuffer()).equals(content) };
}

async function main() {
  const settings = { credentials: key, ...ways[way] };
  fal.config(settings);
  if (size) {
    console.log(JSON.stringify(await large()));
    return;
  }
  const report = {};

  const updates = [];
  const subscribed = await fal.subscribe(endpoint, {
    input: { ...input, seed: 11 },
    logs: true,
    pollInterval: 50,
    onQueueUpdate: (update) => {
      updates.push(update.status);
      if (update.status === "IN_PROGRESS") update.logs.map((log) => log.message);
      if (update.status === "COMPLETED") report.logs = update.logs.map((log) => log.message);
    },
  });
  report.updates = updates;
  report.subscribed = outputOf(subscribed);

  const streamed = [];
  const followed = await fal.subscribe(endpoint, {
    input,
    logs: true,
    mode: "streaming",
    onQueueUpdate: (update) => streamed.push(update.status),
  });
  report.streamed = streamed;
  report.followed = outputOf(followed).seed;

  const queued = await fal.queue.submit(endpoint, { input: { ...input, seed: 12 }, priority: "low" });
  const requestId = queued.request_id;
  await fal.queue.subscribeToStatus(endpoint, { requestId, pollInterval: 50 });
  report.status = await fal.queue.status(endpoint, { requestId, logs: true });
  const result = await fal.queue.result(endpoint, { requestId });
  report.result = outputOf(result).seed;
  report.sameId = which !== "client" || result.requestId === requestId;

  const slow = await fal.queue.submit(endpoint, { input: { ...input, num_inference_steps: 50 } });
  await fal.queue.cancel(endpoint, { requestId: slow.request_id });
  report.cancelled = await refused(() => fal.queue.result(endpoint, { requestId: slow.request_id }));

  report.ran = outputOf(await fal.run(endpoint, { input: { ...input, seed: 13 } })).seed;

  const text = await fal.storage.upload(new File(["Hello, World!"], "hello.txt", { type: "text/plain" }));
  report.text = await (await fetch(text)).text();
  const picture = new File([RED], "red.png", { type: "image/png" });
  const image = await fal.storage.upload(picture);
  const pictures = { url: image, blob: picture, data: `data:image/png;base64,${RED.toString("base64")}` };
  report.pictures = {};
  for (const [form, image_url] of Object.entries(pictures)) {
    const made = await fal.subscribe(`${endpoint}/image-to-video`, { input: { ...input, image_url }, pollInterval: 50 });
    report.pictures[form] = outputOf(made).video.content_type;
  }

  report.invalid = await refused(() => fal.subscribe(endpoint, { input: { ...input, num_inference_steps: 99 } }));
  report.empty = await refused(() => fal.queue.submit(endpoint, {}));
  report.unknown = await refused(() => fal.queue.status(endpoint, { requestId: crypto.randomUUID() }));
  report.hook = await refused(() => fal.queue.submit(endpoint, { input, webhookUrl: "https://hooks.example.com/fal" }));
  fal.config({ ...settings, credentials: "0123456789abcdef:wrong" });
  report.stranger = await refused(() => fal.queue.submit(endpoint, { input }));

  console.log(JSON.stringify(report));
}

main().catch((error) => {
  console.error(error, error.body && JSON.stringify(error.body));
  process.exitCode = 1;
});
