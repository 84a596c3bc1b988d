// Everything that happens to a request, over any number of connections.
import { Code, ConnectError } from "@connectrpc/connect";

import { RequestState, type WatchStatusResponse } from "../gen/cogreel/v1/queue_pb.js";
import type { Queue } from "./connection.js";
import { Retries } from "./retry.js";

const TERMINAL = new Set([RequestState.COMPLETED, RequestState.FAILED, RequestState.CANCELLED]);

/** The events of a request until its terminal state: none is lost and none comes twice, whatever breaks meanwhile. */
export async function* watch(queue: Queue, requestId: string): AsyncGenerator<WatchStatusResponse> {
  let cursor: string | undefined;
  let retries: Retries | undefined; // of the present interruption
  for (;;) {
    try {
      // A watch has no deadline: it lasts as long as the request. Keepalive ends it where the connection is dead.
      for await (const response of queue.watchStatus({ requestId, ...(cursor && { cursor }) })) {
        retries = undefined;
        cursor = response.cursor;
        yield response;
        if (response.event.case === "state" && TERMINAL.has(response.event.value.state)) return;
      }
      throw new ConnectError("the stream ended before the request", Code.Unavailable);
    } catch (reason) {
      retries ??= new Retries();
      await retries.after(reason);
    }
  }
}
