"""One file by a stream of messages: a header, then chunks, through a temporary file and never whole in memory."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from cogreel.v1.storage_pb2 import UploadHeader, UploadRequest
from cogreel.v1.video_pb2 import File

from files import ObjectStore
from files.content_type import HEAD_BYTES
from jobs.errors import InvalidInputError, Violation
from service.stored_bytes import StoredBytes
from service.upload_rules import UploadSettings, check_content, check_size, file_of, new_upload
from service.validation import check

MESSAGE_WITHIN_S = 60.0


async def receive(
    messages: AsyncIterator[UploadRequest],
    tenant: str,
    store: ObjectStore,
    settings: UploadSettings,
    stored_bytes: StoredBytes,
) -> File:
    """Take in a tenant's file and store it. Nothing reaches the store before all of it is here and checked.

    Raises:
        InvalidInputError: the stream is malformed, or the content is not what the header says.
        CallError: LIMIT_EXCEEDED: the file is too large.
        LimitExceededError: the tenant would store too much.
        StoreUnavailableError: the store does not answer.
    """
    first = await _next(messages)
    if first is None or first.WhichOneof("part") != "header":
        raise InvalidInputError([Violation("header", "the first message must be the header")])
    header = first.header
    name = header.file_name if header.HasField("file_name") else None
    upload = new_upload(tenant, name, header.content_type, path="header.")
    with tempfile.TemporaryDirectory(prefix="cogreel-upload-") as folder:
        path = Path(folder) / "content"
        with await asyncio.to_thread(path.open, "wb") as file:
            size_bytes, sha256, head = await _write(messages, file, settings)
        if not size_bytes:
            raise InvalidInputError([Violation("chunk", "the file is empty")])
        _check_sha256(header, sha256)
        check_content(upload, head, field="header.content_type")
        await stored_bytes.check(tenant, size_bytes)
        await store.put_file(upload.key, path, content_type=upload.content_type, file_name=upload.file_name)
    return file_of(store, settings, upload, size_bytes)


async def _write(
    messages: AsyncIterator[UploadRequest], file: BinaryIO, settings: UploadSettings
) -> tuple[int, str, bytes]:
    """Write all chunks; returns size, SHA-256 and first bytes."""
    digest = hashlib.sha256()
    size_bytes, head = 0, b""

    def take(chunk: bytes) -> None:
        file.write(chunk)
        digest.update(chunk)

    while (message := await _next(messages)) is not None:
        if message.WhichOneof("part") != "chunk":
            raise InvalidInputError([Violation("chunk", "every message after the first must be a chunk")])
        size_bytes += len(message.chunk)
        check_size(size_bytes, settings)
        head += message.chunk[: HEAD_BYTES - len(head)]
        await asyncio.to_thread(take, message.chunk)
    return size_bytes, digest.hexdigest(), head


async def _next(messages: AsyncIterator[UploadRequest]) -> UploadRequest | None:
    """The next message, checked by the contract's rules; None at the end."""
    try:
        async with asyncio.timeout(MESSAGE_WITHIN_S):
            message = await anext(messages, None)
    except TimeoutError as error:
        raise InvalidInputError([Violation("chunk", f"no message has come for {MESSAGE_WITHIN_S:.0f} s")]) from error
    if message is not None:
        check(message)
    return message


def _check_sha256(header: UploadHeader, sha256: str) -> None:
    if header.HasField("sha256") and header.sha256 != sha256:
        raise InvalidInputError([Violation("header.sha256", f"the content that came has the SHA-256 {sha256}")])
