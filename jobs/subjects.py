"""How requests are named in NATS. Tokens are base32 or hexadecimal: no dots, blanks or wildcards can get in."""

from __future__ import annotations

import base64
import secrets
import uuid
from typing import NamedTuple

from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL, Priority

from jobs.record_pb2 import State

REQ = "REQ"
LOG = "LOG"
KEYS_BUCKET = "keys"
KEYS = f"KV_{KEYS_BUCKET}"
PAUSES_BUCKET = "pauses"
PAUSES = f"KV_{PAUSES_BUCKET}"
WEBHOOK_KEYS_BUCKET = "webhook_keys"
WEBHOOK_KEYS = f"KV_{WEBHOOK_KEYS_BUCKET}"
WEBHOOKS_CONSUMER = "webhooks"
LIVE = "live."

_PRIORITIES: dict[Priority.ValueType, str] = {
    PRIORITY_NORMAL: "normal",
    PRIORITY_LOW: "low",
}


class RequestKey(NamedTuple):
    """Which request: `request_id` is canonical UUID text."""

    tenant: str
    request_id: str


def token(text: str) -> str:
    """Any text as one subject token: base32 of its UTF-8, lower case, without padding."""
    return base64.b32encode(text.encode()).decode().rstrip("=").lower()


def untoken(encoded: str) -> str:
    """The inverse of `token`."""
    return base64.b32decode(encoded.upper() + "=" * (-len(encoded) % 8)).decode()


def request_subject(key: RequestKey) -> str:
    """The stem of all subjects of one request in REQ."""
    return f"req.{token(key.tenant)}.{uuid.UUID(key.request_id).hex}"


def everything_filter(key: RequestKey) -> str:
    """All that REQ keeps of one request, for erasing it."""
    return f"{request_subject(key)}.>"


def states_filter(key: RequestKey) -> str:
    """All states of one request. The compare-and-set guard is keyed by this very text: never spell it otherwise."""
    return f"{request_subject(key)}.st.>"


def state_subject(key: RequestKey, state: State.ValueType, endpoint: str, priority: Priority.ValueType) -> str:
    """Where a transition is published. QUEUED names endpoint and priority, since consumers filter on them."""
    stem = f"{request_subject(key)}.st.{State.Name(state).removeprefix('STATE_')}"
    if state == State.STATE_QUEUED:
        return f"{stem}.{token(endpoint)}.{_PRIORITIES[priority]}"
    return stem


def queued_filter(endpoint: str, priority: Priority.ValueType) -> str:
    """The QUEUED messages of one endpoint and priority, of all tenants."""
    return f"req.*.*.st.QUEUED.{token(endpoint)}.{_PRIORITIES[priority]}"


def consumer_name(endpoint: str, priority: Priority.ValueType) -> str:
    """The durable consumer of one endpoint and priority."""
    return f"{token(endpoint)}-{_PRIORITIES[priority]}"


def webhook_subject(key: RequestKey) -> str:
    """Where it is kept how far the delivery of a request's webhook is."""
    return f"{request_subject(key)}.wh"


def ended_filters() -> list[str]:
    """The terminal states, of all requests."""
    return [f"req.*.*.st.{name}" for name in ("COMPLETED", "FAILED", "CANCELLED")]


def log_subject(key: RequestKey) -> str:
    """Where the steps and lines of one request are published."""
    return f"log.{token(key.tenant)}.{uuid.UUID(key.request_id).hex}"


def parse_request(subject: str) -> RequestKey:
    """The request that a subject of REQ or LOG belongs to."""
    _, tenant, request_id, *_ = subject.split(".")
    return RequestKey(untoken(tenant), str(uuid.UUID(request_id)))


def control_subject(incarnation: str) -> str:
    """Where one run of a worker process, or after its death its supervisor, is spoken to."""
    return f"ctl.{incarnation}"


def control_inbox(prefix: str) -> str:
    """Where an answer to a control message arrives: apart from JetStream's answers, which workers must not forge."""
    return f"{prefix}.ctl.{secrets.token_hex(11)}"


PING = "ctl.ping"
"""Where all runs of worker processes are spoken to at once; an incarnation is hexadecimal and never this."""

ERASED = "note.erased"
"""Where it is said that a request was erased; the message is its `log_subject`."""
