"""How a file is uploaded: decisions and HTTP here, gRPC calls by the client, so that both clients share all of it.

An upload is a generator: it yields the call that is to be made next and is sent its answer. A file goes into the store
by one presigned PUT; a large one in parts, of which only those are put again that did not arrive. Where the store
cannot be reached from here, it goes through the service.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import Message

from cogreel.errors import UploadError
from cogreel.putting import Putter, StoreOutOfReachError
from cogreel.retry import Retrying, RetryPolicy
from cogreel.upload_source import Content, Piece
from cogreel.v1.storage_pb2 import (
    AbortMultipartUploadRequest,
    CompleteMultipartUploadRequest,
    CompleteMultipartUploadResponse,
    CreateMultipartUploadRequest,
    CreateMultipartUploadResponse,
    CreateUploadRequest,
    CreateUploadResponse,
    PresignUploadPartsRequest,
    PresignUploadPartsResponse,
    UploadHeader,
    UploadRequest,
    UploadResponse,
)
from cogreel.v1.video_pb2 import File

MULTIPART_FROM_BYTES = 16 * 1024**2
"""Files from this size on go up in parts."""
_BATCH = 100  # parts that are signed at a time: their URLs expire
_CHUNK_BYTES = 1024**2

_M = TypeVar("_M", bound=Message)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of StorageService that is to be made, and made again while the service is out of reach."""

    method: str
    request: Message
    messages: Callable[[], Iterator[UploadRequest]] | None = None
    """For a client stream, makes the messages of one try; `request` is then only the first of them."""

    def of(
        self, stub: object
    ) -> Callable[..., Any]:  # a synchronous stub answers, an asyncio one hands out an awaitable
        """The method of a stub, to be called with request, metadata and timeout."""
        method: Callable[..., Any] = getattr(stub, self.method)
        messages = self.messages
        if messages is None:
            return method
        # A stream may take as long as it takes: keepalive ends those whose service is gone.
        return lambda _request, *, metadata, timeout: method(messages(), metadata=metadata)  # noqa: ARG005


Calls = Generator[Call, Message | None, File]


def advance(calls: Calls, answer: Message | None) -> Call | File:
    """Send an answer (None at first); returns the next call, or the file when it is uploaded."""
    try:
        return calls.send(answer)
    except StopIteration as done:
        file: File = done.value
        return file


def upload_calls(content: Content, policy: RetryPolicy) -> Calls:
    """Upload a file.

    Raises:
        UploadError: the store has refused it, or stayed out of reach for longer than `policy` says.
        OSError: the file cannot be read.
    """
    putter = Putter(content)
    try:
        if content.size >= MULTIPART_FROM_BYTES:
            return (yield from _by_parts(content, putter, policy))
        return (yield from _by_put(content, putter, policy))
    except StoreOutOfReachError:
        content.begin_again()
        return (yield from _by_stream(content))


def _by_put(content: Content, putter: Putter, policy: RetryPolicy) -> Calls:
    request = CreateUploadRequest(file_name=content.file_name, content_type=content.content_type, size=content.size)
    created = _as(CreateUploadResponse, (yield Call("CreateUpload", request)))
    retrying = Retrying(policy)
    while True:
        try:
            putter.put(created.upload_url, created.headers, 0, content.size)
        except UploadError as error:
            content.stop.wait(retrying.delay_after(error))
        else:
            return created.file


def _by_parts(content: Content, putter: Putter, policy: RetryPolicy) -> Calls:
    request = CreateMultipartUploadRequest(
        file_name=content.file_name, content_type=content.content_type, size=content.size
    )
    created = _as(CreateMultipartUploadResponse, (yield Call("CreateMultipartUpload", request)))
    numbers = range(1, created.part_count + 1)
    try:
        for first in range(0, len(numbers), _BATCH):
            yield from _put_batch(created, numbers[first : first + _BATCH], putter, content, policy)
    except (StoreOutOfReachError, UploadError):
        yield Call("AbortMultipartUpload", AbortMultipartUploadRequest(upload_id=created.upload_id))
        raise
    ask = _presign(created, numbers[-1:])
    uploaded = _as(PresignUploadPartsResponse, (yield ask)).uploaded
    complete = CompleteMultipartUploadRequest(upload_id=created.upload_id, parts=uploaded)
    return _as(CompleteMultipartUploadResponse, (yield Call("CompleteMultipartUpload", complete))).file


def _put_batch(
    created: CreateMultipartUploadResponse,
    numbers: Sequence[int],
    putter: Putter,
    content: Content,
    policy: RetryPolicy,
) -> Generator[Call, Message | None, None]:
    """Put parts until all have arrived; each try asks the store which it has, and puts the others."""
    retrying = Retrying(policy)
    while True:
        signed = _as(PresignUploadPartsResponse, (yield _presign(created, numbers)))
        there = {part.part_number for part in signed.uploaded}
        urls = {part.part_number: part.upload_url for part in signed.parts if part.part_number not in there}
        try:
            putter.put_parts(urls, created.part_size)
        except UploadError as error:
            content.stop.wait(retrying.delay_after(error))
        else:
            return


def _presign(created: CreateMultipartUploadResponse, numbers: Sequence[int]) -> Call:
    return Call("PresignUploadParts", PresignUploadPartsRequest(upload_id=created.upload_id, part_numbers=numbers))


def _by_stream(content: Content) -> Calls:
    with content.path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    header = UploadHeader(file_name=content.file_name, content_type=content.content_type, sha256=sha256)
    first = UploadRequest(header=header)

    def messages() -> Iterator[UploadRequest]:
        yield first
        with content.path.open("rb") as file:
            piece = Piece(content, file, 0, content.size)
            while chunk := piece.read(_CHUNK_BYTES):
                yield UploadRequest(chunk=chunk)

    return _as(UploadResponse, (yield Call("Upload", first, messages))).file


def _as(kind: type[_M], answer: Message | None) -> _M:
    assert isinstance(answer, kind)
    return answer
