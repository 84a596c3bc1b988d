"""The one publisher to `req.>`: each transition is one publish with compare-and-set over all states of the request.

A transition ends as

- `Applied`: it is on disk, and nothing came between;
- `Lost`: another transition came first; the record that did is handed back;
- `Undecided`: the broker did not say within the time. Nothing may be given up or deleted on that.

JetStream answers 10071 when the sequence is not the expected one, which may also be the answer to a repeat of one's
own publish: the record's `write_id` tells. On three replicas most races end in 10164 (another write is in flight),
which decides nothing, like a time-out: the same publish is repeated. With three replicas the guard is keyed by the
text of the subject filter, hence `subjects.states_filter` and the rule that no other code publishes to `req.`.
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass

from jobs.broker import ABSENCE_LASTS_S, ASK_AGAIN_S, Broker, Stored
from jobs.bucket import WRONG_LAST_SEQUENCE
from jobs.errors import BrokerUnavailableError, QueueFullError
from jobs.record_pb2 import Record, Webhook
from jobs.states import TERMINAL
from jobs.subjects import REQ, RequestKey, everything_filter, state_subject, states_filter, webhook_subject

DECIDE_WITHIN_S = 12.0  # a leader's election stalls writes for 3 to 5 s
FIRST_PAUSE_S = 0.001
LONGEST_PAUSE_S = 0.064

OUT_OF_SPACE = frozenset({10047, 10077})  # insufficient resources, maximum bytes exceeded
MAX_RECORD_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Applied:
    """The transition is the request's state, at sequence `seq`."""

    seq: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Another transition came first: `record` at sequence `seq`; None where the request was erased."""

    seq: int
    record: Record | None


@dataclass(frozen=True, slots=True)
class Undecided:
    """The broker did not say; `cause` is its last word."""

    cause: str


Outcome = Applied | Lost | Undecided


def read_record(stored: Stored) -> Record:
    """The record in a message of REQ."""
    return Record.FromString(stored.data)


def key_of(record: Record) -> RequestKey:
    """Which request a record belongs to."""
    return RequestKey(record.tenant, record.request_id)


async def leader_state(broker: Broker, key: RequestKey) -> tuple[int, Record] | None:
    """The request's state with its sequence, as the stream's leader has it; None if there is no such request.

    Raises:
        BrokerUnavailableError: the leader does not answer.
    """
    stored = await broker.last(REQ, states_filter(key))
    return None if stored is None else (stored.seq, read_record(stored))


async def confirmed_state(broker: Broker, key: RequestKey, *, ended: bool = False) -> tuple[int, Record] | None:
    """As `leader_state`, but an absence is believed only if it lasts; with `ended`, so is a state that is not terminal.

    With several replicas, a leader that slept while another one was elected answers from what it knew, until it hears
    from its successor. What a caller has been told elsewhere must not be denied meanwhile.

    Raises:
        BrokerUnavailableError: the leader does not answer.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + (ABSENCE_LASTS_S if broker.settings.replicas > 1 else 0.0)
    while True:
        found = await leader_state(broker, key)
        if found is not None and (not ended or found[1].state in TERMINAL):
            return found
        if loop.time() >= deadline:
            return found
        await asyncio.sleep(ASK_AGAIN_S)


async def publish_transition(
    broker: Broker, record: Record, *, expected_seq: int, within_s: float = DECIDE_WITHIN_S
) -> Outcome:
    """Make `record` the request's state, if its state is still the one at `expected_seq` (0: there is none).

    Raises:
        QueueFullError: the stream takes no more.
        ValueError: the record is larger than 256 KiB.
    """
    key = key_of(record)
    payload = record.SerializeToString()
    if len(payload) > MAX_RECORD_BYTES:
        raise ValueError(f"a record of {len(payload)} bytes exceeds {MAX_RECORD_BYTES}")
    subject = state_subject(key, record.state, record.endpoint, record.priority)
    headers = {
        "Nats-Expected-Last-Subject-Sequence": str(expected_seq),
        "Nats-Expected-Last-Subject-Sequence-Subject": states_filter(key),
    }
    deadline = asyncio.get_running_loop().time() + within_s
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            reply = await broker.request(subject, payload, headers=headers)
            answer = json.loads(reply.data)
            error = answer.get("error")
            if error is None:
                broker.metrics.transition(record, first=expected_seq == 0)
                return Applied(int(answer["seq"]))
            if error["err_code"] in OUT_OF_SPACE:
                raise QueueFullError(error["description"])
            cause = f"{error['description']} ({error['err_code']})"
            if error["err_code"] == WRONG_LAST_SEQUENCE:
                decided = await _who_won(broker, record, expected_seq)
                if isinstance(decided, Applied):
                    broker.metrics.transition(record, first=expected_seq == 0)
                if decided is not None:
                    return decided
        except BrokerUnavailableError as unreachable:
            cause = str(unreachable)
        if asyncio.get_running_loop().time() >= deadline:
            return Undecided(cause)
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def _who_won(broker: Broker, record: Record, expected_seq: int) -> Applied | Lost | None:
    current = await confirmed_state(broker, key_of(record))
    if current is None:
        return Lost(0, None) if expected_seq else None
    seq, standing = current
    if standing.write_id == record.write_id:
        return Applied(seq)
    return Lost(seq, standing) if seq > expected_seq else None


async def publish_webhook(
    broker: Broker, key: RequestKey, webhook: Webhook, *, expected_seq: int, within_s: float = DECIDE_WITHIN_S
) -> int | None:
    """Store how far a webhook's delivery is, if nothing of the request was written after `expected_seq`.

    Returns the sequence at which it is kept; None where something else was written, or where the request was erased:
    nothing of an erased request may come back.

    Raises:
        QueueFullError: the stream takes no more.
        BrokerUnavailableError: the broker did not decide in time.
    """
    payload = webhook.SerializeToString()
    headers = {
        "Nats-Expected-Last-Subject-Sequence": str(expected_seq),
        "Nats-Expected-Last-Subject-Sequence-Subject": everything_filter(key),
    }
    deadline = asyncio.get_running_loop().time() + within_s
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            reply = await broker.request(webhook_subject(key), payload, headers=headers)
            answer = json.loads(reply.data)
            error = answer.get("error")
            if error is None:
                return int(answer["seq"])
            if error["err_code"] in OUT_OF_SPACE:
                raise QueueFullError(error["description"])
            cause = f"{error['description']} ({error['err_code']})"
            if error["err_code"] == WRONG_LAST_SEQUENCE:
                stored = await broker.last(REQ, webhook_subject(key))
                # Perhaps it was this very write, whose acknowledgement was lost.
                return stored.seq if stored is not None and stored.data == payload else None
        except BrokerUnavailableError as unreachable:
            cause = str(unreachable)
        if asyncio.get_running_loop().time() >= deadline:
            raise BrokerUnavailableError(cause)
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
