"""The asyncio client: as `cogreel.client`, with the same decisions and other I/O."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, aclosing
from datetime import datetime
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Unpack

import grpc

from cogreel.async_channel import AsyncChannel
from cogreel.download import Source, fetch
from cogreel.error_details import error_from_rpc
from cogreel.input_files import files_to_upload
from cogreel.listing import Listing
from cogreel.results import video_of
from cogreel.submission import TextToVideo, build_submit_request, with_idempotency_key
from cogreel.trace_context import with_trace_context
from cogreel.updates import LogUpdate, Update
from cogreel.upload_source import OnProgress, UploadSource, opened
from cogreel.uploading import Call, advance, upload_calls
from cogreel.v1.catalog_pb2 import Endpoint, ListEndpointsRequest
from cogreel.v1.catalog_pb2_grpc import CatalogServiceStub
from cogreel.v1.queue_pb2 import (
    CancelRequest,
    GetResultRequest,
    GetStatusRequest,
    GetStatusResponse,
    GetWebhookKeysRequest,
    GetWebhookKeysResponse,
    LogLine,
    RequestStatus,
    SubmitRequest,
    SubmitResponse,
)
from cogreel.v1.queue_pb2_grpc import QueueServiceStub
from cogreel.v1.storage_pb2 import (
    CompleteMultipartUploadRequest,
    CreateMultipartUploadRequest,
    CreateMultipartUploadResponse,
    PresignUploadPartsRequest,
    UploadedPart,
)
from cogreel.v1.storage_pb2_grpc import StorageServiceStub
from cogreel.v1.video_pb2 import File, VideoOutput
from cogreel.watching import Watching

if TYPE_CHECKING:
    from cogreel.v1.catalog_pb2_grpc import CatalogServiceAsyncStub
    from cogreel.v1.queue_pb2_grpc import QueueServiceAsyncStub
    from cogreel.v1.storage_pb2_grpc import StorageServiceAsyncStub


class AsyncCogReel(AsyncChannel):
    """A connection to CogReel for one event loop. Tasks may share it.

        async with AsyncCogReel() as client:
            video = await client.subscribe(prompt="A garden comes to life", seed=42, on_update=print)
            await client.download(video, "garden.mp4")

    Methods, retries and exceptions are those of `cogreel.CogReel`.
    """

    @cached_property
    def _queue(self) -> QueueServiceAsyncStub:
        return QueueServiceStub(self._channel)

    @cached_property
    def _storage(self) -> StorageServiceAsyncStub:
        return StorageServiceStub(self._channel)

    @cached_property
    def _catalog(self) -> CatalogServiceAsyncStub:
        return CatalogServiceStub(self._channel)

    async def endpoints(self) -> Sequence[Endpoint]:
        """As `CogReel.endpoints`."""
        return (await self._call(self._catalog.ListEndpoints, ListEndpointsRequest())).endpoints

    async def webhook_keys(self) -> GetWebhookKeysResponse:
        """As `CogReel.webhook_keys`."""
        return await self._call(self._queue.GetWebhookKeys, GetWebhookKeysRequest())

    async def subscribe(
        self,
        endpoint: str | None = None,
        *,
        on_update: Callable[[Update], Awaitable[None] | None] | None = None,
        **options: Unpack[TextToVideo],
    ) -> VideoOutput:
        """As `CogReel.subscribe`. `on_update` may be a coroutine function; it is awaited before the next update."""
        request_id = (await self.submit(endpoint, **options)).request_id
        async with aclosing(self.watch(request_id)) as updates:
            async for update in updates:
                if on_update is not None:
                    pending = on_update(update)
                    if pending is not None:
                        await pending
        return await self.result(request_id)

    async def submit(self, endpoint: str | None = None, **options: Unpack[TextToVideo]) -> SubmitResponse:
        """As `CogReel.submit`."""
        uploaded = {name: await self.upload(source) for name, source in files_to_upload(options).items()}
        return await self.submit_message(build_submit_request(endpoint, options, uploaded))

    async def submit_message(self, request: SubmitRequest) -> SubmitResponse:
        """As `CogReel.submit_message`."""
        return await self._call(self._queue.Submit, with_idempotency_key(request))

    async def status(self, request_id: str, *, with_logs: bool = False) -> GetStatusResponse:
        """As `CogReel.status`."""
        request = GetStatusRequest(request_id=request_id, with_logs=with_logs)
        return await self._call(self._queue.GetStatus, request, request_id)

    async def list(
        self,
        *,
        states: Iterable[str] = (),
        endpoint: str | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[RequestStatus, None]:
        """As `CogReel.list`."""
        listing = Listing(states=states, endpoint=endpoint, since=since, before=before, limit=limit)
        while not listing.finished:
            for status in listing.accept(await self._call(self._queue.ListRequests, listing.next_page())):
                yield status

    async def logs(self, request_id: str, *, follow: bool = False) -> AsyncGenerator[LogLine, None]:
        """As `CogReel.logs`."""
        if not follow:
            for line in (await self.status(request_id, with_logs=True)).logs:
                yield line
            return
        async with aclosing(self.watch(request_id)) as updates:
            async for update in updates:
                if isinstance(update, LogUpdate):
                    yield update.raw.log

    async def watch(self, request_id: str, *, cursor: str | None = None) -> AsyncGenerator[Update, None]:
        """As `CogReel.watch`. Whoever leaves the loop early closes the generator (`contextlib.aclosing`)."""
        watching = Watching(request_id, cursor, self._policy)
        while not watching.finished:
            if watching.must_ask_status:
                watching.status_is((await self.status(request_id)).status)
            stream = self._queue.WatchStatus(watching.next_stream(), metadata=with_trace_context(self._metadata))
            try:
                async for message in stream:
                    update = watching.accept(message)
                    if update is not None:
                        yield update
                    if watching.finished:
                        return
                pause_s = watching.ended()
            except grpc.RpcError as rpc_error:
                pause_s = watching.broke(error_from_rpc(rpc_error, request_id=request_id))
            finally:
                stream.cancel()
            await asyncio.sleep(pause_s)

    async def result(self, request_id: str) -> VideoOutput:
        """As `CogReel.result`."""
        return video_of(await self._call(self._queue.GetResult, GetResultRequest(request_id=request_id), request_id))

    async def cancel(self, request_id: str) -> RequestStatus:
        """As `CogReel.cancel`."""
        return (await self._call(self._queue.Cancel, CancelRequest(request_id=request_id), request_id)).status

    async def download(
        self, source: VideoOutput | File | str, path: str | os.PathLike[str], *, overwrite: bool = False
    ) -> Path:
        """As `CogReel.download`, in a thread. Cancelled, it leaves no file behind."""
        stop = Event()
        try:
            return await asyncio.to_thread(
                fetch, Source.of(source), Path(path), overwrite=overwrite, policy=self._policy, stop=stop
            )
        finally:
            stop.set()

    async def upload(
        self,
        source: UploadSource,
        *,
        content_type: str | None = None,
        file_name: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> File:
        """As `CogReel.upload`; files are read and put in threads, from which `on_progress` is called."""
        with ExitStack() as stack:
            opening = opened(source, content_type, file_name, on_progress)
            content = await asyncio.to_thread(stack.enter_context, opening)
            stack.callback(content.stop.set)
            calls = upload_calls(content, self._policy)
            step = await asyncio.to_thread(advance, calls, None)
            while isinstance(step, Call):
                answer = await self._call(step.of(self._storage), step.request)
                step = await asyncio.to_thread(advance, calls, answer)
            return step

    async def begin_upload(self, *, content_type: str, file_name: str | None = None) -> CreateMultipartUploadResponse:
        """As `CogReel.begin_upload`."""
        request = CreateMultipartUploadRequest(file_name=file_name, content_type=content_type)
        return await self._call(self._storage.CreateMultipartUpload, request)

    async def sign_part(self, upload_id: str, part_number: int, size: int) -> str:
        """As `CogReel.sign_part`."""
        request = PresignUploadPartsRequest(upload_id=upload_id, part_numbers=[part_number], part_bytes=size)
        return (await self._call(self._storage.PresignUploadParts, request)).parts[0].upload_url

    async def finish_upload(self, upload_id: str, etags: Mapping[int, str]) -> File:
        """As `CogReel.finish_upload`."""
        parts = [UploadedPart(part_number=number, etag=etag) for number, etag in etags.items()]
        request = CompleteMultipartUploadRequest(upload_id=upload_id, parts=parts)
        return (await self._call(self._storage.CompleteMultipartUpload, request)).file
