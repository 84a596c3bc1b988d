"""Waiting until nothing of an endpoint runs any more, after it was paused.

A record that says RUNNING proves nothing while its endpoint is paused: its worker may have died, and nobody takes the
request over before it is resumed. So the workers are asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass

from cogreel.v1.queue_pb2 import Priority

from jobs.broker import Broker, Stored
from jobs.control import Holding, ask_holding
from jobs.dispatch import SILENCE_S
from jobs.errors import BrokerUnavailableError
from jobs.publisher import key_of, read_record
from jobs.record_pb2 import Record, State
from jobs.subjects import LIVE, REQ, RequestKey, parse_request
from jobs.tail import StreamTail

ASK_EVERY_S = 1.0
SETTLED_S = 3.0
"""A worker that has just connected again may take a second to learn of the pause, and may claim until it does."""


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is left: requests that run, and requests whose worker is gone, which wait to be taken over."""

    running: int
    abandoned: int


async def draining(
    broker: Broker,
    endpoint: str,
    priorities: Collection[Priority.ValueType],
    *,
    silence_s: float = SILENCE_S,
    settled_s: float = SETTLED_S,
) -> AsyncGenerator[Remaining, None]:
    """What is left of a paused endpoint, about once a second; ends when nothing has run for `settled_s`.

    A worker that has been silent for `silence_s` is taken for dead, as other workers take it.

    Raises:
        BrokerUnavailableError: the broker does not answer.
    """
    unfinished: dict[RequestKey, Record] = {}

    def apply(stored: Stored) -> None:
        if ".st." not in stored.subject:
            return
        record = read_record(stored)
        if record.state == State.STATE_RUNNING and record.endpoint == endpoint and record.priority in priorities:
            unfinished[key_of(record)] = record
        else:
            unfinished.pop(parse_request(stored.subject), None)

    loop = asyncio.get_running_loop()
    silent_since: dict[tuple[RequestKey, int], float] = {}
    idle_since = loop.time()
    async with StreamTail(broker, REQ, f"{LIVE}req.>", apply) as tail:
        while True:
            asked_at, losses = loop.time(), broker.losses
            records = list(unfinished.values())
            answers = await asyncio.gather(
                *(ask_holding(broker, record.worker.incarnation, key_of(record), record.attempt) for record in records)
            )
            if broker.losses != losses or not tail.is_current:
                raise BrokerUnavailableError("the broker was away while the workers were asked")
            running = 0
            for record, holding in zip(records, answers, strict=True):
                attempt = key_of(record), record.attempt
                if holding is not Holding.SILENCE:
                    silent_since.pop(attempt, None)
                    running += holding is Holding.MINE
                else:
                    running += asked_at - silent_since.setdefault(attempt, asked_at) < silence_s
            if running:
                idle_since = loop.time()
            yield Remaining(running, len(records) - running)
            if not running and loop.time() - idle_since >= settled_s:
                return
            await asyncio.sleep(max(0.0, asked_at + ASK_EVERY_S - loop.time()))
