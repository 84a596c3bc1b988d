"""StorageService over the object store: files that callers hand in, directly into the store or through the service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta

import grpc
import structlog
from cogreel.v1 import storage_pb2_grpc
from cogreel.v1.storage_pb2 import (
    AbortMultipartUploadRequest,
    AbortMultipartUploadResponse,
    CompleteMultipartUploadRequest,
    CompleteMultipartUploadResponse,
    CreateMultipartUploadRequest,
    CreateMultipartUploadResponse,
    CreateUploadRequest,
    CreateUploadResponse,
    PresignedPart,
    PresignUploadPartsRequest,
    PresignUploadPartsResponse,
    UploadedPart,
    UploadRequest,
    UploadResponse,
)
from cogreel.v1.video_pb2 import File

from files import ObjectNotFoundError, ObjectStore
from files.content_type import HEAD_BYTES, UNKNOWN, UPLOAD_TYPES
from files.multipart import MultipartUploads, StoredPart
from files.names import shown_name
from files.signing import presign_put
from jobs.errors import InvalidInputError, LimitExceededError, Violation
from service.authentication import current_tenant
from service.errors import CallError, file_not_found
from service.stored_bytes import StoredBytes
from service.upload_rules import (
    NewUpload,
    UploadSettings,
    check_content,
    check_size,
    file_of,
    new_upload,
)
from service.upload_stream import receive
from service.upload_tickets import Ticket, Tickets

PART_BYTES = 8 * 1024**2  # 10,000 parts at most: 78 GiB; S3 takes parts from 5 MiB on
LARGEST_PUT_BYTES = 5 * 1024**3  # S3's own limit

_log = structlog.get_logger(__name__)


class StorageServicer(storage_pb2_grpc.StorageServiceServicer):
    """Serves one bucket. Nothing is kept here between calls."""

    def __init__(self, store: ObjectStore, settings: UploadSettings, stored_bytes: StoredBytes) -> None:
        self._store = store
        self._settings = settings
        self._stored_bytes = stored_bytes
        self._multipart = MultipartUploads(store.bucket)
        self._tickets = Tickets(store.settings.secret_key)

    async def CreateUpload(
        self, request: CreateUploadRequest, context: grpc.aio.ServicerContext[CreateUploadRequest, CreateUploadResponse]
    ) -> CreateUploadResponse:
        """See the contract."""
        upload = await self._new_upload(request)
        if request.size > LARGEST_PUT_BYTES:
            raise InvalidInputError(
                [Violation("size", f"must be at most {LARGEST_PUT_BYTES}; use CreateMultipartUpload for more")]
            )
        # What nobody can put twice, nobody can change under a request that has been accepted with it.
        headers = {"Content-Type": upload.content_type, "If-None-Match": "*"}
        url = self._presign(upload.key, {**headers, "Content-Length": str(request.size)})
        response = CreateUploadResponse(
            upload_url=url, headers=headers, file=file_of(self._store, self._settings, upload, request.size)
        )
        response.expires.FromDatetime(datetime.now(UTC) + timedelta(seconds=self._settings.put_validity_s))
        return response

    async def Upload(
        self,
        request_iterator: AsyncIterator[UploadRequest],
        context: grpc.aio.ServicerContext[UploadRequest, UploadResponse],
    ) -> UploadResponse:
        """See the contract."""
        file = await receive(request_iterator, current_tenant(), self._store, self._settings, self._stored_bytes)
        _log.info("file.uploaded", tenant=current_tenant(), size=file.file_size, content_type=file.content_type)
        return UploadResponse(file=file)

    async def CreateMultipartUpload(
        self,
        request: CreateMultipartUploadRequest,
        context: grpc.aio.ServicerContext[CreateMultipartUploadRequest, CreateMultipartUploadResponse],
    ) -> CreateMultipartUploadResponse:
        """See the contract."""
        upload = await self._new_upload(request)
        store_upload_id = await self._multipart.begin(upload.key, content_type=upload.content_type)
        ticket = Ticket(upload.key, store_upload_id, request.size)
        return CreateMultipartUploadResponse(
            upload_id=self._tickets.seal(ticket),
            part_size=PART_BYTES if ticket.size_bytes else 0,
            part_count=_part_count(ticket) if ticket.size_bytes else 0,
            file=file_of(self._store, self._settings, upload, request.size),
        )

    async def PresignUploadParts(
        self,
        request: PresignUploadPartsRequest,
        context: grpc.aio.ServicerContext[PresignUploadPartsRequest, PresignUploadPartsResponse],
    ) -> PresignUploadPartsResponse:
        """See the contract."""
        ticket = self._ticket(request.upload_id)
        _check_asked(request, ticket)
        check_size(request.part_bytes, self._settings)
        uploaded = await self._parts(request.upload_id, ticket)
        response = PresignUploadPartsResponse(
            uploaded=[UploadedPart(part_number=part.number, etag=part.etag) for part in uploaded]
        )
        for number in request.part_numbers:
            headers = {"Content-Length": str(request.part_bytes or _part_bytes(ticket, number))}
            query = {"partNumber": str(number), "uploadId": ticket.store_upload_id}
            url = self._presign(ticket.key, headers, query)
            response.parts.append(PresignedPart(part_number=number, upload_url=url))
        response.validity.FromTimedelta(timedelta(seconds=self._settings.put_validity_s))
        return response

    async def CompleteMultipartUpload(
        self,
        request: CompleteMultipartUploadRequest,
        context: grpc.aio.ServicerContext[CompleteMultipartUploadRequest, CompleteMultipartUploadResponse],
    ) -> CompleteMultipartUploadResponse:
        """See the contract."""
        ticket = self._ticket(request.upload_id)
        try:
            parts = await self._multipart.parts(ticket.key, ticket.store_upload_id)
            _check_parts(request, ticket, parts)
            if not ticket.size_bytes:
                await self._check_total(ticket, parts)
            await self._multipart.complete(ticket.key, ticket.store_upload_id, parts)
        except ObjectNotFoundError:
            _log.debug("upload.completed_before_or_gone", key=ticket.key)
        file = await self._completed(request.upload_id, ticket)
        _log.info("file.uploaded", tenant=current_tenant(), size=file.file_size, content_type=file.content_type)
        return CompleteMultipartUploadResponse(file=file)

    async def AbortMultipartUpload(
        self,
        request: AbortMultipartUploadRequest,
        context: grpc.aio.ServicerContext[AbortMultipartUploadRequest, AbortMultipartUploadResponse],
    ) -> AbortMultipartUploadResponse:
        """See the contract."""
        try:
            ticket = self._ticket(request.upload_id)
        except CallError:  # there is nothing to abort
            return AbortMultipartUploadResponse()
        await self._multipart.abort(ticket.key, ticket.store_upload_id)
        return AbortMultipartUploadResponse()

    async def _check_total(self, ticket: Ticket, parts: list[StoredPart]) -> None:
        """Hold the size of an upload that has told none against the limits; one that is too large is dropped."""
        size = sum(part.size_bytes for part in parts)
        try:
            check_size(size, self._settings)
            await self._stored_bytes.check(current_tenant(), size)
        except (CallError, LimitExceededError):
            await self._multipart.abort(ticket.key, ticket.store_upload_id)
            raise

    async def _new_upload(self, request: CreateUploadRequest | CreateMultipartUploadRequest) -> NewUpload:
        name = request.file_name if request.HasField("file_name") else None
        upload = new_upload(current_tenant(), name, request.content_type)
        check_size(request.size, self._settings)
        await self._stored_bytes.check(current_tenant(), request.size)
        return upload

    def _ticket(self, upload_id: str) -> Ticket:
        return self._tickets.read(upload_id, current_tenant())

    async def _parts(self, upload_id: str, ticket: Ticket) -> list[StoredPart]:
        try:
            return await self._multipart.parts(ticket.key, ticket.store_upload_id)
        except ObjectNotFoundError as error:
            raise file_not_found(upload_id) from error

    async def _completed(self, upload_id: str, ticket: Ticket) -> File:
        """The file that an upload has become; one whose content is not what was said is removed."""
        found = await self._store.stat(ticket.key)
        if found is None:
            raise file_not_found(upload_id)
        # Of what was said to be of no known type, some stores guess one by the name.
        content_type = found.content_type if found.content_type in UPLOAD_TYPES else UNKNOWN
        name = shown_name(ticket.key, content_type)
        upload = NewUpload(ticket.key, name, content_type)
        try:
            check_content(upload, await self._store.read_head(ticket.key, HEAD_BYTES), field="content_type")
        except InvalidInputError:
            await self._store.remove(ticket.key)
            raise
        return file_of(self._store, self._settings, upload, found.size_bytes)

    def _presign(self, key: str, headers: Mapping[str, str], query: Mapping[str, str] | None = None) -> str:
        validity = timedelta(seconds=self._settings.put_validity_s)
        return presign_put(self._store.bucket, key, validity, headers=headers, query=query)


def _check_asked(request: PresignUploadPartsRequest, ticket: Ticket) -> None:
    """Refuse parts that an upload of known size does not have, and a size of parts where the ticket knows it."""
    if not ticket.size_bytes:
        if not request.HasField("part_bytes"):
            raise InvalidInputError([Violation("part_bytes", "must be given, as the size of the whole was left out")])
        return
    beyond = [
        Violation(f"part_numbers[{index}]", f"must be at most {_part_count(ticket)}, the number of parts")
        for index, number in enumerate(request.part_numbers)
        if number > _part_count(ticket)
    ]
    if request.HasField("part_bytes"):
        beyond.append(Violation("part_bytes", "must be left out, as the size of the whole was given"))
    if beyond:
        raise InvalidInputError(beyond)


def _part_count(ticket: Ticket) -> int:
    return -(-ticket.size_bytes // PART_BYTES)


def _part_bytes(ticket: Ticket, number: int) -> int:
    return min(PART_BYTES, ticket.size_bytes - (number - 1) * PART_BYTES)


def _check_parts(request: CompleteMultipartUploadRequest, ticket: Ticket, stored: list[StoredPart]) -> None:
    """Hold the caller's list of parts against the store's: all of them, once each, and as they were put."""
    found: list[Violation] = []
    etags = {part.number: part.etag for part in stored}
    # Of an upload that has told no size, all parts are those that the store has.
    wanted = range(1, _part_count(ticket) + 1) if ticket.size_bytes else etags.keys()
    named: set[int] = set()
    for index, part in enumerate(request.parts):
        number = part.part_number
        if number in named or (ticket.size_bytes and number not in wanted):
            found.append(Violation(f"parts[{index}].part_number", "must be named once, up to the number of parts"))
        elif etags.get(number) != part.etag.strip('"'):
            found.append(Violation(f"parts[{index}].etag", f"the store has no part {number} with this ETag"))
        named.add(number)
    missing = [number for number in wanted if number not in named]
    if missing:
        found.append(Violation("parts", f"must name all {len(wanted)} parts; part {missing[0]} is missing"))
    if found:
        raise InvalidInputError(found)
