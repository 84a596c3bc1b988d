"""The file that a request starts from: out of the store, decoded, and fitted to the size of the video."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from cogreel.v1.queue_pb2 import SubmitRequest

from files import ObjectNotFoundError, ObjectStore
from files.content_type import MAX_IMAGE_BYTES, MAX_VIDEO_BYTES
from inference.decoding import UnreadableError, load_frames, load_picture
from inference.model import InputError, Progress, SourceVideo, Stage, Start, StartPicture
from jobs.cards import input_of
from jobs.input_file import OBJECT_SCHEME, InputFile, input_file

MAX_SOURCE_FRAMES = 49  # as many as the longest clip that a model here makes


async def load_start(store: ObjectStore, submission: SubmitRequest, progress: Progress) -> Start | None:
    """What a resolved submission starts from; None for one of text alone. With a file, this is of the stage prepare.

    Raises:
        CancelledError: out of `progress`.
        InputError: the file is gone, or cannot be decoded.
        StoreUnavailableError: the store does not answer.
    """
    found = input_file(submission)
    if found is None:
        return None
    with progress.stage(Stage.PREPARE), tempfile.TemporaryDirectory(prefix="cogreel-input-") as folder:
        path = Path(folder) / "input"
        await _fetch(store, found, path)
        try:
            return await asyncio.to_thread(_decode, submission, found, path, progress)
        except UnreadableError as error:
            raise InputError(found.field, f"the file {error}") from error


async def _fetch(store: ObjectStore, found: InputFile, path: Path) -> None:
    most = max(MAX_IMAGE_BYTES, MAX_VIDEO_BYTES)
    received = 0
    try:
        async with store.open(found.file.url.removeprefix(OBJECT_SCHEME)) as chunks:
            with await asyncio.to_thread(path.open, "wb") as file:
                async for chunk in chunks:
                    received += len(chunk)
                    if received > most:
                        raise InputError(found.field, f"the file must have at most {most} bytes")
                    await asyncio.to_thread(file.write, chunk)
    except ObjectNotFoundError as error:
        raise InputError(found.field, "the file is not in the store any more") from error


def _decode(submission: SubmitRequest, found: InputFile, path: Path, progress: Progress) -> Start:
    size = input_of(submission).video_size.dimensions
    if submission.WhichOneof("input") == "image_to_video":
        return StartPicture(load_picture(path, size.width, size.height))
    frames, more = load_frames(
        path, found.file.content_type, size.width, size.height, most=MAX_SOURCE_FRAMES, check=progress.check
    )
    if more:
        progress.log(f"The video is longer than {MAX_SOURCE_FRAMES} frames; the rest is not used.", level="WARN")
    return SourceVideo(frames, submission.video_to_video.strength)
