"""Callers under trouble: they submit, follow, cancel and fetch at whichever replica answers, and note what they see.

They behave as a careful program does: a submission is repeated with its idempotency key, a watch is resumed with the
cursor of its last event, and all of that at any replica.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import random
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import grpc
from cogreel.v1 import queue_pb2_grpc
from cogreel.v1.queue_pb2 import (
    PRIORITY_LOW,
    PRIORITY_NORMAL,
    CancelRequest,
    GetResultRequest,
    RequestState,
    Stage,
    SubmitRequest,
    WatchStatusRequest,
    WatchStatusResponse,
)
from cogreel.v1.video_pb2 import ImageSize, TextToVideoInput, VideoSize

from tests.chaos.history import CallError, Cancellation, Fetch, History, Submission, WatchEvent

CALL_WITHIN_S = 6.0
SILENT_AFTER_S = 4.0  # checkpoints come every second
FETCH_WITHIN_S = 5.0
PAUSE_S = 0.1
CHANNEL_OPTIONS = (
    ("grpc.keepalive_time_ms", 2_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)
WORTH_A_REPEAT = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})
TERMINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED"})

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Account:
    """Whom calls are made for, and at which endpoint."""

    endpoint: str
    api_key: str


@dataclass(frozen=True, slots=True)
class Replica:
    """A service replica, by name, over a channel of its own."""

    name: str
    stub: queue_pb2_grpc.QueueServiceAsyncStub


def connect(name: str, address: str) -> tuple[Replica, grpc.aio.Channel]:
    """A channel to a replica, to be closed by the caller."""
    channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
    return Replica(name, queue_pb2_grpc.QueueServiceStub(channel)), channel


class CallRefusedError(Exception):
    """A call failed in a way that forbids to repeat it: the checker will ask why."""


class Caller:
    """One caller, who follows one request after the other. `dice` decides what it does."""

    def __init__(
        self, name: str, account: Account, replicas: Sequence[Replica], *, history: History, dice: random.Random
    ) -> None:
        self.name = name
        self._endpoint = account.endpoint
        self._metadata = (("authorization", f"Bearer {account.api_key}"),)
        self._replicas = list(replicas)
        self._history = history
        self._dice = dice
        self._count = 0

    async def call_until(self, stopped: asyncio.Event) -> None:
        """Make one request after the other; the last one is followed to its end."""
        while not stopped.is_set():
            try:
                await self.one_request()
            except* CallRefusedError:
                await asyncio.sleep(PAUSE_S)

    async def one_request(self) -> str:
        """Submit a request, follow it to its end in one of several ways, fetch its result; returns its id."""
        submission = self._submission()
        request_id = await self.submit(submission)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self.watch(f"{self.name}.{self._count}", request_id))
            if self._dice.random() < 0.2:
                group.create_task(self._watch_late(request_id))
            if self._dice.random() < 0.2:
                group.create_task(self._cancel_later(request_id))
            if submission.HasField("idempotency_key") and self._dice.random() < 0.2:
                group.create_task(self.submit(submission))
        if watching.result() == "COMPLETED":
            await self.fetch(request_id)
        return request_id

    def _submission(self) -> SubmitRequest:
        self._count += 1
        steps = self._dice.randint(5, 12) if self._dice.random() < 0.85 else self._dice.randint(20, 50)
        submission = SubmitRequest(
            endpoint=self._endpoint,
            text_to_video=TextToVideoInput(
                prompt=f"butterflies of {self.name}, flight {self._count}",
                num_inference_steps=steps,
                use_rife=False,
                video_size=VideoSize(dimensions=ImageSize(width=64, height=64)),
            ),
            priority=PRIORITY_LOW if self._dice.random() < 0.25 else PRIORITY_NORMAL,
            max_attempts=10 if self._dice.random() < 0.8 else self._dice.randint(1, 3),
        )
        if self._dice.random() < 0.9:
            submission.idempotency_key = f"{self.name}-{self._count}"
        return submission

    async def submit(self, submission: SubmitRequest) -> str:
        """Submit, and repeat until it is acknowledged; returns the request's id."""

        async def once(replica: Replica) -> str:
            answer = await replica.stub.Submit(submission, metadata=self._metadata, timeout=CALL_WITHIN_S)
            key = submission.idempotency_key if submission.HasField("idempotency_key") else None
            self._history.add(Submission(time.time(), replica.name, answer.request_id, key, answer.existing))
            return answer.request_id

        return await self._until_answered("Submit", "", once)

    async def cancel(self, request_id: str) -> bool:
        """Cancel, and repeat until there is an answer; False if the request had ended before."""

        async def once(replica: Replica) -> bool:
            try:
                await replica.stub.Cancel(
                    CancelRequest(request_id=request_id), metadata=self._metadata, timeout=CALL_WITHIN_S
                )
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.FAILED_PRECONDITION:
                    raise
                self._note_error(replica, "Cancel", request_id, error)
                return False
            self._history.add(Cancellation(time.time(), replica.name, request_id))
            return True

        return await self._until_answered("Cancel", request_id, once)

    async def fetch(self, request_id: str) -> None:
        """Ask for the result and fetch it by its URL, again until it comes."""

        async def once(replica: Replica) -> str:
            question = GetResultRequest(request_id=request_id)
            answer = await replica.stub.GetResult(question, metadata=self._metadata, timeout=CALL_WITHIN_S)
            return answer.video.video.url

        while True:
            url = await self._until_answered("GetResult", request_id, once)
            try:
                content = await asyncio.to_thread(_download, url)
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                    code = f"HTTP {error.code}"
                    self._history.add(CallError(time.time(), "store", "fetch", request_id, code, str(error)))
                    return
                await asyncio.sleep(PAUSE_S)
            else:
                digest = hashlib.sha256(content).hexdigest()
                self._history.add(Fetch(time.time(), request_id, len(content), digest))
                return

    async def watch(self, watcher: str, request_id: str) -> str:
        """Follow a request from its beginning to its end, over any number of streams; returns the terminal state."""
        cursor: str | None = None
        stream = 0
        while True:
            replica = self._dice.choice(self._replicas)
            call = replica.stub.WatchStatus(
                WatchStatusRequest(request_id=request_id, cursor=cursor), metadata=self._metadata
            )
            try:
                while True:
                    async with asyncio.timeout(SILENT_AFTER_S):
                        message = await call.read()
                    if not isinstance(message, WatchStatusResponse):
                        break
                    event = event_of(message, watcher, stream, replica.name, request_id)
                    self._history.add(event)
                    cursor = message.cursor
                    if event.state in TERMINAL:
                        return event.state
                    if self._dice.random() < 0.01:
                        break  # on a whim: to go on elsewhere
            except TimeoutError:
                pass  # a replica that is silent is left
            except grpc.aio.AioRpcError as error:
                self._note_error(replica, "WatchStatus", request_id, error)
                if error.code() not in WORTH_A_REPEAT:
                    raise CallRefusedError("WatchStatus") from error
            finally:
                call.cancel()
            stream += 1
            await asyncio.sleep(PAUSE_S)

    async def _watch_late(self, request_id: str) -> None:
        await asyncio.sleep(self._dice.uniform(0.0, 2.0))
        await self.watch(f"{self.name}.{self._count}.late", request_id)

    async def _cancel_later(self, request_id: str) -> None:
        await asyncio.sleep(self._dice.uniform(0.0, 2.0))
        await self.cancel(request_id)

    async def _until_answered(self, method: str, request_id: str, once: Callable[[Replica], Awaitable[_T]]) -> _T:
        """Call at one replica after the other until one answers. An error that forbids it is noted, and raised."""
        while True:
            replica = self._dice.choice(self._replicas)
            try:
                return await once(replica)
            except grpc.aio.AioRpcError as error:
                self._note_error(replica, method, request_id, error)
                if error.code() not in WORTH_A_REPEAT:
                    raise CallRefusedError(method) from error
            await asyncio.sleep(PAUSE_S)

    def _note_error(self, replica: Replica, method: str, request_id: str, error: grpc.aio.AioRpcError) -> None:
        message = error.details() or ""
        self._history.add(CallError(time.time(), replica.name, method, request_id, error.code().name, message))


def event_of(message: WatchStatusResponse, watcher: str, stream: int, replica: str, request_id: str) -> WatchEvent:
    """A message of a watch as the history notes it."""
    kind = message.WhichOneof("event") or ""
    has_place = kind == "position" or (kind == "state" and message.state.HasField("position"))
    attempts = {
        "state": message.state.attempt,
        "progress": message.progress.attempt,
        "log": message.log.attempt,
        "log_truncated": message.log_truncated.attempt,
    }
    state = RequestState.Name(message.state.state).removeprefix("REQUEST_STATE_")
    return WatchEvent(
        at=time.time(),
        watcher=watcher,
        stream=stream,
        replica=replica,
        request_id=request_id,
        cursor=message.cursor,
        kind=kind,
        event_ns=message.time.ToNanoseconds(),
        attempt=attempts.get(kind, 0),
        state=state if kind == "state" else "",
        position=(message.position.position if kind == "position" else message.state.position) if has_place else None,
        stage=Stage.Name(message.progress.stage) if kind == "progress" else "",
        step=message.progress.step,
        total=message.progress.total,
        line=message.log.message,
    )


def _download(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=FETCH_WITHIN_S) as answer:
        content: bytes = answer.read()
        return content
