// What an error of the service says beyond its code: google.rpc messages among its details.
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";

import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../gen/google/rpc/error_details_pb.js";

/** The reason out of cogreel.v1.ErrorReason, for programs to act on. Undefined if the error is not the service's. */
export function reasonOf(error: ConnectError): string | undefined {
  return error.findDetails(ErrorInfoSchema).find((info) => info.domain === "cogreel.v1")?.reason;
}

/** How long the service asks to wait before another try. */
export function retryAfterMs(error: ConnectError): number | undefined {
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return delay && durationMs(delay);
}

/** The error in full, a line for each of its parts. */
export function explain(error: ConnectError): string[] {
  const lines = [`${Code[error.code]}: ${error.rawMessage}`];
  for (const info of error.findDetails(ErrorInfoSchema)) {
    lines.push(`reason ${info.reason}`);
    for (const [key, value] of Object.entries(info.metadata)) lines.push(`${key} ${value}`);
  }
  for (const { fieldViolations } of error.findDetails(BadRequestSchema)) {
    for (const { field, description } of fieldViolations) lines.push(`field ${field}: ${description}`);
  }
  const delay = retryAfterMs(error);
  if (delay !== undefined) lines.push(`try again after ${delay / 1000} s`);
  return lines;
}
