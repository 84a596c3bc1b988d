// Everything that happens to a request, over any number of connections.
import grpc from "@grpc/grpc-js";

import { Retries } from "./retry.js";

const TERMINAL = new Set(["REQUEST_STATE_COMPLETED", "REQUEST_STATE_FAILED", "REQUEST_STATE_CANCELLED"]);

/** The events of a request until its terminal state: none is lost and none comes twice, whatever breaks meanwhile. */
export async function* watch(queue, requestId) {
  const request = { requestId };
  let retries; // of the present interruption
  for (;;) {
    // A watch has no deadline: it lasts as long as the request. Keepalive ends it where the connection is dead.
    const stream = queue.watchStatus(request);
    try {
      for await (const response of stream) {
        retries = undefined;
        request.cursor = response.cursor;
        yield response;
        if (TERMINAL.has(response.state?.state)) return;
      }
      throw Object.assign(new Error(), {
        code: grpc.status.UNAVAILABLE,
        details: "the stream ended before the request",
        metadata: new grpc.Metadata(),
      });
    } catch (error) {
      retries ??= new Retries();
      await retries.after(error);
    } finally {
      stream.cancel();
    }
  }
}
