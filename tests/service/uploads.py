"""What a caller does to upload, with nothing but the contract and HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import urllib3
from cogreel.v1 import storage_pb2
from cogreel.v1.video_pb2 import File

from tests.deployment import Caller


async def put(url: str, content: bytes, headers: Mapping[str, str] | None = None) -> urllib3.BaseHTTPResponse:
    """PUT as anyone may: no credentials but what the URL holds."""
    return await asyncio.to_thread(
        urllib3.request, "PUT", url, body=content, headers=dict(headers or {}), retries=False, timeout=10.0
    )


async def create(caller: Caller, content_type: str, size: int, name: str = "x.png") -> storage_pb2.CreateUploadResponse:
    """CreateUpload."""
    request = storage_pb2.CreateUploadRequest(file_name=name, content_type=content_type, size=size)
    return await caller.storage.CreateUpload(request, metadata=caller.metadata)


async def upload(caller: Caller, content: bytes, content_type: str = "image/png", name: str = "x.png") -> File:
    """CreateUpload, and the PUT."""
    created = await create(caller, content_type, len(content), name)
    answer = await put(created.upload_url, content, created.headers)
    assert answer.status == 200, answer.data
    return created.file


async def stream(caller: Caller, *messages: storage_pb2.UploadRequest) -> File:
    """Upload."""

    async def sent() -> AsyncIterator[storage_pb2.UploadRequest]:
        for message in messages:
            yield message

    return (await caller.storage.Upload(sent(), metadata=caller.metadata)).file


def header(content_type: str = "image/png", **more: str) -> storage_pb2.UploadRequest:
    """The first message of an Upload."""
    return storage_pb2.UploadRequest(header=storage_pb2.UploadHeader(content_type=content_type, **more))


def chunks(content: bytes, size: int = 1024 * 1024) -> list[storage_pb2.UploadRequest]:
    """The messages that follow."""
    return [storage_pb2.UploadRequest(chunk=content[at : at + size]) for at in range(0, len(content), size)]


@dataclass
class Multipart:
    """An upload in parts that was begun."""

    caller: Caller
    created: storage_pb2.CreateMultipartUploadResponse
    content: bytes

    @classmethod
    async def begin(
        cls, caller: Caller, content: bytes, content_type: str = "video/mp4", name: str = "x.mp4"
    ) -> Multipart:
        """CreateMultipartUpload."""
        request = storage_pb2.CreateMultipartUploadRequest(file_name=name, content_type=content_type, size=len(content))
        return cls(caller, await caller.storage.CreateMultipartUpload(request, metadata=caller.metadata), content)

    @property
    def upload_id(self) -> str:
        return self.created.upload_id

    def part(self, number: int) -> bytes:
        """The content of a part."""
        return self.content[(number - 1) * self.created.part_size : number * self.created.part_size]

    async def presign(self, *numbers: int, by: Caller | None = None) -> storage_pb2.PresignUploadPartsResponse:
        """PresignUploadParts."""
        caller = by or self.caller
        request = storage_pb2.PresignUploadPartsRequest(upload_id=self.upload_id, part_numbers=numbers)
        return await caller.storage.PresignUploadParts(request, metadata=caller.metadata)

    async def put(self, *numbers: int) -> list[storage_pb2.UploadedPart]:
        """Put parts; what CompleteMultipartUpload wants to hear of them."""
        found = []
        for signed in (await self.presign(*numbers)).parts:
            answer = await put(signed.upload_url, self.part(signed.part_number))
            assert answer.status == 200, answer.data
            found.append(storage_pb2.UploadedPart(part_number=signed.part_number, etag=answer.headers["ETag"]))
        return found

    async def complete(self, parts: list[storage_pb2.UploadedPart], by: Caller | None = None) -> File:
        """CompleteMultipartUpload."""
        caller = by or self.caller
        request = storage_pb2.CompleteMultipartUploadRequest(upload_id=self.upload_id, parts=parts)
        return (await caller.storage.CompleteMultipartUpload(request, metadata=caller.metadata)).file

    async def abort(self, by: Caller | None = None) -> None:
        """AbortMultipartUpload."""
        caller = by or self.caller
        request = storage_pb2.AbortMultipartUploadRequest(upload_id=self.upload_id)
        await caller.storage.AbortMultipartUpload(request, metadata=caller.metadata)
