"""Erasing a request: all its states and all its lines, and nothing of any other."""

from __future__ import annotations

from jobs.broker import ApiError, Broker
from jobs.errors import BrokerUnavailableError
from jobs.subjects import LOG, REQ, RequestKey, everything_filter, log_subject


async def erase(broker: Broker, key: RequestKey, *, until_seq: int, until_log_seq: int) -> None:
    """Erase a request that has ended, up to its terminal state at `until_seq` and its entry at `until_log_seq`.

    The bounds matter: another replica may have erased it a moment ago, and its caller submitted it anew, under the id
    that its idempotency key gives. Its objects must be gone before: nothing names them any more afterwards.

    Raises:
        BrokerUnavailableError: the broker does not answer, or cannot at the moment.
    """
    try:
        await broker.api(f"STREAM.PURGE.{LOG}", {"filter": log_subject(key), "seq": until_log_seq + 1})
        await broker.api(f"STREAM.PURGE.{REQ}", {"filter": everything_filter(key), "seq": until_seq + 1})
    except ApiError as error:
        raise BrokerUnavailableError(str(error)) from error
