"""Storing a finished video."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from files import ObjectStore, StoreUnavailableError
from inference.metrics import WorkerMetrics
from inference.model import Progress

UPLOAD_WITHIN_S = 60.0
UPLOAD_PAUSE_S = 1.0

_log = structlog.get_logger(__name__)


async def store_video(
    store: ObjectStore, key: str, path: Path, file_name: str, *, progress: Progress, metrics: WorkerMetrics
) -> None:
    """Store the video at `path`, waiting out a short absence of the store: the rendering behind it was dear.

    Raises:
        StoreUnavailableError: the store has been out of reach for a minute.
        CancelledError: out of `progress`.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + UPLOAD_WITHIN_S
    while True:
        try:
            await store.put_file(key, path, content_type="video/mp4", file_name=file_name)
        except StoreUnavailableError as error:
            metrics.store_answered(up=False)
            if loop.time() >= deadline:
                raise
            _log.warning("upload.postponed", cause=str(error))
            progress.log("The object store is out of reach; trying again.", level="WARN")
            await asyncio.sleep(UPLOAD_PAUSE_S)
        else:
            metrics.store_answered(up=True)
            return


async def remove_orphan(store: ObjectStore, key: str) -> None:
    """Remove a video that no request has; the sweeper does so later if the store does not answer now."""
    try:
        await store.remove(key)
    except StoreUnavailableError as error:
        _log.warning("orphan.left", key=key, cause=str(error))
