"""A gRPC server on loopback that answers the queue calls of the contract from a script, and notes what it was asked."""

# ruff: noqa: N802 - the names of the methods are the contract's

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event
from types import TracebackType
from typing import Self, TypeVar

import grpc
from cogreel.v1 import queue_pb2, queue_pb2_grpc
from cogreel.v1.queue_pb2 import RequestState, RequestStatus, WatchStatusResponse
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2

REQUEST_ID = "9f1c6ad2-3f0e-4a37-9a0c-0d5a7a1b2c3d"
BEGINNING = datetime(2030, 1, 1, tzinfo=UTC)

_M = TypeVar("_M", bound=Message)


@dataclass(frozen=True)
class Refuse:
    """Ends a call with an error."""

    code: grpc.StatusCode
    reason: str = ""
    message: str = "scripted"
    metadata: tuple[tuple[str, str], ...] = ()
    details: tuple[Message, ...] = ()
    domain: str = "cogreel.v1"

    def status(self) -> status_pb2.Status:
        """The error as google.rpc.Status."""
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        if self.reason:
            info = error_details_pb2.ErrorInfo(reason=self.reason, domain=self.domain, metadata=dict(self.metadata))
            status.details.add().Pack(info)
        for detail in self.details:
            status.details.add().Pack(detail)
        return status


@dataclass(frozen=True)
class Hold:
    """Keeps a stream open until its caller or the server ends it."""


Step = Message | Refuse | Hold


class ScriptedService(queue_pb2_grpc.QueueServiceServicer):
    """Serves while it is entered. Each call of a method takes that method's next answer; the last one stays."""

    def __init__(self) -> None:
        self.requests: list[Message] = []
        self.authorizations: list[str] = []
        self.holding = Event()
        self._released = Event()
        self.port = 0
        self._scripts: dict[str, deque[Sequence[Step]]] = {}
        self._server: grpc.Server | None = None

    @property
    def address(self) -> str:
        """What a client dials."""
        return f"localhost:{self.port}"

    def answer(self, method: str, *answers: Sequence[Step] | Step) -> None:
        """Script a method: one answer for each of the calls to come, a sequence of messages for a stream."""
        self._scripts[method] = deque([a] if isinstance(a, Message | Refuse | Hold) else a for a in answers)

    def start(self, credentials: grpc.ServerCredentials | None = None) -> None:
        """Listen, on the port of before if there was one."""
        self._server = grpc.server(ThreadPoolExecutor(16))
        queue_pb2_grpc.add_QueueServiceServicer_to_server(self, self._server)
        address = f"localhost:{self.port}"
        self.port = (
            self._server.add_secure_port(address, credentials)
            if credentials is not None
            else self._server.add_insecure_port(address)
        )
        self._server.start()

    def stop(self) -> None:
        """Stop listening and cut all calls."""
        if self._server is not None:
            self._server.stop(None).wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def wait_until_released(self) -> None:
        """Wait until a stream that was held open has been ended."""
        assert self._released.wait(10)

    def asked(self, method: str) -> list[Message]:
        """The requests that a method got, in order."""
        return [request for request in self.requests if request.DESCRIPTOR.name == f"{method}Request"]

    def Submit(self, request: queue_pb2.SubmitRequest, context: grpc.ServicerContext) -> queue_pb2.SubmitResponse:
        return _only(self._play(request, context), queue_pb2.SubmitResponse)

    def GetStatus(
        self, request: queue_pb2.GetStatusRequest, context: grpc.ServicerContext
    ) -> queue_pb2.GetStatusResponse:
        return _only(self._play(request, context), queue_pb2.GetStatusResponse)

    def WatchStatus(
        self, request: queue_pb2.WatchStatusRequest, context: grpc.ServicerContext
    ) -> Iterator[WatchStatusResponse]:
        for message in self._play(request, context):
            assert isinstance(message, WatchStatusResponse)
            yield message

    def GetResult(
        self, request: queue_pb2.GetResultRequest, context: grpc.ServicerContext
    ) -> queue_pb2.GetResultResponse:
        return _only(self._play(request, context), queue_pb2.GetResultResponse)

    def Cancel(self, request: queue_pb2.CancelRequest, context: grpc.ServicerContext) -> queue_pb2.CancelResponse:
        return _only(self._play(request, context), queue_pb2.CancelResponse)

    def ListRequests(
        self, request: queue_pb2.ListRequestsRequest, context: grpc.ServicerContext
    ) -> queue_pb2.ListRequestsResponse:
        return _only(self._play(request, context), queue_pb2.ListRequestsResponse)

    def GetWebhookKeys(
        self, request: queue_pb2.GetWebhookKeysRequest, context: grpc.ServicerContext
    ) -> queue_pb2.GetWebhookKeysResponse:
        return _only(self._play(request, context), queue_pb2.GetWebhookKeysResponse)

    def _play(self, request: Message, context: grpc.ServicerContext) -> Iterator[Message]:
        self.requests.append(request)
        self.authorizations.append(str(dict(context.invocation_metadata()).get("authorization", "")))
        script = self._scripts[request.DESCRIPTOR.name.removesuffix("Request")]
        for step in script.popleft() if len(script) > 1 else script[0]:
            match step:
                case Refuse():
                    context.set_trailing_metadata((("grpc-status-details-bin", step.status().SerializeToString()),))
                    context.abort(step.code, step.message)
                case Hold():
                    ended = Event()
                    if context.add_callback(ended.set):
                        self.holding.set()
                        ended.wait()
                        self._released.set()
                case _:
                    yield step


def _only(messages: Iterator[Message], kind: type[_M]) -> _M:
    message = next(messages)
    assert isinstance(message, kind)
    return message


def status(state: str, *, attempt: int = 0, seconds: float = 0, **fields: object) -> RequestStatus:
    """A status as of `seconds` after the beginning."""
    made = RequestStatus(
        request_id=REQUEST_ID,
        endpoint="fal-ai/cogvideox-5b",
        state=RequestState.Value(f"REQUEST_STATE_{state}"),
        attempt=attempt,
        max_attempts=3,
        seed=42,
        queued_time=_after(0),
    )
    if state in {"COMPLETED", "FAILED", "CANCELLED"}:
        made.finished_time.CopyFrom(_after(seconds))
    for name, value in fields.items():
        if isinstance(value, Message):
            getattr(made, name).CopyFrom(value)
        else:
            setattr(made, name, value)
    return made


def event(cursor: str, *, seconds: float = 0, **kind: object) -> WatchStatusResponse:
    """An event `seconds` after the beginning, such as `event("c1", log=LogLine(...))`."""
    response = WatchStatusResponse(cursor=cursor, time=_after(seconds))
    for name, value in kind.items():
        assert isinstance(value, Message)
        getattr(response, name).CopyFrom(value)
        getattr(response, name).SetInParent()
    return response


def step(number: int, eta_s: float) -> queue_pb2.Progress:
    """A denoising step of three."""
    progress = queue_pb2.Progress(attempt=1, stage=queue_pb2.STAGE_DENOISE, step=number, total=3)
    progress.eta.FromTimedelta(timedelta(seconds=eta_s))
    return progress


def whole_course() -> list[WatchStatusResponse]:
    """All events of a request that makes three denoising steps."""
    stages = queue_pb2.Stage
    progress = queue_pb2.Progress
    line = queue_pb2.LogLine(attempt=1, level=queue_pb2.LOG_LEVEL_WARN, message="the prompt was cut to 226 tokens")
    return [
        event("c1", state=status("QUEUED", position=2)),
        event("c1", seconds=1, position=queue_pb2.QueuePosition(position=0)),
        event("c2", seconds=3, state=status("RUNNING", attempt=1, worker="gpu-0")),
        event("c3", seconds=3, progress=progress(attempt=1, stage=stages.STAGE_PREPARE)),
        event("c4", seconds=3.5, log=line),
        event("c5", seconds=5, progress=step(1, 3)),
        event("c6", seconds=6.5, progress=step(2, 1.5)),
        event("c7", seconds=8, progress=step(3, 0)),
        event("c8", seconds=8, progress=progress(attempt=1, stage=stages.STAGE_DECODE, total=6, step=6)),
        event("c9", seconds=9, progress=progress(attempt=1, stage=stages.STAGE_ENCODE)),
        event("c10", seconds=10, progress=progress(attempt=1, stage=stages.STAGE_UPLOAD)),
        event("c11", seconds=10.4, state=status("COMPLETED", attempt=1, worker="gpu-0", seconds=10.4)),
    ]


def _after(seconds: float) -> Timestamp:
    moment = Timestamp()
    moment.FromDatetime(BEGINNING + timedelta(seconds=seconds))
    return moment
