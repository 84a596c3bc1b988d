"""The files that a request names, out of the store or from another server: what it starts from, decoded and fitted to
the video, and its LoRA."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

import structlog
from cogreel.v1.queue_pb2 import SubmitRequest

from files import ObjectNotFoundError, ObjectStore
from files.content_type import ACCEPTED
from files.errors import FetchFailedError, FetchRefusedError
from files.remote import FetchedFile, RemoteFiles
from files.remote_url import RemoteUrl
from inference.decoding import UnreadableError, load_frames, load_picture
from inference.lora_cache import LoraCache
from inference.model import InputError, Lora, Progress, SourceVideo, Stage, Start, StartPicture
from jobs.cards import input_of
from jobs.input_file import InputFile, lora_files, start_file

MAX_SOURCE_FRAMES = 49  # as many as the longest clip that a model here makes
LOOK_S = 0.05  # the longest wait for another server without looking whether the request is still wanted

_T = TypeVar("_T")
_log = structlog.get_logger(__name__)


class InputUnavailableError(Exception):
    """Another server did not deliver the file that `field` names; it may another time."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


async def load_start(
    store: ObjectStore, remote: RemoteFiles, submission: SubmitRequest, progress: Progress
) -> Start | None:
    """What a resolved submission starts from; None for one of text alone. With a file, this is of the stage prepare.

    Raises:
        CancelledError: out of `progress`.
        InputError: the file is gone, cannot be decoded, or is where nothing may be fetched from.
        InputUnavailableError: the server that has it does not deliver it.
        StoreUnavailableError: the store does not answer.
    """
    found = start_file(submission)
    if found is None:
        return None
    with progress.stage(Stage.PREPARE), tempfile.TemporaryDirectory(prefix="cogreel-input-") as folder:
        path = Path(folder) / "input"
        content_type = await _bring(store, remote, found, path, progress)
        try:
            return await asyncio.to_thread(_decode, submission, content_type, path, progress)
        except UnreadableError as error:
            raise InputError(found.field, f"the file {error}") from error


async def load_lora(
    store: ObjectStore,
    remote: RemoteFiles,
    submission: SubmitRequest,
    progress: Progress,
    *,
    folder: Path,
    cache: LoraCache,
) -> Lora | None:
    """The LoRA of a resolved submission, as a file in `folder`; None without one. With one, of the stage prepare.

    It comes out of `cache` where its source says that it still is what it was.

    Raises:
        As `load_start`; what is in the file, the model looks at.
    """
    files = lora_files(submission)
    if not files:
        return None
    lora, path = input_of(submission).loras[0], folder / "lora.safetensors"
    with progress.stage(Stage.PREPARE):
        await _bring_lora(store, remote, files[0], path, progress, cache=cache)
    return Lora(path, lora.scale if lora.HasField("scale") else 1.0, files[0].field)


async def _bring_lora(
    store: ObjectStore, remote: RemoteFiles, found: InputFile, path: Path, progress: Progress, *, cache: LoraCache
) -> None:
    """Have a LoRA at `path`: out of the cache, or brought and kept in it."""
    source = found.object_key or found.file.url
    known, sha256 = cache.version(source), ""
    if found.object_key is not None:
        stored = await store.stat(found.object_key)
        etag = stored.etag if stored is not None else None
        changed = etag is None or etag != known
        if changed:
            await _copy(store, found, found.object_key, path)
    else:
        fetched = await _while_wanted(progress, _fetch(remote, found, path, progress, unless=known))
        changed = fetched is not None
        etag, sha256 = (fetched.etag, fetched.sha256) if fetched is not None else (known, "")
    if etag is None:
        return
    if changed:
        await asyncio.to_thread(cache.keep, source, etag, path, sha256=sha256)
    elif await asyncio.to_thread(cache.take, source, etag, path):
        progress.log("The LoRA is the one that was used before.")


async def _bring(store: ObjectStore, remote: RemoteFiles, found: InputFile, path: Path, progress: Progress) -> str:
    """Copy or fetch a file to `path`; its type."""
    if found.object_key is None:
        fetched = await _while_wanted(progress, _fetch(remote, found, path, progress))
        assert fetched is not None, "nothing was known of it before"
        return fetched.content_type
    await _copy(store, found, found.object_key, path)
    return found.file.content_type


async def _copy(store: ObjectStore, found: InputFile, key: str, path: Path) -> None:
    most = ACCEPTED[found.kind].max_bytes
    received = 0
    try:
        async with store.open(key) as chunks:
            with await asyncio.to_thread(path.open, "wb") as file:
                async for chunk in chunks:
                    received += len(chunk)
                    if received > most:
                        raise InputError(found.field, f"the file must have at most {most} bytes")
                    await asyncio.to_thread(file.write, chunk)
    except ObjectNotFoundError as error:
        raise InputError(found.field, "the file is not in the store any more") from error


async def _fetch(
    remote: RemoteFiles, found: InputFile, path: Path, progress: Progress, *, unless: str | None = None
) -> FetchedFile | None:
    """Fetch a file of another server; None if it still has the entity tag `unless`."""
    accepted = ACCEPTED[found.kind]
    try:
        shown = RemoteUrl.parse(found.file.url).shown
        progress.log(f"Fetching {shown}.")
        fetched = await remote.fetch_unless(
            unless, found.file.url, path, types=accepted.types, max_bytes=accepted.max_bytes
        )
    except FetchRefusedError as error:
        raise InputError(found.url_field, str(error)) from error
    except FetchFailedError as error:
        raise InputUnavailableError(found.url_field, str(error)) from error
    if fetched is None:
        _log.info("input.unchanged", url=shown)
    else:
        _log.info("input.fetched", url=shown, size_bytes=fetched.size_bytes, content_type=fetched.content_type)
    return fetched


async def _while_wanted(progress: Progress, work: Coroutine[None, None, _T]) -> _T:
    """Await work, and give it up as soon as its request is not wanted any more. Raises `CancelledError`."""
    task = asyncio.create_task(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=LOOK_S)
            progress.check()
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})


def _decode(submission: SubmitRequest, content_type: str, path: Path, progress: Progress) -> Start:
    size = input_of(submission).video_size.dimensions
    if submission.WhichOneof("input") == "image_to_video":
        return StartPicture(load_picture(path, size.width, size.height))
    frames, more = load_frames(
        path, content_type, size.width, size.height, most=MAX_SOURCE_FRAMES, check=progress.check
    )
    if more:
        progress.log(f"The video is longer than {MAX_SOURCE_FRAMES} frames; the rest is not used.", level="WARN")
    return SourceVideo(frames, submission.video_to_video.strength)
