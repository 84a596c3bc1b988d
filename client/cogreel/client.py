"""The synchronous client."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import Unpack

import grpc

from cogreel.channel import Channel
from cogreel.download import Source, fetch
from cogreel.input_files import files_to_upload
from cogreel.listing import Listing
from cogreel.results import video_of
from cogreel.submission import TextToVideo, build_submit_request, with_idempotency_key
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


class CogReel(Channel):
    """A connection to CogReel. Threads may share it.

        with CogReel() as client:
            video = client.subscribe(prompt="A garden comes to life", seed=42, on_update=print)
            client.download(video, "garden.mp4")

    Calls that fail because the service is out of reach are repeated with growing, jittered pauses, honouring what the
    service asks for, until `retry_timeout_s` is over; submissions carry an idempotency key, so that no retry makes a
    second video. Every method raises `CogReelError`, in the class that says what happened: next to those named with
    the methods, `AuthenticationError`, `PermissionDeniedError`, `UnavailableError`, `UnimplementedError` and
    `InternalError` are possible everywhere.
    """

    @cached_property
    def _queue(self) -> QueueServiceStub:
        return QueueServiceStub(self._open_channel)

    @cached_property
    def _storage(self) -> StorageServiceStub:
        return StorageServiceStub(self._open_channel)

    @cached_property
    def _catalog(self) -> CatalogServiceStub:
        return CatalogServiceStub(self._open_channel)

    def endpoints(self) -> Sequence[Endpoint]:
        """The endpoints that take requests, by name: what each takes, and how many requests wait there."""
        return self._call(self._catalog.ListEndpoints, ListEndpointsRequest()).endpoints

    def webhook_keys(self) -> GetWebhookKeysResponse:
        """The public keys that webhooks are checked by, also as a JWKS. No API key is needed."""
        return self._call(self._queue.GetWebhookKeys, GetWebhookKeysRequest())

    def subscribe(
        self,
        endpoint: str | None = None,
        *,
        on_update: Callable[[Update], None] | None = None,
        **options: Unpack[TextToVideo],
    ) -> VideoOutput:
        """Submit a request, follow it to its end, and return the video.

        Leaving early (an exception in `on_update`, Ctrl-C) does not cancel the request: each `StateUpdate` names it.

        Args:
            endpoint: the model, such as `fal-ai/cogvideox-5b`. Left out, the service chooses.
            on_update: called with everything that happens, in order.
            **options: see `submit`.

        Raises:
            RequestFailedError: the request failed; `failure` says why.
            RequestCancelledError: the request was cancelled.
            CogReelError: as `submit` and `watch` do.
        """
        request_id = self.submit(endpoint, **options).request_id
        with closing(self.watch(request_id)) as updates:
            for update in updates:
                if on_update is not None:
                    on_update(update)
        return self.result(request_id)

    def submit(self, endpoint: str | None = None, **options: Unpack[TextToVideo]) -> SubmitResponse:
        """Queue a request; returns its id and where it stands.

        When this returns, the request is on disk. Only `prompt` is required:

            client.submit(prompt="A garden", video_size="landscape_16_9", num_inference_steps=30, priority="low")

        Args:
            endpoint: the model, such as `fal-ai/cogvideox-5b`. Left out, the service chooses.
            **options: prompt, video_size (a preset, `(width, height)` or `{"width": ..., "height": ...}`),
                negative_prompt, num_inference_steps, seed, guidance_scale, use_rife, export_fps, image, video,
                strength, loras, priority, webhook_url, start_timeout_s, max_attempts, object_lifetime_s,
                idempotency_key; `cogreel.submission.TextToVideo` describes each.

        Raises:
            InvalidInputError: a rule is broken; `violations` names each field and rule.
            NotFoundError: no such endpoint is served.
            IdempotencyConflictError: the idempotency key was used with another body.
            LimitExceededError: the queue is full, or a limit of the tenant is reached.
        """
        uploaded = {name: self.upload(source) for name, source in files_to_upload(options).items()}
        return self.submit_message(build_submit_request(endpoint, options, uploaded))

    def submit_message(self, request: SubmitRequest) -> SubmitResponse:
        """Queue a request that is a message of the contract already, as `submit` does."""
        return self._call(self._queue.Submit, with_idempotency_key(request))

    def status(self, request_id: str, *, with_logs: bool = False) -> GetStatusResponse:
        """Where a request stands now, and its log lines so far if asked for.

        Raises:
            NotFoundError: the tenant has no such request.
        """
        request = GetStatusRequest(request_id=request_id, with_logs=with_logs)
        return self._call(self._queue.GetStatus, request, request_id)

    def list(
        self,
        *,
        states: Iterable[str] = (),
        endpoint: str | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        limit: int | None = None,
    ) -> Generator[RequestStatus, None, None]:
        """The tenant's requests, newest first. Pages are fetched as the loop comes to them.

            for status in client.list(states=["QUEUED", "RUNNING"]):
                print(status.request_id, cogreel.state_name(status))

        Args:
            states: those to list, of QUEUED, RUNNING, COMPLETED, FAILED and CANCELLED. Left out, all are listed.
            endpoint: the model to list.
            since: lists requests accepted at or after this time; without a time zone, it is local time.
            before: lists requests accepted before this time.
            limit: the highest number of requests to list.

        Raises:
            InvalidInputError: an argument makes no sense; `violations` names it.
        """
        listing = Listing(states=states, endpoint=endpoint, since=since, before=before, limit=limit)
        while not listing.finished:
            yield from listing.accept(self._call(self._queue.ListRequests, listing.next_page()))

    def logs(self, request_id: str, *, follow: bool = False) -> Generator[LogLine, None, None]:
        """The log lines of a request so far, oldest first; with `follow`, those to come as well, until its end.

        Lines that have expired are missing: `status(request_id, with_logs=True).logs_truncated` tells.

        Raises:
            NotFoundError: the tenant has no such request.
            CogReelError: with `follow`, as `watch` does.
        """
        if not follow:
            yield from self.status(request_id, with_logs=True).logs
            return
        with closing(self.watch(request_id)) as updates:
            for update in updates:
                if isinstance(update, LogUpdate):
                    yield update.raw.log

    def watch(self, request_id: str, *, cursor: str | None = None) -> Generator[Update, None, None]:
        """Everything that happens to a request, from its beginning or after `cursor`, until its terminal state.

        Broken connections and restarts of the service do not show: states, steps and log lines come once each, in
        order. Leaving the loop early closes the stream and leaves the request alone.

        Raises:
            NotFoundError: the tenant has no such request.
            CursorError: the cursor is malformed, of another request, or too old.
            UnavailableError: no message has come for `retry_timeout_s` while the service was out of reach.
        """
        watching = Watching(request_id, cursor, self._policy)
        while not watching.finished:
            if watching.must_ask_status:
                watching.status_is(self.status(request_id).status)
            stream = self._start(self._queue.WatchStatus, watching.next_stream())
            try:
                for message in stream:
                    update = watching.accept(message)
                    if update is not None:
                        yield update
                    if watching.finished:
                        return
                pause_s = watching.ended()
            except grpc.RpcError as rpc_error:
                pause_s = watching.broke(self._failure(rpc_error, request_id))
            finally:
                stream.cancel()
            time.sleep(pause_s)

    def result(self, request_id: str) -> VideoOutput:
        """The video of a completed request, with a fresh URL.

        Raises:
            NotFoundError: the tenant has no such request.
            NotFinishedError: there is no result yet.
            RequestFailedError: the request failed; `failure` says why.
            RequestCancelledError: the request was cancelled.
        """
        return video_of(self._call(self._queue.GetResult, GetResultRequest(request_id=request_id), request_id))

    def cancel(self, request_id: str) -> RequestStatus:
        """Cancel a request; cancelling it again succeeds again.

        Raises:
            NotFoundError: the tenant has no such request.
            AlreadyFinishedError: the request had ended before.
        """
        return self._call(self._queue.Cancel, CancelRequest(request_id=request_id), request_id).status

    def download(
        self, source: VideoOutput | File | str, path: str | os.PathLike[str], *, overwrite: bool = False
    ) -> Path:
        """Fetch a video into a file; returns its path. The file appears whole or not at all.

        Args:
            source: what `subscribe` or `result` returned, or a URL. The checksum of a `VideoOutput` is verified.
            path: where to write.
            overwrite: whether an existing file may be replaced.

        Raises:
            FileExistsError: `path` exists.
            DownloadError: the store refused or stayed out of reach, or the checksum differs.
            OSError: `path` cannot be written.
        """
        return fetch(Source.of(source), Path(path), overwrite=overwrite, policy=self._policy, stop=Event())

    def upload(
        self,
        source: UploadSource,
        *,
        content_type: str | None = None,
        file_name: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> File:
        """Upload a file; returns what to use as an input. It expires if no request names it within its lifetime.

        Large files go up in parts, several at a time, and only those are sent again that did not arrive. Where the
        store cannot be reached from here, the file goes through the service.

        Args:
            source: a path, the content, or a file object open for reading in binary mode.
            content_type: the MIME type. Left out, it is what the content looks like.
            file_name: the name to store. Left out, it is that of the path.
            on_progress: told how many bytes have gone up, and of how many; may be called from other threads.

        Raises:
            InvalidInputError: such files are not taken, or the content is not what was said.
            LimitExceededError: it is too large, or the tenant has no room for it.
            UploadError: it is empty, or the store refused it or stayed out of reach.
            OSError: it cannot be read.
        """
        with opened(source, content_type, file_name, on_progress) as content:
            calls = upload_calls(content, self._policy)
            step = advance(calls, None)
            while isinstance(step, Call):
                step = advance(calls, self._call(step.of(self._storage), step.request))
            return step

    def begin_upload(self, *, content_type: str, file_name: str | None = None) -> CreateMultipartUploadResponse:
        """Begin an upload of a size that is not known yet: for programs that pass content on as it comes to them.

        Each part but the last has at least 5 MiB. `file` of what is returned can be used once the upload is finished.

        Raises:
            InvalidInputError: such files are not taken.
            LimitExceededError: the tenant has no room.
        """
        request = CreateMultipartUploadRequest(file_name=file_name, content_type=content_type)
        return self._call(self._storage.CreateMultipartUpload, request)

    def sign_part(self, upload_id: str, part_number: int, size: int) -> str:
        """A URL that takes a part of so many bytes by PUT, and answers with its ETag.

        Raises:
            NotFoundError: there is no such upload, or it is finished.
            LimitExceededError: it is larger than a file may be.
        """
        request = PresignUploadPartsRequest(upload_id=upload_id, part_numbers=[part_number], part_bytes=size)
        return self._call(self._storage.PresignUploadParts, request).parts[0].upload_url

    def finish_upload(self, upload_id: str, etags: Mapping[int, str]) -> File:
        """Make one file of the parts, named by number and ETag; finishing again succeeds again.

        Raises:
            NotFoundError: there is no such upload.
            InvalidInputError: a part is missing, or the content is not what was said.
            LimitExceededError: it is too large, or the tenant has no room for it.
        """
        parts = [UploadedPart(part_number=number, etag=etag) for number, etag in etags.items()]
        request = CompleteMultipartUploadRequest(upload_id=upload_id, parts=parts)
        return self._call(self._storage.CompleteMultipartUpload, request).file
