// The contract, read from its proto files when the program starts: no stubs are generated.
import { fileURLToPath } from "node:url";

import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

// In a program of your own: where your copy of both folders lies.
const FOLDERS = ["proto", "third_party"].map((name) => fileURLToPath(new URL(`../../../${name}`, import.meta.url)));

const { cogreel, google } = grpc.loadPackageDefinition(
  loadSync(
    ["cogreel/v1/queue.proto", "cogreel/v1/storage.proto", "google/rpc/status.proto", "google/rpc/error_details.proto"],
    {
      includeDirs: FOLDERS,
      enums: String, // REQUEST_STATE_QUEUED rather than 1
      longs: Number, // sizes of files are far below 2^53
      defaults: true, // a step 0 is there, and not undefined
      oneofs: true, // `event.event` names the one that is set
    },
  ),
);

export const { QueueService, StorageService } = cogreel.v1;
export const { Status, BadRequest, ErrorInfo, RetryInfo } = google.rpc;
