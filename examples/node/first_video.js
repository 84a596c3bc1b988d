// From a prompt to lighthouse.mp4, with its steps as they happen.
import { connect } from "./src/connection.js";
import { download } from "./src/files.js";
import { retrying } from "./src/retry.js";
import { watch } from "./src/watch.js";

const { queue } = connect(process.env.COGREEL_ADDRESS, process.env.COGREEL_API_KEY);
const textToVideo = { prompt: "A lighthouse at dusk" };
const { requestId } = await retrying(queue, "submit", { textToVideo, idempotencyKey: crypto.randomUUID() });
for await (const { progress } of watch(queue, requestId)) {
  if (progress) console.log(progress.stage, progress.step, "of", progress.total);
}
const { video } = await retrying(queue, "getResult", { requestId });
await download(video.video.url, "lighthouse.mp4", video.sha256);
