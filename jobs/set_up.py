"""Waiting for what others set up: a worker makes no streams and no consumers, which its credentials need not allow.

The service makes them at its start. Whoever may make a consumer could have it deliver to any subject, and so publish
what it may not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog
from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL

from jobs.broker import ApiError, Broker
from jobs.subjects import LOG, PAUSES, REQ, consumer_name

LOOK_EVERY_S = 0.25
TELL_EVERY_S = 10.0
_NOT_THERE = frozenset({10014, 10059})  # no such consumer, no such stream

_log = structlog.get_logger(__name__)


async def until_set_up(broker: Broker, endpoints: Iterable[str]) -> None:
    """Wait until all is there that a worker of these endpoints takes requests from and writes to.

    Raises:
        NotAllowedError: we may not look.
        BrokerUnavailableError: JetStream does not answer.
        ApiError: JetStream refuses the question.
    """
    needed = [(f"stream {name}", f"STREAM.INFO.{name}") for name in (REQ, LOG, PAUSES)]
    needed += [
        (f"endpoint {endpoint}", f"CONSUMER.INFO.{REQ}.{consumer_name(endpoint, priority)}")
        for endpoint in endpoints
        for priority in (PRIORITY_NORMAL, PRIORITY_LOW)
    ]
    loop = asyncio.get_running_loop()
    tell_at = loop.time()
    for what, call in needed:
        while not await _is_there(broker, call):
            if loop.time() >= tell_at:
                _log.warning("queue.awaited", missing=what, remedy="a service that serves it sets it up at its start")
                tell_at = loop.time() + TELL_EVERY_S
            await asyncio.sleep(LOOK_EVERY_S)


async def _is_there(broker: Broker, call: str) -> bool:
    try:
        await broker.through_election(lambda: broker.api(call, {}))
    except ApiError as error:
        if error.code not in _NOT_THERE:
            raise
        return False
    return True
