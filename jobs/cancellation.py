"""Deciding that a request is not wanted, whatever its state."""

from __future__ import annotations

from datetime import UTC, datetime

from jobs import states
from jobs.broker import Broker
from jobs.control import tell_cancelled
from jobs.errors import AlreadyFinishedError, BrokerUnavailableError, RequestNotFoundError
from jobs.publisher import Applied, Lost, Undecided, confirmed_state, publish_transition
from jobs.record_pb2 import Record, State
from jobs.subjects import LOG, RequestKey, log_subject


async def cancel(broker: Broker, key: RequestKey) -> tuple[int, Record]:
    """Cancel a request; its worker is told at once. Returns its state, CANCELLED, with the sequence.

    Raises:
        RequestNotFoundError: the tenant has no such request.
        AlreadyFinishedError: it had completed or failed before.
        BrokerUnavailableError: the broker could not decide in time.
    """
    found = await confirmed_state(broker, key)
    if found is None:
        raise RequestNotFoundError(key.request_id)
    seq, record = found
    while True:
        if record.state == State.STATE_CANCELLED:
            return seq, record
        if record.state in states.TERMINAL:
            raise AlreadyFinishedError(key.request_id, states.public_name(record.state))
        last_entry = await broker.last(LOG, log_subject(key))
        log_seq = last_entry.seq if last_entry is not None else 0
        wish = states.cancelled(record, log_seq=log_seq, now=datetime.now(UTC))
        match await publish_transition(broker, wish, expected_seq=seq):
            case Applied(applied_seq):
                if record.state == State.STATE_RUNNING:
                    broker.metrics.attempt_cancelled(record.endpoint)
                    await tell_cancelled(broker, record.worker.incarnation, key)
                return applied_seq, wish
            case Lost(_, None):
                raise RequestNotFoundError(key.request_id)
            case Lost(seq, standing) if standing is not None:
                record = standing
            case Undecided(cause):
                raise BrokerUnavailableError(cause)
