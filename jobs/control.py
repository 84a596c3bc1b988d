"""Talking to one run of a worker process: is this request yours, and it is cancelled. And to all: what are you.

Each run has a random incarnation id and listens on a subject of its own. When a process has died, its supervisor
answers in its place, with a clear no. Silence is an answer of its own, which `dispatch` deals with. Nobody answers for
the dead when all are asked what they are, which is for `registry`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from enum import Enum

import nats.errors
import structlog
from cogreel.v1.admin_pb2 import Worker
from nats.aio.msg import Msg

from jobs.broker import UNREACHABLE, Broker
from jobs.record_pb2 import Ask, Cancel, Control, ControlReply
from jobs.subjects import PING, RequestKey, control_inbox, control_subject

ASK_TIMEOUT_S = 1.0

_log = structlog.get_logger(__name__)


class Holding(Enum):
    """What a worker says of a request: it has it, it certainly does not, or nothing at all."""

    MINE = "mine"
    NOT_MINE = "not mine"
    SILENCE = "silence"


async def ask_holding(broker: Broker, incarnation: str, key: RequestKey, attempt: int) -> Holding:
    """Ask a run of a worker process whether it is working on an attempt."""
    question = Control(ask=Ask(tenant=key.tenant, request_id=key.request_id, attempt=attempt))
    try:
        subscription = await broker.nc.subscribe(inbox := control_inbox(broker.settings.inbox_prefix))
        try:
            await broker.nc.publish(control_subject(incarnation), question.SerializeToString(), reply=inbox)
            reply = await subscription.next_msg(timeout=ASK_TIMEOUT_S)
        finally:
            if not broker.nc.is_closed:
                await subscription.unsubscribe()
    except UNREACHABLE:
        return Holding.SILENCE
    if reply.headers:  # the broker says that nobody listens
        return Holding.SILENCE
    return Holding.MINE if ControlReply.FromString(reply.data).mine else Holding.NOT_MINE


async def tell_cancelled(broker: Broker, incarnation: str, key: RequestKey) -> None:
    """Tell a run of a worker process to stop. It is decided already: a lost message costs only a heartbeat."""
    message = Control(cancel=Cancel(tenant=key.tenant, request_id=key.request_id))
    try:
        await broker.nc.publish(control_subject(incarnation), message.SerializeToString())
    except nats.errors.Error as error:
        _log.warning("control.cancel_not_sent", request_id=key.request_id, cause=str(error))


def answer_controls(
    broker: Broker,
    incarnation: str,
    *,
    holds: Callable[[RequestKey, int], bool],
    on_cancel: Callable[[RequestKey], None],
    describe: Callable[[], Worker] | None = None,
) -> AbstractAsyncContextManager[None]:
    """Answer for one incarnation while the block runs: a worker for itself, a supervisor for a dead child.

    A worker can `describe` itself, and does so when all are asked.
    """

    async def on_message(message: Msg) -> None:
        control = Control.FromString(message.data)
        match control.WhichOneof("message"):
            case "ask":
                ask = control.ask
                mine = holds(RequestKey(ask.tenant, ask.request_id), ask.attempt)
                await message.respond(ControlReply(mine=mine).SerializeToString())
            case "cancel":
                on_cancel(RequestKey(control.cancel.tenant, control.cancel.request_id))
            case "describe" if describe is not None:
                await message.respond(ControlReply(worker=describe()).SerializeToString())

    @asynccontextmanager
    async def listening() -> AsyncIterator[None]:
        subjects = [control_subject(incarnation)] + ([PING] if describe is not None else [])
        subscriptions = [await broker.nc.subscribe(subject, cb=on_message) for subject in subjects]
        await broker.flush()
        try:
            yield
        finally:
            if not broker.nc.is_closed:
                for subscription in subscriptions:
                    await subscription.unsubscribe()

    return listening()
