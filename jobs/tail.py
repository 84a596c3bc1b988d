"""One tail a stream and process: every message, in order, without a gap, as soon as it is stored.

A tail listens to the republished copies, which cost the server almost nothing however many processes listen. Copies
may get lost (a reconnect, a change of leader), so each carries its sequence: where one is missing, and once a second
where the stream's leader is ahead, the gap is read from the stream itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import structlog
from nats.aio.msg import Msg

from jobs.broker import ApiError, Broker, Stored
from jobs.errors import BrokerUnavailableError, StreamEndedError
from jobs.streams import stream_state
from jobs.tasks import end_task

_log = structlog.get_logger(__name__)

COMPARE_EVERY_S = 1.0
CURRENT_FOR_S = 2.5 * COMPARE_EVERY_S
BUFFERED_COPIES = 65_536


class StreamTail:
    """Calls `apply` with each message of a stream, from its beginning, or with `start_at_end` from its end on.

    As an async context manager: entering reads the stream up to its present end. `created` is the stream's creation
    time as the server writes it, `stored_bytes` its size at the last look. `on_hole` is called where a sequence was
    missing in the stream itself: it had been erased before this tail came to it.
    """

    def __init__(
        self,
        broker: Broker,
        stream: str,
        live_subject: str,
        apply: Callable[[Stored], None],
        *,
        start_at_end: bool = False,
        on_hole: Callable[[], None] = lambda: None,
    ) -> None:
        self.position = 0
        self.created = ""
        self.stored_bytes = 0
        self.caught_up = False
        self._broker = broker
        self._stream = stream
        self._live_subject = live_subject
        self._apply = apply
        self._start_at_end = start_at_end
        self._on_hole = on_hole
        self._follower: asyncio.Task[None] | None = None
        self._compared_at = 0.0
        self._copies: deque[Stored] = deque(maxlen=BUFFERED_COPIES)
        self._arrived = asyncio.Event()
        self._moved: set[asyncio.Future[None]] = set()
        self._cleanup: Callable[[], Awaitable[None]] | None = None

    async def __aenter__(self) -> Self:
        async def on_copy(message: Msg) -> None:
            headers = message.headers or {}
            self._copies.append(Stored(int(headers["Nats-Sequence"]), headers["Nats-Subject"], message.data))
            self._arrived.set()

        subscription = await self._broker.nc.subscribe(self._live_subject, cb=on_copy)
        if self._start_at_end:
            self.position, self.stored_bytes, self.created = await self._broker.through_election(
                lambda: stream_state(self._broker, self._stream)
            )
        await self._broker.through_election(self._compare)
        follower = self._follower = asyncio.create_task(self._follow(), name=f"tail {self._stream}")

        async def cleanup() -> None:
            if not follower.done():
                await end_task(follower)
            if not self._broker.nc.is_closed:
                await subscription.unsubscribe()

        self._cleanup = cleanup
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._cleanup is not None:
            await self._cleanup()

    @property
    def is_current(self) -> bool:
        """Whether it had everything a moment ago: not where the broker is away, or this process has slept."""
        return self.caught_up and asyncio.get_running_loop().time() - self._compared_at <= CURRENT_FOR_S

    @property
    def ended(self) -> bool:
        """Whether it follows no more, for the reason that it logged: its stream was made anew, most likely."""
        return self._follower is not None and self._follower.done()

    async def until_ended(self) -> None:
        """Wait until it follows no more; for ever, if all is well."""
        if self._follower is not None:
            await asyncio.wait({self._follower})

    async def reached(self, seq: int, *, timeout_s: float) -> bool:
        """Wait until everything up to `seq` has been applied; False if that takes longer than `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.position < seq:
                    moved = asyncio.get_running_loop().create_future()
                    self._moved.add(moved)
                    try:
                        await moved
                    finally:
                        self._moved.discard(moved)
        except TimeoutError:
            return False
        return True

    async def _follow(self) -> None:
        try:
            await self._follow_on()
        except Exception as error:
            _log.error("tail.ended", stream=self._stream, cause=str(error))
            raise
        finally:
            self.caught_up = False

    async def _follow_on(self) -> None:
        loop = asyncio.get_running_loop()
        compare_at = loop.time() + COMPARE_EVERY_S
        while True:
            try:
                async with asyncio.timeout(max(0.0, compare_at - loop.time())):
                    await self._arrived.wait()
            except TimeoutError:
                pass
            try:
                await self._drain()
                if loop.time() >= compare_at:
                    await self._compare()
                    compare_at = loop.time() + COMPARE_EVERY_S
            except (ApiError, BrokerUnavailableError) as error:  # a server that restarts may not know its streams yet
                self.caught_up = False
                compare_at = loop.time() + COMPARE_EVERY_S
                _log.warning("tail.behind", stream=self._stream, cause=str(error))

    async def _drain(self) -> None:
        self._arrived.clear()
        while self._copies:
            copy = self._copies.popleft()
            if copy.seq > self.position + 1:
                await self._fill(copy.seq - 1)
            if copy.seq > self.position:
                self._apply(copy)
                self._move(copy.seq)

    async def _compare(self) -> None:
        last_seq, self.stored_bytes, created = await stream_state(self._broker, self._stream)
        if self.created and created != self.created:
            raise StreamEndedError(f"stream {self._stream} was made anew; this process must start again")
        self.created = created
        if last_seq > self.position:
            await self._fill(last_seq)
        self.caught_up = True
        self._compared_at = asyncio.get_running_loop().time()

    async def _fill(self, until: int) -> None:
        """Read from the stream what is missing up to `until`; sequences that it lacks were erased."""
        while self.position < until:
            page = await self._broker.batch(self._stream, self.position + 1, ">")
            if not page:
                one = await self._broker.confirmed_following(self._stream, self.position + 1, ">")
                page = [] if one is None else [one]
            if not page:
                self._on_hole()
                self._move(until)
                return
            for stored in page:
                if stored.seq > self.position + 1:
                    self._on_hole()
                self._apply(stored)
                self._move(stored.seq)

    def _move(self, seq: int) -> None:
        self.position = seq
        for moved in self._moved:
            if not moved.done():
                moved.set_result(None)
