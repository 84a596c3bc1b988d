"""Which endpoints are paused: kept in a bucket of the broker, known to every worker within milliseconds.

Of a paused endpoint and priority no worker takes a request: nothing starts, neither a first attempt nor a further one.
What runs goes on, and submissions are accepted and wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL, Priority

from jobs.broker import Broker, Stored
from jobs.bucket import put_entry, read_entries
from jobs.record_pb2 import Pause as StoredPause
from jobs.subjects import LIVE, PAUSES, PAUSES_BUCKET, consumer_name
from jobs.tail import StreamTail

ALL_PRIORITIES = (PRIORITY_NORMAL, PRIORITY_LOW)


@dataclass(frozen=True, slots=True)
class Pause:
    """One endpoint and priority of which nothing starts, since when."""

    endpoint: str
    priority: Priority.ValueType
    since: datetime


async def pause(broker: Broker, endpoint: str, priorities: Iterable[Priority.ValueType] = ALL_PRIORITIES) -> None:
    """Let nothing more of an endpoint start. Pausing twice keeps the first time.

    Raises:
        BrokerUnavailableError: the broker does not answer.
    """
    paused = {(found.endpoint, found.priority) for found in await list_pauses(broker)}
    for priority in priorities:
        if (endpoint, priority) not in paused:
            entry = StoredPause(endpoint=endpoint, priority=priority)
            entry.since.FromDatetime(datetime.now(UTC))
            await _put(broker, entry)


async def resume(broker: Broker, endpoint: str, priorities: Iterable[Priority.ValueType] = ALL_PRIORITIES) -> None:
    """Let requests of an endpoint start again. Resuming what is not paused changes nothing.

    Raises:
        BrokerUnavailableError: the broker does not answer.
    """
    for priority in priorities:
        await _put(broker, StoredPause(endpoint=endpoint, priority=priority))


async def list_pauses(broker: Broker) -> list[Pause]:
    """What is paused, by endpoint and priority.

    Raises:
        BrokerUnavailableError: the broker does not answer.
    """
    entries = [StoredPause.FromString(stored.data) for stored in await read_entries(broker, PAUSES_BUCKET)]
    found = [
        Pause(entry.endpoint, entry.priority, entry.since.ToDatetime(UTC))
        for entry in entries
        if entry.HasField("since")
    ]
    return sorted(found, key=lambda pause: (pause.endpoint, pause.priority))


async def _put(broker: Broker, entry: StoredPause) -> None:
    name = consumer_name(entry.endpoint, entry.priority)
    await put_entry(broker, PAUSES_BUCKET, name, entry.SerializeToString())


class PauseDirectory:
    """What is paused, kept current by a tail on the bucket; an async context manager.

    `on_change` is called after each change, so that what was resumed is taken at once.
    """

    def __init__(self, broker: Broker) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._paused: set[tuple[str, Priority.ValueType]] = set()
        self._tail = StreamTail(broker, PAUSES, f"{LIVE}{PAUSES_BUCKET}.>", self._apply)

    async def __aenter__(self) -> Self:
        await self._tail.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tail.__aexit__(kind, error, trace)

    async def until_ended(self) -> None:
        """Wait until changes are followed no more, after which nothing here can be trusted."""
        await self._tail.until_ended()

    def paused(self, endpoint: str, priority: Priority.ValueType) -> bool:
        """Whether nothing of this endpoint and priority may start."""
        return (endpoint, priority) in self._paused

    def _apply(self, stored: Stored) -> None:
        entry = StoredPause.FromString(stored.data)
        change = self._paused.add if entry.HasField("since") else self._paused.discard
        change((entry.endpoint, entry.priority))
        self.on_change()
