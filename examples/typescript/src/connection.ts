// How to reach the service, and as whom.
import { createClient, type Client, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { QueueService } from "../gen/cogreel/v1/queue_pb.js";
import { StorageService } from "../gen/cogreel/v1/storage_pb.js";

export type Queue = Client<typeof QueueService>;
export type Storage = Client<typeof StorageService>;

const MAX_MESSAGE_BYTES = 32 * 1024 * 1024; // what the service sends and takes: files may travel inline

/** Clients of both services. `address` is `host:port`, or a URL: https:// for TLS. Nothing is dialled before a call. */
export function connect(address: string, apiKey: string): { queue: Queue; storage: Storage } {
  const authorize: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${apiKey}`);
    return next(request);
  };
  const transport = createGrpcTransport({
    baseUrl: address.includes("://") ? address : `http://${address}`,
    interceptors: [authorize],
    // A watch may be quiet for long. Pings find a dead connection in 15 s; without them nothing does.
    pingIntervalMs: 10_000,
    pingTimeoutMs: 5_000,
    readMaxBytes: MAX_MESSAGE_BYTES,
    writeMaxBytes: MAX_MESSAGE_BYTES,
  });
  return { queue: createClient(QueueService, transport), storage: createClient(StorageService, transport) };
}
