"""Erasing a request: all its states and all its lines, and nothing of any other. And hearing that it was done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import nats.errors
import structlog
from nats.aio.msg import Msg

from jobs.broker import ApiError, Broker
from jobs.errors import BrokerUnavailableError
from jobs.record_pb2 import Webhook
from jobs.subjects import ERASED, LOG, REQ, RequestKey, everything_filter, log_subject, parse_request, webhook_subject

_log = structlog.get_logger(__name__)


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
        # What is kept of its webhook was written after its end; whoever delivers may have written until just now, and
        # is refused from here on, since what he expects to follow is gone.
        while (stored := await broker.last(REQ, webhook_subject(key))) is not None:
            if Webhook.FromString(stored.data).ended_seq > until_seq:
                break
            await broker.api(f"STREAM.PURGE.{REQ}", {"filter": webhook_subject(key), "seq": stored.seq + 1})
    except ApiError as error:
        raise BrokerUnavailableError(str(error)) from error
    try:
        await broker.nc.publish(ERASED, log_subject(key).encode())
    except nats.errors.Error as error:  # it is erased all the same
        _log.warning("erasure.not_told", request_id=key.request_id, cause=str(error))


@asynccontextmanager
async def hearing_of_erasures(broker: Broker, forget: Callable[[RequestKey], None]) -> AsyncIterator[None]:
    """Call `forget` with each request that anybody erases while the block runs.

    The word may get lost: whoever must not remember a request for ever looks for himself, as the sweeper does.
    """

    async def on_message(message: Msg) -> None:
        forget(parse_request(message.data.decode()))

    subscription = await broker.nc.subscribe(ERASED, cb=on_message)
    try:
        yield
    finally:
        if not broker.nc.is_closed:
            await subscription.unsubscribe()
