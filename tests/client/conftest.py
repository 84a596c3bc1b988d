"""A scripted service, a file server, and both clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cogreel.v1 import queue_pb2

from tests.client.callers import AsyncCaller, Caller, SyncCaller
from tests.client.file_server import FileServer
from tests.client.scripted_service import REQUEST_ID, ScriptedService, status, whole_course


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADDRESS", "API_KEY", "CA_FILE", "CLIENT_CERTIFICATE_FILE", "CLIENT_KEY_FILE"):
        monkeypatch.delenv(f"COGREEL_{name}", raising=False)


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    with ScriptedService() as service:
        yield service


@pytest.fixture
def files() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


@pytest.fixture(params=[SyncCaller, AsyncCaller], ids=["sync", "async"])
def caller(request: pytest.FixtureRequest, service: ScriptedService) -> Caller:
    made: Caller = request.param(service.address, retry_timeout_s=10.0)
    return made


@pytest.fixture(params=[SyncCaller, AsyncCaller], ids=["sync", "async"])
def impatient_caller(request: pytest.FixtureRequest, service: ScriptedService) -> Caller:
    made: Caller = request.param(service.address, retry_timeout_s=1.0)
    return made


@pytest.fixture
def garden(service: ScriptedService, files: FileServer) -> ScriptedService:
    """A service that makes one video."""
    service.answer("Submit", queue_pb2.SubmitResponse(request_id=REQUEST_ID, status=status("QUEUED", position=2)))
    service.answer("WatchStatus", whole_course())
    service.answer("GetStatus", queue_pb2.GetStatusResponse(status=status("RUNNING", attempt=1, worker="gpu-0")))
    service.answer("GetResult", queue_pb2.GetResultResponse(request_id=REQUEST_ID, video=files.output()))
    service.answer("Cancel", queue_pb2.CancelResponse(status=status("CANCELLED")))
    return service
