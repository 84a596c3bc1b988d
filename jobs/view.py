"""What one service replica sees: both tails, and what they feed: the projection, the deadlines, the watchers.

There is one view a process, never one consumer a watcher. A watcher registers a `Feed` here and gets the messages of
its request from then on; what came before, `watch` reads from the streams.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from types import TracebackType
from typing import Self

from jobs import subjects
from jobs.broker import Broker, Stored
from jobs.cursor import created_ns
from jobs.deadlines import Deadlines
from jobs.errors import BrokerUnavailableError
from jobs.projection import Projection
from jobs.publisher import confirmed_state, read_record
from jobs.record_pb2 import LogEntry, Record
from jobs.subjects import LIVE, LOG, REQ, RequestKey, parse_request
from jobs.tail import StreamTail
from jobs.tasks import end_task

FEED_EVENTS = 256
POSITIONS_EVERY_S = 0.5
WOKEN_AT_ONCE = 100
LOOK_AGAIN_S = 1.0
CURRENT_POLL_S = 0.02
FULL_SHARE = 0.8  # submissions are refused from here on, so that there is room to finish what was accepted


class Feed:
    """What arrives for one watcher. A feed that overflows is dead: its watcher reads the streams again."""

    def __init__(self) -> None:
        self.states: deque[tuple[int, Record]] = deque()
        self.entries: deque[tuple[int, LogEntry]] = deque()
        self.overflowed = False
        self.woken = asyncio.Event()

    def push(self, item: tuple[int, Record] | None, entry: tuple[int, LogEntry] | None) -> None:
        """Add a state or an entry and wake the watcher."""
        if self.overflowed or len(self.states) + len(self.entries) >= FEED_EVENTS:
            self.overflowed = True
        elif item is not None:
            self.states.append(item)
        elif entry is not None:
            self.entries.append(entry)
        self.woken.set()


class LiveView:
    """The view, as an async context manager: entering reads all states of REQ, however old."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.projection = Projection()
        self.on_state: list[Callable[[Record], None]] = []
        """Told of every state, from the first on; add to it before entering."""
        self.on_entry: list[Callable[[LogEntry], None]] = []
        """Told of every step and line from now on."""
        self.late_watchers = 0
        """How many watchers have fallen behind their feed so far, and had to read the streams again."""
        self.closing = asyncio.Event()
        self._feeds: defaultdict[RequestKey, set[Feed]] = defaultdict(set)
        self._erased_unseen = asyncio.Event()
        self._req = StreamTail(broker, REQ, f"{LIVE}req.>", self._apply_state, on_hole=self._erased_unseen.set)
        self._log = StreamTail(broker, LOG, f"{LIVE}log.>", self._apply_entry, start_at_end=True)
        self._deadlines = Deadlines(broker)
        self.on_state.append(self._deadlines.consider)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._deadlines)
            await stack.enter_async_context(self._log)
            await stack.enter_async_context(self._req)
            announcer = asyncio.create_task(self._announce_positions(), name="positions")
            stack.callback(announcer.cancel)
            looker = asyncio.create_task(self._look_after_the_living(), name="erased unseen")
            stack.push_async_callback(end_task, looker)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        await self._stack.aclose()

    def close(self) -> None:
        """Tell all watchers to go elsewhere."""
        self.closing.set()
        for feeds in self._feeds.values():
            for feed in feeds:
                feed.woken.set()

    @property
    def caught_up(self) -> bool:
        """Whether both tails had everything at their last look."""
        return self._req.caught_up and self._log.caught_up and self.broker.connected

    @property
    def ended(self) -> bool:
        """Whether a stream is followed no more: this process must start again."""
        return self._req.ended or self._log.ended

    @property
    def stream_created(self) -> int:
        """When REQ was created, in nanoseconds since 1970."""
        return created_ns(self._req.created)

    @property
    def log_position(self) -> int:
        """The LOG sequence up to which everything has been handed to the feeds."""
        return self._log.position

    @property
    def full(self) -> bool:
        """Whether REQ has reached the share of its space at which submissions are refused."""
        return self._req.stored_bytes >= FULL_SHARE * self.broker.settings.max_queue_bytes

    async def reached(self, seq: int, *, timeout_s: float = 2.0) -> bool:
        """Wait until the projection has taken in everything up to `seq`; False if that takes too long."""
        return await self._req.reached(seq, timeout_s=timeout_s)

    def position(self, key: RequestKey) -> int | None:
        """As `Projection.position`; None also where this replica is not sure to have seen what happened lately."""
        return self.projection.position(key) if self._req.is_current else None

    async def until_current(self, *, timeout_s: float = 2.0) -> bool:
        """Wait until positions can be told; False if that takes too long."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not self._req.is_current:
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(CURRENT_POLL_S)
        return True

    @contextmanager
    def register(self, key: RequestKey) -> Iterator[Feed]:
        """A feed of one request's messages, from now until the end of the block."""
        feed = Feed()
        self._feeds[key].add(feed)
        try:
            yield feed
        finally:
            self._feeds[key].discard(feed)
            if not self._feeds[key]:
                del self._feeds[key]

    @property
    def watchers(self) -> int:
        """How many feeds are registered."""
        return sum(len(feeds) for feeds in list(self._feeds.values()))  # a copy: other threads ask

    def _apply_state(self, stored: Stored) -> None:
        if ".st." not in stored.subject:
            return
        key = parse_request(stored.subject)
        record = read_record(stored)
        self.projection.apply(key, stored.seq, record)
        for tell in self.on_state:
            tell(record)
        for feed in self._feeds.get(key, ()):
            feed.push((stored.seq, record), None)

    def _apply_entry(self, stored: Stored) -> None:
        key = subjects.parse_request(stored.subject)
        entry = LogEntry.FromString(stored.data)
        if entry.HasField("progress"):
            self.projection.apply_progress(key, entry.progress)
        for tell in self.on_entry:
            tell(entry)
        for feed in self._feeds.get(key, ()):
            feed.push(None, (stored.seq, entry))

    async def _look_after_the_living(self) -> None:
        """Where sequences had been erased before the tail came to them, find out which requests are no more.

        A replica that was cut off while a request ended and was erased would keep it for living for ever.
        """
        while True:
            await self._erased_unseen.wait()
            self._erased_unseen.clear()
            for key in self.projection.living():
                try:
                    if await confirmed_state(self.broker, key) is None:
                        self.projection.forget(key, though_living=True)
                except BrokerUnavailableError:
                    self._erased_unseen.set()
                    await asyncio.sleep(LOOK_AGAIN_S)
                    break

    async def _announce_positions(self) -> None:
        """Wake those whose place has moved, not more often than twice a second and a few at a time."""
        changes = self.projection.changes
        announced: dict[RequestKey, int] = {}
        while True:
            await asyncio.sleep(POSITIONS_EVERY_S)
            if self.projection.changes == changes:
                continue
            changes = self.projection.changes
            now = {key: place for key in self._feeds if (place := self.projection.position(key)) is not None}
            moved = [key for key, place in now.items() if announced.get(key) != place]
            announced = now
            for start in range(0, len(moved), WOKEN_AT_ONCE):
                for key in moved[start : start + WOKEN_AT_ONCE]:
                    for feed in self._feeds.get(key, ()):
                        feed.woken.set()
                await asyncio.sleep(0)  # steps and lines go between
