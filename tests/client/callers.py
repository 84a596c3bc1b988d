"""The two clients behind one face, so that each test holds for both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar, Unpack

from cogreel import AsyncCogReel, CogReel, Update
from cogreel.submission import TextToVideo
from cogreel.v1.queue_pb2 import GetStatusResponse, RequestStatus, SubmitResponse
from cogreel.v1.video_pb2 import VideoOutput

_T = TypeVar("_T")


class Caller(Protocol):
    """What both clients can do; a watch is collected into a list."""

    def subscribe(self, on_update: Callable[[Update], None] | None, **options: Unpack[TextToVideo]) -> VideoOutput: ...
    def submit(self, endpoint: str | None = None, **options: Unpack[TextToVideo]) -> SubmitResponse: ...
    def status(self, request_id: str, *, with_logs: bool = False) -> GetStatusResponse: ...
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

    def status(self, request_id: str, *, with_logs: bool = False) -> GetStatusResponse:
        with self._open() as client:
            return client.status(request_id, with_logs=with_logs)

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

    def status(self, request_id: str, *, with_logs: bool = False) -> GetStatusResponse:
        return self._run(lambda client: client.status(request_id, with_logs=with_logs))

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
