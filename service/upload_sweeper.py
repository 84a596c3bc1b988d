"""Uploads that nobody uses expire, and those in parts that nobody finished are aborted.

A file is removed once it is older than its lifetime and a margin, and no request has named it for that margin. Submit
accepts no file that is older than its lifetime unless a request names it, and writes its record well within the
margin: what it has accepted is named before it could be removed. Every replica sweeps; doing it twice is harmless, as
no key is written again once it may be removed.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

import structlog

from files import ObjectStore, StoreUnavailableError
from files.keys import UPLOADS
from files.multipart import MultipartUploads
from jobs.broker import Broker
from jobs.errors import BrokerUnavailableError
from jobs.streams import stream_state
from jobs.subjects import REQ
from jobs.tasks import end_task
from jobs.view import LiveView
from service.bucket_owner import belongs_to_queue
from service.pins import Pins

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UploadSweeperSettings:
    """`lifetime_s` is that of a file that no request names; `margin_s` covers submissions under way and clocks apart.

    Looked for every `every_s`.
    """

    lifetime_s: float = 24 * 3600
    margin_s: float = 10 * 60
    every_s: float = 10 * 60


class UploadSweeper:
    """The sweeper of uploads of one replica, as an async context manager."""

    def __init__(
        self, settings: UploadSweeperSettings, broker: Broker, view: LiveView, store: ObjectStore, pins: Pins
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._view = view
        self._store = store
        self._pins = pins
        self._multipart = MultipartUploads(store.bucket)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._sweep_again_and_again(), name="upload sweeper")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            await end_task(self._task)

    async def _sweep_again_and_again(self) -> None:
        while True:
            # Replicas that were started together need not sweep together.
            await asyncio.sleep(self._settings.every_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            try:
                await self.sweep()
            except (StoreUnavailableError, BrokerUnavailableError) as error:
                _log.warning("upload_sweeper.postponed", cause=str(error))
            except Exception as error:  # noqa: BLE001 - the next sweep must come all the same
                _log.error("upload_sweeper.fault", exc_info=error)

    async def sweep(self) -> int:
        """Remove what has expired; returns how many files and unfinished uploads that were.

        Raises:
            StoreUnavailableError, BrokerUnavailableError: an engine does not answer.
        """
        if not await belongs_to_queue(self._store, self._view.stream_created):
            _log.error("upload_sweeper.foreign_bucket")
            return 0
        last_seq, _, _ = await stream_state(self._broker, REQ)
        if not await self._view.reached(last_seq):
            return 0  # a request that is not seen yet may name anything
        settings = self._settings
        before = datetime.now(UTC) - timedelta(seconds=settings.lifetime_s + settings.margin_s)
        removed = 0
        kept: set[str] = set()
        async for stored in self._store.list_objects(UPLOADS):
            free_for_s = self._pins.free_for_s(stored.key)
            expired = stored.modified_at is not None and stored.modified_at < before
            if expired and free_for_s is not None and free_for_s >= settings.margin_s:
                await self._store.remove(stored.key)
                removed += 1
                _log.info("upload.expired", key=stored.key)
            else:
                kept.add(stored.key)
        self._pins.retain(kept)
        for unfinished in await self._multipart.unfinished(UPLOADS):
            if unfinished.initiated_at is not None and unfinished.initiated_at < before:
                await self._multipart.abort(unfinished.key, unfinished.upload_id)
                removed += 1
                _log.info("upload.abandoned", key=unfinished.key)
        return removed
