// What an error of the service says beyond its code: google.rpc messages among its details.
import grpc from "@grpc/grpc-js";

import { BadRequest, ErrorInfo, RetryInfo, Status } from "./contract.js";

// grpc-js leaves the details as bytes, in the trailing metadata. (Any is built into the loader, which is why its
// `type_url` alone is not in camel case.)
const DETAILS = "grpc-status-details-bin";

/** Whether an error is one of a call. */
export function isOfCall(error) {
  return error instanceof Error && error.metadata instanceof grpc.Metadata && error.code in grpc.status;
}

/** The details of one type. `type` is one of those that the contract exports, such as ErrorInfo. */
function detailsOf(error, type) {
  const name = `google.rpc.${type.type.name}`;
  return error.metadata
    .get(DETAILS)
    .flatMap((bytes) => Status.deserialize(bytes).details)
    .filter((detail) => detail.type_url.endsWith(`/${name}`))
    .map((detail) => type.deserialize(detail.value));
}

/** A google.protobuf.Duration in milliseconds. */
export function durationMs({ seconds, nanos }) {
  return seconds * 1_000 + nanos / 1_000_000;
}

/** How long the service asks to wait before another try. */
export function retryAfterMs(error) {
  const delay = detailsOf(error, RetryInfo)[0]?.retryDelay;
  return delay && durationMs(delay);
}

/** The error in full, a line for each of its parts. ErrorInfo carries a reason out of cogreel.v1.ErrorReason. */
export function explain(error) {
  const lines = [`${grpc.status[error.code]}: ${error.details}`];
  for (const { reason, metadata } of detailsOf(error, ErrorInfo)) {
    lines.push(`reason ${reason}`);
    for (const [key, value] of Object.entries(metadata)) lines.push(`${key} ${value}`);
  }
  for (const { fieldViolations } of detailsOf(error, BadRequest)) {
    for (const { field, description } of fieldViolations) lines.push(`field ${field}: ${description}`);
  }
  const delay = retryAfterMs(error);
  if (delay !== undefined) lines.push(`try again after ${delay / 1000} s`);
  return lines;
}
