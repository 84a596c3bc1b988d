"""Keeping nothing longer than it was promised, and nothing that nobody asked for.

- A request is erased `retention` after its end, or after its own object lifetime: objects first, then its records.
- A video that no record names is an orphan: its attempt died after the upload, or lost to another. It is removed once
  it is older than any attempt could still need.

Every replica sweeps; doing it twice is harmless.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

import structlog

from files import ObjectStore, StoreUnavailableError, parse_video_key
from files.keys import VIDEOS
from jobs import states
from jobs.broker import Broker
from jobs.erasure import hearing_of_erasures
from jobs.errors import BrokerUnavailableError
from jobs.publisher import confirmed_state, key_of
from jobs.record_pb2 import Record, State
from jobs.subjects import LOG, RequestKey, log_subject
from jobs.tasks import end_task
from jobs.timers import Timers
from jobs.view import LiveView
from service.bucket_owner import BUCKET_MARK, belongs_to_queue
from service.erasing import erase_ended

STORE_RETRY_S = 10.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SweeperSettings:
    """`retention_s` is how long a request is kept after its end; orphans go after `orphan_age_s`.

    Orphans are looked for every `orphans_every_s`; together the two bound how long one lives.
    """

    retention_s: float = 7 * 24 * 3600
    orphan_age_s: float = 45 * 60
    orphans_every_s: float = 10 * 60


class Sweeper:
    """The sweeper of one replica, as an async context manager. Enter it before the view, which tells it of states."""

    def __init__(self, settings: SweeperSettings, broker: Broker, view: LiveView, store: ObjectStore) -> None:
        self._settings = settings
        self._broker = broker
        self._view = view
        self._store = store
        self._ends = Timers("retention", self._end_is_due)
        self._stack = AsyncExitStack()
        view.on_state.append(self.consider)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._ends)
            await stack.enter_async_context(hearing_of_erasures(self._broker, self._view.projection.forget))
            orphans = asyncio.create_task(self._sweep_orphans(), name="orphans")
            stack.push_async_callback(end_task, orphans)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def consider(self, record: Record) -> None:
        """Set the timer of a request that has ended."""
        if record.state in states.TERMINAL:
            self._ends.set(key_of(record), self._kept_until(record))

    def _kept_until(self, record: Record) -> float:
        lifetime_s = self._settings.retention_s
        if record.submission.HasField("object_lifetime"):
            lifetime_s = record.submission.object_lifetime.ToMilliseconds() / 1000
        return record.finished_time.ToNanoseconds() / 1e9 + lifetime_s

    async def _end_is_due(self, key: RequestKey) -> float | None:
        last_entry = await self._broker.last(LOG, log_subject(key))  # before the state: it belongs to it, or to none
        found = await confirmed_state(self._broker, key)
        if found is not None:
            seq, record = found
            if record.state not in states.TERMINAL:
                return None
            if (until := self._kept_until(record)) > time.time():
                return until
            until_log_seq = last_entry.seq if last_entry is not None else 0
            try:
                await erase_ended(self._broker, self._store, key, until_seq=seq, until_log_seq=until_log_seq)
            except StoreUnavailableError as error:
                _log.warning("sweeper.postponed", request_id=key.request_id, cause=str(error))
                return time.time() + STORE_RETRY_S
        self._view.projection.forget(key)
        return None

    async def _sweep_orphans(self) -> None:
        while True:
            # Replicas that were started together need not sweep together.
            await asyncio.sleep(self._settings.orphans_every_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            try:
                await self.sweep_orphans()
            except (StoreUnavailableError, BrokerUnavailableError) as error:
                _log.warning("sweeper.orphans_postponed", cause=str(error))
            except Exception as error:  # noqa: BLE001 - the next sweep must come all the same
                _log.error("sweeper.fault", exc_info=error)

    async def sweep_orphans(self) -> int:
        """Remove the videos that no record names and that are old enough; returns how many.

        Raises:
            StoreUnavailableError, BrokerUnavailableError: an engine does not answer.
        """
        if not await belongs_to_queue(self._store, self._view.stream_created):
            _log.error("sweeper.foreign_bucket", remedy=f"if its videos may go, remove the object {BUCKET_MARK}")
            return 0
        before = datetime.now(UTC) - timedelta(seconds=self._settings.orphan_age_s)
        removed = 0
        async for stored in self._store.list_objects(VIDEOS):
            if stored.modified_at is None or stored.modified_at > before:
                continue
            try:
                video = parse_video_key(stored.key)
            except ValueError:
                _log.warning("sweeper.unknown_object", key=stored.key)
                continue
            found = await confirmed_state(self._broker, RequestKey(video.tenant, video.request_id))
            if found is not None and _needs(found[1], stored.key, video.attempt):
                continue
            await self._store.remove(stored.key)
            removed += 1
            _log.info("orphan.removed", key=stored.key)
        return removed


def _needs(record: Record, object_key: str, attempt: int) -> bool:
    """Whether a request has use for a video: as its result, or because its attempt may still finish."""
    if record.state == State.STATE_COMPLETED:
        return record.output.object_key == object_key
    return record.state not in states.TERMINAL and attempt >= record.attempt
