"""The two clients behind one face, so that each test holds for both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol, TypedDict, TypeVar, Unpack

from cogreel import AsyncCogReel, CogReel, Update
from cogreel.submission import TextToVideo
from cogreel.v1.queue_pb2 import GetStatusResponse, LogLine, RequestStatus, SubmitRequest, SubmitResponse
from cogreel.v1.video_pb2 import VideoOutput

_T = TypeVar("_T")


class Filters(TypedDict, total=False):
    """What `list` takes."""

    states: list[str]
    endpoint: str
    since: datetime
    before: datetime
    limit: int


class Caller(Protocol):
    """What both clients can do; a watch, a listing and a log are collected into a list."""

    def subscribe(self, on_update: Callable[[Update], None] | None, **options: Unpack[TextToVideo]) -> VideoOutput: ...
    def submit(self, endpoint: str | None = None, **options: Unpack[TextToVideo]) -> SubmitResponse: ...
    def submit_message(self, request: SubmitRequest) -> SubmitResponse: ...
    def status(self, request_id: str, *, with_logs: bool = False) -> GetStatusResponse: ...
    def listing(self, **filters: Unpack[Filters]) -> list[RequestStatus]: ...
    def logs(self, request_id: str, *, follow: bool = False) -> list[LogLine]: ...
    def watch(self, request_id: str, cursor: str | None = None) -> list[Update]: ...
    def result(self, request_id: str) -> VideoOutput: ...
    def cancel(self, request_id: str) -> RequestStatus: ...
    def download(self, source: VideoOutput | str, path: Path, *, overwrite: bool = False) -> Path: ...


class SyncCaller:
    """Calls by `CogReel`."""

    def __init__(self, address: str, retry_timeout_s: float) -> None:
        self._open = partial(CogReel, address, "key", retry_timeout_s=retry_timeout_s)

    def subscribe(self, on_update: Callable[[Update], None] | None, **options: Unpack[TextToVideo]) -> VideoOutput:
        with self._open() as client:
            return client.subscribe(on_update=on_update, **options)

    def submit(self, endpoint: str | None = None, **options: Unpack[TextToVideo]) -> SubmitResponse:
        with self._open() as client:
            return client.submit(endpoint, **options)

    def submit_message(self, request: SubmitRequest) -> SubmitResponse:
        with self._open() as client:
            return client.submit_message(request)

    def status(self, request_id: str, *, with_logs: bool = False) -> GetStatusResponse:
        with self._open() as client:
            return client.status(request_id, with_logs=with_logs)

    def listing(self, **filters: Unpack[Filters]) -> list[RequestStatus]:
        with self._open() as client:
            return [*client.list(**filters)]

    def logs(self, request_id: str, *, follow: bool = False) -> list[LogLine]:
        with self._open() as client:
            return [*client.logs(request_id, follow=follow)]

    def watch(self, request_id: str, cursor: str | None = None) -> list[Update]:
        with self._open() as client:
            return list(client.watch(request_id, cursor=cursor))

    def result(self, request_id: str) -> VideoOutput:
        with self._open() as client:
            return client.result(request_id)

    def cancel(self, request_id: str) -> RequestStatus:
        with self._open() as client:
            return client.cancel(request_id)

    def download(self, source: VideoOutput | str, path: Path, *, overwrite: bool = False) -> Path:
        with self._open() as client:
            return client.download(source, path, overwrite=overwrite)


class AsyncCaller:
    """Calls by `AsyncCogReel`."""

    def __init__(self, address: str, retry_timeout_s: float) -> None:
        self._open = partial(AsyncCogReel, address, "key", retry_timeout_s=retry_timeout_s)

    def _run(self, call: Callable[[AsyncCogReel], Awaitable[_T]]) -> _T:
        async def main() -> _T:
            async with self._open() as client:
                return await call(client)

        return asyncio.run(main())

    def subscribe(self, on_update: Callable[[Update], None] | None, **options: Unpack[TextToVideo]) -> VideoOutput:
        return self._run(lambda client: client.subscribe(on_update=on_update, **options))

    def submit(self, endpoint: str | None = None, **options: Unpack[TextToVideo]) -> SubmitResponse:
        return self._run(lambda client: client.submit(endpoint, **options))

    def submit_message(self, request: SubmitRequest) -> SubmitResponse:
        return self._run(lambda client: client.submit_message(request))

    def status(self, request_id: str, *, with_logs: bool = False) -> GetStatusResponse:
        return self._run(lambda client: client.status(request_id, with_logs=with_logs))

    def listing(self, **filters: Unpack[Filters]) -> list[RequestStatus]:
        async def collect(client: AsyncCogReel) -> list[RequestStatus]:
            return [status async for status in client.list(**filters)]

        return self._run(collect)

    def logs(self, request_id: str, *, follow: bool = False) -> list[LogLine]:
        async def collect(client: AsyncCogReel) -> list[LogLine]:
            return [line async for line in client.logs(request_id, follow=follow)]

        return self._run(collect)

    def watch(self, request_id: str, cursor: str | None = None) -> list[Update]:
        async def collect(client: AsyncCogReel) -> list[Update]:
            return [update async for update in client.watch(request_id, cursor=cursor)]

        return self._run(collect)

    def result(self, request_id: str) -> VideoOutput:
        return self._run(lambda client: client.result(request_id))

    def cancel(self, request_id: str) -> RequestStatus:
        return self._run(lambda client: client.cancel(request_id))

    def download(self, source: VideoOutput | str, path: Path, *, overwrite: bool = False) -> Path:
        return self._run(lambda client: client.download(source, path, overwrite=overwrite))
