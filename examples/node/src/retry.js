// When to try again, and how long to wait before.
import { setTimeout as sleep } from "node:timers/promises";

import grpc from "@grpc/grpc-js";

import { explain, isOfCall, retryAfterMs } from "./errors.js";

const WINDOW_MS = 60_000; // for one call with its retries
const FIRST_PAUSE_MS = 100; // each further one doubles
const LONGEST_PAUSE_MS = 5_000; // unless the service asks for more

/** Whether the call may be repeated. All calls here may: reads, cancellations, submissions with an idempotency key. */
function isWorthARetry(error) {
  // A flooded server refuses its newest calls with CANCELLED.
  return isOfCall(error) && (error.code === grpc.status.UNAVAILABLE || error.code === grpc.status.CANCELLED);
}

/** The retries of one call, or of one interruption of a watch. */
export class Retries {
  #deadline = Date.now() + WINDOW_MS;
  #pauseMs = FIRST_PAUSE_MS;

  /** The end of the window, which is the deadline of each try. */
  get deadline() {
    return this.#deadline;
  }

  /** Waits before the next try; throws the error where a retry would be wrong or too late. */
  async after(error) {
    if (!isWorthARetry(error)) throw error;
    // Half fixed, half random: callers that failed together do not come back together.
    const pause = (retryAfterMs(error) ?? 0) + this.#pauseMs * (0.5 + Math.random() / 2);
    if (Date.now() + pause >= this.#deadline) throw error;
    console.error(`  trying again in ${Math.round(pause)} ms: ${explain(error).join("; ")}`);
    this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
    await sleep(pause);
  }
}

/** Makes a unary call until it is answered. `method` is a method of a client of grpc-js, such as "submit". */
export async function retrying(client, method, request) {
  const retries = new Retries();
  for (;;) {
    try {
      return await call(client, method, request, { deadline: retries.deadline });
    } catch (error) {
      await retries.after(error);
    }
  }
}

/** One try, as a promise. */
function call(client, method, request, options) {
  return new Promise((resolve, reject) => {
    client[method](request, new grpc.Metadata(), options, (error, response) =>
      error ? reject(error) : resolve(response),
    );
  });
}
