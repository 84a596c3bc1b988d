"""What `cogreeld status` looks at: queues by the records in NATS, workers by asking them. No service is needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from cogreel.v1.admin_pb2 import QueueCounts, Worker
from cogreel.v1.queue_pb2 import Priority

from host.settings import Settings
from jobs.broker import ApiError, Broker, Stored
from jobs.errors import BrokerUnavailableError
from jobs.overview import queue_counts
from jobs.pauses import Pause, list_pauses
from jobs.projection import Projection
from jobs.publisher import read_record
from jobs.registry import list_workers
from jobs.subjects import LIVE, REQ, parse_request
from jobs.tail import StreamTail

LOOK_EVERY_S = 1.0
_STREAM_NOT_FOUND = 10059


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A moment's queues and workers."""

    time: datetime
    queues: list[QueueCounts]
    workers: list[Worker]
    pauses: list[Pause]

    def paused_s(self, endpoint: str, priority: Priority.ValueType) -> float | None:
        """For how many seconds an endpoint and priority have been paused; None if they are not."""
        found = (pause.since for pause in self.pauses if (pause.endpoint, pause.priority) == (endpoint, priority))
        since = next(found, None)
        return None if since is None else max(0.0, (self.time - since).total_seconds())

    @property
    def unserved(self) -> list[str]:
        """The endpoints for which requests wait and no worker is there."""
        served = {endpoint for worker in self.workers for endpoint in worker.endpoints}
        waiting = {count.endpoint for count in self.queues if count.queued or count.held}
        return sorted(waiting - served)


class Observer:
    """Follows the queue; see `observing`."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._projection = Projection()
        self.tail = StreamTail(broker, REQ, f"{LIVE}req.>", self._apply)

    def _apply(self, stored: Stored) -> None:
        if ".st." in stored.subject:
            self._projection.apply(parse_request(stored.subject), stored.seq, read_record(stored))

    async def look(self) -> Snapshot:
        """What there is now.

        Raises:
            BrokerUnavailableError: NATS does not answer.
        """
        workers = await list_workers(self._broker)
        if not self.tail.caught_up:
            raise BrokerUnavailableError("the queue cannot be followed at the moment")
        pauses = await self._pauses()
        endpoints = {endpoint for worker in workers for endpoint in worker.endpoints}
        endpoints |= {pause.endpoint for pause in pauses}
        return Snapshot(datetime.now(UTC), queue_counts(self._projection, endpoints), workers, pauses)

    async def _pauses(self) -> list[Pause]:
        try:
            return await list_pauses(self._broker)
        except BrokerUnavailableError as error:
            if isinstance(error.__cause__, ApiError) and error.__cause__.code == _STREAM_NOT_FOUND:
                return []  # nobody has made the bucket
            raise


@asynccontextmanager
async def observing(settings: Settings) -> AsyncIterator[Observer]:
    """An observer while the block runs. Entering reads the records of all requests: 100,000 take some seconds.

    Raises:
        BrokerUnavailableError: NATS does not answer.
        ValueError: there is no queue in it.
    """
    async with Broker(settings.broker("status")) as broker:
        observer = Observer(broker)
        try:
            await observer.tail.__aenter__()
        except ApiError as error:
            if error.code != _STREAM_NOT_FOUND:
                raise BrokerUnavailableError(str(error)) from error
            raise ValueError("this NATS holds no queue yet; a service makes one when it starts on it") from error
        try:
            yield observer
        finally:
            await observer.tail.__aexit__(None, None, None)


async def look_once(settings: Settings) -> Snapshot:
    """One look; raises as `observing`."""
    async with observing(settings) as observer:
        return await observer.look()


async def look_on(settings: Settings, show: Callable[[Snapshot], None], miss: Callable[[str], None]) -> None:
    """Look each second, until cancelled. `miss` is told why there is nothing new to `show`; raises as `observing`."""
    async with observing(settings) as observer:
        while True:
            began = asyncio.get_running_loop().time()
            try:
                show(await observer.look())
            except BrokerUnavailableError as error:
                miss(str(error))
            await asyncio.sleep(max(0.0, began + LOOK_EVERY_S - asyncio.get_running_loop().time()))
