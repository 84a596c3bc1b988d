// A tour of the contract: a refusal, an upload, a video with its log and progress, a cancellation.
import { randomUUID } from "node:crypto";
import { parseArgs } from "node:util";

import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";

import { LogLevel, RequestState, Stage, type WatchStatusResponse } from "../gen/cogreel/v1/queue_pb.js";
import { connect, type Queue } from "./connection.js";
import { explain } from "./errors.js";
import { download, upload } from "./files.js";
import { retrying } from "./retry.js";
import { watch } from "./watch.js";

const USAGE = 'usage: npm start -- [--steps N] [--size WIDTHxHEIGHT] [--upload FILE] [--out FILE] "PROMPT"';

interface Wish {
  prompt: string;
  steps: number;
  size: { width: number; height: number } | undefined;
}

/** Submits a request for a video. */
async function submit(queue: Queue, wish: Wish): Promise<string> {
  const submission = {
    // With a key of its own, a submission can be repeated after a broken call: it never makes a second video.
    idempotencyKey: randomUUID(),
    input: {
      case: "textToVideo" as const,
      value: {
        prompt: wish.prompt,
        numInferenceSteps: wish.steps,
        ...(wish.size && { videoSize: { size: { case: "dimensions" as const, value: wish.size } } }),
      },
    },
  };
  const { requestId } = await retrying((options) => queue.submit(submission, options));
  return requestId;
}

/** One event on one line; undefined for those that only keep the stream alive. */
function describe({ event }: WatchStatusResponse): string | undefined {
  switch (event.case) {
    case "state": {
      const { state, attempt, failure } = event.value;
      return `state ${RequestState[state]}, attempt ${attempt}${failure ? `: ${failure.message}` : ""}`;
    }
    case "position":
      return `${event.value.position} before it in the queue`;
    case "progress": {
      const { stage, step, total, eta } = event.value;
      const left = eta ? `, ${(durationMs(eta) / 1000).toFixed(1)} s left` : "";
      return `${Stage[stage]}${total ? ` ${step}/${total}` : ""}${left}`;
    }
    case "log":
      return `log ${LogLevel[event.value.level]} ${event.value.message}`;
    case "logTruncated":
      return "older lines have expired";
    default:
      return undefined;
  }
}

async function main(): Promise<void> {
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
  const wish: Wish = {
    prompt,
    steps: Number(values.steps),
    size: size ? { width: Number(size[1]), height: Number(size[2]) } : undefined,
  };

  console.log("A submission that is refused:");
  try {
    await submit(queue, { ...wish, prompt: " ", steps: 51 });
    throw new Error("a blank prompt was taken");
  } catch (reason) {
    if (!(reason instanceof ConnectError && reason.code === Code.InvalidArgument)) throw reason;
    for (const line of explain(reason)) console.log(`  ${line}`);
  }

  if (values.upload) {
    console.log(`An upload of ${values.upload}:`);
    try {
      const file = await upload(storage, values.upload);
      console.log(`  stored as ${file.url}`);
    } catch (reason) {
      if (!(reason instanceof ConnectError && reason.code === Code.Unimplemented)) throw reason;
      console.log("  this service takes no uploads");
    }
  }

  const requestId = await submit(queue, wish);
  console.log(`Request ${requestId}:`);
  for await (const event of watch(queue, requestId)) {
    const line = describe(event);
    if (line) console.log(`  ${line}`);
  }
  const { output } = await retrying((options) => queue.getResult({ requestId }, options));
  if (output.case !== "video" || !output.value.video) throw new Error("the result is no video");
  await download(output.value.video.url, values.out, output.value.sha256);
  console.log(`  ${values.out}: ${output.value.frames} frames, SHA-256 ${output.value.sha256} as promised`);

  const unwanted = await submit(queue, wish);
  const { status } = await retrying((options) => queue.cancel({ requestId: unwanted }, options));
  console.log(`Request ${unwanted}:\n  state ${RequestState[status?.state ?? RequestState.UNSPECIFIED]}`);
}

try {
  await main();
} catch (error) {
  console.error(error instanceof ConnectError ? explain(error).join("\n") : (error as Error).message);
  process.exitCode = 1;
}
