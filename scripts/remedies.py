"""What causes each error of the contract, and what to do about it: written once, shown in docs/errors.md.

The contract says what a reason means. Here stands what someone who meets it should do next. `document_errors` fails if
one is missing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Remedy:
    """Why an error comes up, what a caller does about it, and what an operator does, if there is something to do."""

    cause: str
    remedy: str
    operator: str = ""


ERRORS: dict[str, Remedy] = {
    "INVALID_INPUT": Remedy(
        "A field is missing, out of its range or of a wrong form, or exceeds what the endpoint's model card allows.",
        "Correct every field that `BadRequest` names: all of them are named at once. Nothing was queued. Ranges and "
        "defaults are in [the contract](2-contract.md).",
    ),
    "UNAUTHENTICATED": Remedy(
        "The metadata `authorization: Bearer <API key>` is missing or malformed, or the key is unknown or revoked.",
        "Set `COGREEL_API_KEY`, whole and without quotes or a line end. If it was revoked, ask an operator for a new "
        "one. `cogreel doctor` tries it.",
        "`cogreeld keys list` shows which keys are valid; `cogreeld keys create --tenant NAME` makes one.",
    ),
    "PERMISSION_DENIED": Remedy(
        "The key is valid, but the call wants another role, such as admin.",
        "Use a key with that role.",
        "`cogreeld keys create --tenant NAME --role admin`.",
    ),
    "REQUEST_NOT_FOUND": Remedy(
        "The id is misspelt, the request belongs to another tenant, or it was erased: requests are kept for their "
        "lifetime after their end.",
        "Check the id, and that the API key is one of the tenant that submitted it. `cogreel list` shows what there "
        "is; submit again what was erased, and ask for a longer `object_lifetime` if need be.",
        "`COGREEL_RETENTION_S` is the lifetime of requests that name none.",
    ),
    "ENDPOINT_NOT_FOUND": Remedy(
        "The endpoint is misspelt or not served here, or none is served for this kind of input.",
        "Choose one of those that the metadata key `endpoints` lists, or leave the endpoint out.",
        "`COGREEL_ENDPOINTS` says what is served; give it to all services and workers alike.",
    ),
    "FILE_NOT_FOUND": Remedy(
        "The file's name or id is misspelt, it belongs to another tenant, its upload was never completed, or it has "
        "expired: uploads that no request uses do not stay.",
        "Upload the file again, complete the upload, and submit soon after.",
    ),
    "IDEMPOTENCY_CONFLICT": Remedy(
        "The same idempotency key was sent with two different submissions: a key was reused, or the input was changed "
        "before a retry.",
        "For a new video draw a new key. `ResourceInfo` names the request that has this one: if that is the one you "
        "mean, go on with it.",
    ),
    "REQUEST_NOT_FINISHED": Remedy(
        "The result was asked for before the request had ended.",
        "Watch the request (`cogreel watch`, `WatchStatus`) until it is COMPLETED, then ask again.",
        "If requests of an endpoint never start: `cogreeld queue list` shows whether it is paused, and a worker must "
        "serve it.",
    ),
    "REQUEST_FAILED": Remedy(
        "The request ended without a video. The metadata key `failure` has [the reason](#why-a-request-failed), the "
        "message says more.",
        "After INVALID_INPUT correct the input; otherwise submit again, with a new idempotency key.",
        "The worker's log has each attempt under the request's id.",
    ),
    "REQUEST_CANCELLED": Remedy(
        "Someone of the tenant cancelled the request, or it was deleted while it ran.",
        "If the video is wanted after all, submit again, with a new idempotency key.",
    ),
    "REQUEST_COMPLETED": Remedy(
        "The request ended just before, or long before, it was cancelled.",
        "Nothing: the metadata key `state` says how it ended. A finished video stays for its lifetime.",
    ),
    "CURSOR_INVALID": Remedy(
        "The cursor was cut, changed, or comes from another request.",
        "Watch again without a cursor: the stream begins with the request.",
    ),
    "CURSOR_EXPIRED": Remedy(
        "Steps and lines after the cursor have expired, the request was erased, or the queue's stream was made anew.",
        "Watch again without a cursor.",
        "`COGREEL_LOG_AGE_S` and `COGREEL_LOG_MAX_BYTES` bound how long steps and lines stay.",
    ),
    "QUEUE_FULL": Remedy(
        "The records of all requests take 80 % of the space that they may, so that there is room to finish what was "
        "accepted; or as many requests wait as `COGREEL_QUEUE_MAX_REQUESTS` allows. The message says which.",
        "Wait as long as `RetryInfo` says, and submit again with the same idempotency key.",
        "For space raise `COGREEL_QUEUE_MAX_BYTES` or lower `COGREEL_RETENTION_S`; `cogreeld doctor` shows how full it "
        "is. For requests that wait add workers, or raise `COGREEL_QUEUE_MAX_REQUESTS`.",
    ),
    "LIMIT_EXCEEDED": Remedy(
        "The tenant has reached a limit of its own: requests a minute, requests queued at once, or bytes stored. Or "
        "one file is larger than `COGREEL_MAX_UPLOAD_BYTES`. The metadata key `limit` names the limit.",
        "Wait as long as `RetryInfo` says; for queued requests wait until some have ended, for stored bytes delete or "
        "let expire what is not needed. Without `RetryInfo` waiting is of no use: make the file smaller.",
        "Limits belong to the tenant's keys; `max_upload_bytes` is the service's `COGREEL_MAX_UPLOAD_BYTES`.",
    ),
    "QUEUE_UNAVAILABLE": Remedy(
        "The service does not reach NATS, or NATS has no leader at this moment; an election takes some seconds.",
        "Repeat after `RetryInfo`, a submission with the same idempotency key: it may have been taken. The client "
        "does so by itself.",
        "`cogreeld doctor serve` on the service's machine; NATS's logs.",
    ),
    "STORE_UNAVAILABLE": Remedy(
        "The service does not reach the S3 server, or that is overloaded.",
        "Repeat after `RetryInfo`.",
        "`cogreeld doctor serve` on the service's machine; the log of the S3 server.",
    ),
    "REPLICA_BEHIND": Remedy(
        "The replica that took the call has not yet seen what another one showed; it waited for 2 s.",
        "Repeat after `RetryInfo` with the same cursor; the client does so by itself.",
        "If it lasts: `tail.behind` in that replica's log says what keeps it from NATS.",
    ),
    "SHUTTING_DOWN": Remedy(
        "The replica is being stopped or updated.",
        "Connect again, to any replica, with the last cursor; the client does so by itself.",
    ),
    "UNIMPLEMENTED": Remedy(
        "The service is older than the contract that the caller was made from, or the option is not served yet, or "
        "not by this installation; `BadRequest` then names it.",
        "Leave the option out, or ask for a newer service.",
        "The changelog says which version serves what.",
    ),
    "INTERNAL": Remedy(
        "A fault of the service. Its text is kept from callers, since it may speak of others.",
        "Tell the operator the metadata key `incident`. Repeating is safe with an idempotency key.",
        "Look for the incident in the service's log (`call.fault`), and report it as a bug.",
    ),
}

FAILURES: dict[str, Remedy] = {
    "INVALID_INPUT": Remedy(
        "The model cannot make this: a size or a seed that it does not take, an input file that is none of the kind "
        "that is wanted, or a URL that leads to no such file, or to where nothing may be fetched from.",
        "Correct the field that `field` names, and submit again.",
        "`COGREEL_FETCH_ALLOW` opens hosts and networks inside; [5](5-files.md#files-of-other-servers) says how.",
    ),
    "LEASE_LOST": Remedy(
        "The worker was killed, lost its machine, or did not reach NATS for more than 10 s, as often as attempts are "
        "allowed.",
        "Submit again. If the same input kills workers each time, tell the operator.",
        "See the worker's last log lines and the kernel's (`dmesg`): was it killed for memory?",
    ),
    "DEVICE": Remedy(
        "The GPU ran out of memory or failed.",
        "Submit again, perhaps with a smaller size.",
        "`cogreeld doctor worker` on that machine; does something else use the GPU (`nvidia-smi`)?",
    ),
    "STORE": Remedy(
        "The finished video could not be stored for a minute, as often as attempts are allowed.",
        "Submit again later.",
        "`cogreeld doctor worker`: is S3 reachable from the worker, may its key write, is the disk full?",
    ),
    "START_TIMEOUT": Remedy(
        "No worker took the request within the `start_timeout` that it was submitted with.",
        "Submit again with a longer one, or at a quieter time.",
        "Add workers; see whether the endpoint is paused (`cogreeld queue list`) or has no worker.",
    ),
    "INPUT_UNAVAILABLE": Remedy(
        "The server of a file that was named by URL could not be reached or resolved, broke off, was too slow, or "
        "answered 408, 425, 429 or 5xx, as often as attempts are allowed.",
        "See that the URL that the message names works without credentials, and submit again; or upload the file.",
        "The worker is who fetches: may it resolve names and reach the internet? `COGREEL_FETCH_TIMEOUT_S` is the time "
        "that a fetch may take; proxies are not used.",
    ),
    "INTERNAL": Remedy(
        "A fault of the worker.",
        "Submit again; tell the operator the incident that the message names.",
        "Look for the incident in the worker's log (`attempt.fault`), and report it as a bug.",
    ),
}
