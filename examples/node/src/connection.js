// How to reach the service, and as whom.
import grpc from "@grpc/grpc-js";

import { QueueService, StorageService } from "./contract.js";

const MAX_MESSAGE_BYTES = 32 * 1024 * 1024; // what the service sends and takes: files may travel inline

const OPTIONS = {
  // A watch may be quiet for long. Pings find a dead connection in 15 s; without them nothing does.
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 5_000,
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES, // 4 MiB by default
  "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
  // While the service is away calls fail at once between two attempts to connect. The default of up to two minutes
  // would outlast our retries.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 2_000,
};

/** Clients of both services. `address` is `host:port`, or `https://host:port` for TLS. Nothing is dialled before a call. */
export function connect(address, apiKey) {
  const target = address.replace(/^https?:\/\//, "");
  const credentials = address.startsWith("https://")
    ? grpc.credentials.createSsl()
    : grpc.credentials.createInsecure();
  // An interceptor sends the key with each call. Credentials of calls would, too, but over TLS only.
  const authorize = (options, nextCall) =>
    new grpc.InterceptingCall(nextCall(options), {
      start(metadata, listener, next) {
        metadata.set("authorization", `Bearer ${apiKey}`);
        next(metadata, listener);
      },
    });
  const channel = new grpc.Channel(target, credentials, OPTIONS); // one connection for both
  const options = { channelOverride: channel, interceptors: [authorize] };
  return {
    queue: new QueueService(target, credentials, options),
    storage: new StorageService(target, credentials, options),
  };
}
