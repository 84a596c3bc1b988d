// When to try again, and how long to wait before.
import { setTimeout as sleep } from "node:timers/promises";

import { Code, ConnectError } from "@connectrpc/connect";

import { explain, reasonOf, retryAfterMs } from "./errors.js";

const WINDOW_MS = 60_000; // for one call with its retries
const FIRST_PAUSE_MS = 100; // each further one doubles
const LONGEST_PAUSE_MS = 5_000; // unless the service asks for more

/** Whether the call may be repeated. All calls here may: reads, cancellations, submissions with an idempotency key. */
function isWorthARetry(error: ConnectError): boolean {
  // A flooded server refuses its newest calls with Canceled. A broken connection is Aborted or Internal in this
  // library; unlike the service's own faults, such an error has no reason.
  if (error.code === Code.Unavailable || error.code === Code.Canceled) return true;
  return (error.code === Code.Aborted || error.code === Code.Internal) && reasonOf(error) === undefined;
}

/** The retries of one call, or of one interruption of a watch. */
export class Retries {
  private readonly deadline = Date.now() + WINDOW_MS;
  private pauseMs = FIRST_PAUSE_MS;

  /** What is left of the window: the deadline of the next try. */
  get remainingMs(): number {
    return Math.max(1, this.deadline - Date.now());
  }

  /** Waits before the next try; throws the error where a retry would be wrong or too late. */
  async after(reason: unknown): Promise<void> {
    const error = ConnectError.from(reason);
    // Half fixed, half random: callers that failed together do not come back together.
    const pause = (retryAfterMs(error) ?? 0) + this.pauseMs * (0.5 + Math.random() / 2);
    if (!isWorthARetry(error) || pause >= this.remainingMs) throw error;
    console.error(`  trying again in ${Math.round(pause)} ms: ${explain(error).join("; ")}`);
    this.pauseMs = Math.min(this.pauseMs * 2, LONGEST_PAUSE_MS);
    await sleep(pause);
  }
}

/** Makes a call until it is answered. `call` gets the options of the try: its deadline. */
export async function retrying<T>(call: (options: { timeoutMs: number }) => Promise<T>): Promise<T> {
  const retries = new Retries();
  for (;;) {
    try {
      return await call({ timeoutMs: retries.remainingMs });
    } catch (reason) {
      await retries.after(reason);
    }
  }
}
