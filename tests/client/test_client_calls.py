"""Calls: what is sent, what is retried, and what is raised."""

from __future__ import annotations

import asyncio
import inspect
import re
import subprocess
from pathlib import Path

import cogreel
import grpc
import pytest
from cogreel import AsyncCogReel, CogReel, ProgressUpdate, Update
from cogreel.v1 import queue_pb2
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

from tests.client.callers import Caller
from tests.client.file_server import FileServer
from tests.client.scripted_service import REQUEST_ID, Hold, Refuse, ScriptedService, event, status, whole_course

README = Path(__file__).parents[2] / "client" / "README.md"
SUBMITTED = queue_pb2.SubmitResponse(request_id=REQUEST_ID, status=status("QUEUED", position=0))


def submissions(service: ScriptedService) -> list[queue_pb2.SubmitRequest]:
    return [request for request in service.requests if isinstance(request, queue_pb2.SubmitRequest)]


def test_subscribe_goes_from_a_prompt_to_a_video(service: ScriptedService, files: FileServer, caller: Caller) -> None:
    service.answer("Submit", SUBMITTED)
    service.answer("WatchStatus", whole_course())
    service.answer("GetResult", queue_pb2.GetResultResponse(request_id=REQUEST_ID, video=files.output()))
    seen: list[Update] = []
    video = caller.subscribe(seen.append, prompt="a garden", seed=42, video_size="landscape_16_9")

    assert video == files.output()
    assert [update.raw for update in seen] == whole_course()
    assert submissions(service)[0].text_to_video.seed == 42
    assert set(service.authorizations) == {"Bearer key"}


async def test_updates_may_be_awaited(service: ScriptedService, files: FileServer) -> None:
    service.answer("Submit", SUBMITTED)
    service.answer("WatchStatus", whole_course())
    service.answer("GetResult", queue_pb2.GetResultResponse(request_id=REQUEST_ID, video=files.output()))
    steps: list[int] = []

    async def on_update(update: Update) -> None:
        await asyncio.sleep(0)
        if isinstance(update, ProgressUpdate) and update.stage == "denoise":
            steps.append(update.step)

    async with AsyncCogReel(service.address) as client:
        await client.subscribe("fal-ai/cogvideox-5b", prompt="a garden", on_update=on_update)
    assert steps == [1, 2, 3]
    assert submissions(service)[0].endpoint == "fal-ai/cogvideox-5b"


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("REQUEST_FAILED", cogreel.RequestFailedError), ("REQUEST_CANCELLED", cogreel.RequestCancelledError)],
)
def test_subscribe_raises_how_a_request_ended(
    service: ScriptedService, caller: Caller, reason: str, kind: type[cogreel.CogReelError]
) -> None:
    service.answer("Submit", SUBMITTED)
    service.answer("WatchStatus", [event("c1", state=status("FAILED"))])
    service.answer("GetResult", Refuse(grpc.StatusCode.FAILED_PRECONDITION, reason, "why"))
    with pytest.raises(kind) as caught:
        caller.subscribe(None, prompt="a garden")
    assert caught.value.request_id == REQUEST_ID


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
def test_a_retried_submission_is_the_same_submission(
    service: ScriptedService, caller: Caller, code: grpc.StatusCode
) -> None:
    service.answer("Submit", Refuse(code), Refuse(code), SUBMITTED)
    assert caller.submit(prompt="a garden").request_id == REQUEST_ID
    first, *others = submissions(service)
    assert first.idempotency_key
    assert others == [first, first]


def test_two_submissions_are_two(service: ScriptedService, caller: Caller) -> None:
    service.answer("Submit", SUBMITTED)
    caller.submit(prompt="a garden")
    caller.submit(prompt="a garden")
    assert len({request.idempotency_key for request in submissions(service)}) == 2


def test_a_submission_by_message_draws_a_key_for_its_retries(service: ScriptedService, caller: Caller) -> None:
    service.answer("Submit", Refuse(grpc.StatusCode.UNAVAILABLE), SUBMITTED)
    mine = queue_pb2.SubmitRequest(idempotency_key="mine")
    caller.submit_message(mine)
    keyless = queue_pb2.SubmitRequest(endpoint="small")
    caller.submit_message(keyless)
    first, retried, other = submissions(service)
    assert first == retried == mine
    assert other.endpoint == "small"
    assert other.idempotency_key
    assert not keyless.HasField("idempotency_key")


def test_the_service_may_come_up_after_the_call(service: ScriptedService, caller: Caller) -> None:
    service.answer("Cancel", queue_pb2.CancelResponse(status=status("CANCELLED")))
    service.stop()
    attempts: list[float] = []

    def start_at_the_third_retry(_error: cogreel.CogReelError, pause_s: float) -> None:
        attempts.append(pause_s)
        if len(attempts) == 3:
            service.start()

    with CogReel(service.address, on_retry=start_at_the_third_retry) as client:
        assert cogreel.state_name(client.cancel(REQUEST_ID)) == "CANCELLED"
    assert len(attempts) >= 3


def test_the_pause_is_at_least_what_the_service_asks_for(service: ScriptedService) -> None:
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(nanos=400_000_000))
    service.answer(
        "GetStatus",
        Refuse(grpc.StatusCode.UNAVAILABLE, "REPLICA_BEHIND", details=(retry,)),
        queue_pb2.GetStatusResponse(status=status("RUNNING", attempt=1)),
    )
    pauses: list[float] = []
    with CogReel(service.address, on_retry=lambda _error, pause_s: pauses.append(pause_s)) as client:
        assert client.status(REQUEST_ID).status.attempt == 1
    assert len(pauses) == 1
    assert 0.4 <= pauses[0] <= 0.6


def test_an_outage_that_lasts_is_raised(service: ScriptedService, impatient_caller: Caller) -> None:
    service.answer("GetResult", Refuse(grpc.StatusCode.UNAVAILABLE, "QUEUE_UNAVAILABLE", "no leader"))
    with pytest.raises(cogreel.UnavailableError, match="no leader"):
        impatient_caller.result(REQUEST_ID)


def test_a_service_that_does_not_answer_is_given_up(service: ScriptedService, impatient_caller: Caller) -> None:
    service.answer("GetStatus", Hold())
    with pytest.raises(cogreel.UnavailableError) as caught:
        impatient_caller.status(REQUEST_ID)
    assert caught.value.code == grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT", cogreel.InvalidInputError),
        (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", cogreel.AuthenticationError),
        (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED", cogreel.PermissionDeniedError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", cogreel.LimitExceededError),
        (grpc.StatusCode.INTERNAL, "INTERNAL", cogreel.InternalError),
    ],
)
def test_refusals_are_raised_at_once(
    service: ScriptedService, caller: Caller, code: grpc.StatusCode, reason: str, kind: type[cogreel.CogReelError]
) -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="text_to_video.prompt", description="must not be blank")
    service.answer("Submit", Refuse(code, reason, "why", details=(bad,)))
    with pytest.raises(kind) as caught:
        caller.submit(prompt=" ")
    assert (caught.value.code, caught.value.reason, caught.value.message) == (code, reason, "why")
    assert caught.value.details.violations == (cogreel.Violation("text_to_video.prompt", "must not be blank"),)
    assert len(submissions(service)) == 1


def test_a_call_that_the_service_does_not_have_is_unimplemented(service: ScriptedService, caller: Caller) -> None:
    service.answer("Submit", Refuse(grpc.StatusCode.UNIMPLEMENTED))
    with pytest.raises(cogreel.UnimplementedError):
        caller.submit(prompt="a garden")


def test_status_brings_logs_if_asked(service: ScriptedService, caller: Caller) -> None:
    line = queue_pb2.LogLine(attempt=1, message="hello")
    service.answer("GetStatus", queue_pb2.GetStatusResponse(status=status("RUNNING", attempt=1), logs=[line]))
    assert caller.status(REQUEST_ID, with_logs=True).logs[0].message == "hello"
    assert service.asked("GetStatus") == [queue_pb2.GetStatusRequest(request_id=REQUEST_ID, with_logs=True)]


def test_results_of_a_kind_yet_to_come_ask_for_an_upgrade(service: ScriptedService, caller: Caller) -> None:
    service.answer("GetResult", queue_pb2.GetResultResponse(request_id=REQUEST_ID))
    with pytest.raises(cogreel.UnimplementedError, match="upgrade"):
        caller.result(REQUEST_ID)


async def test_cancelling_a_task_cancels_its_call_only(service: ScriptedService) -> None:
    service.answer("GetStatus", Hold())
    async with AsyncCogReel(service.address) as client:
        task = asyncio.create_task(client.status(REQUEST_ID))
        await asyncio.to_thread(service.holding.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(service.asked("GetStatus")) == 1
    assert service.asked("Cancel") == []


def test_large_results_and_inputs_pass(service: ScriptedService, caller: Caller) -> None:
    log = [queue_pb2.LogLine(message="x" * 1_000_000) for _ in range(20)]
    service.answer("GetStatus", queue_pb2.GetStatusResponse(status=status("RUNNING"), logs=log))
    assert len(caller.status(REQUEST_ID, with_logs=True).logs) == 20


def test_the_examples_of_the_readme_run(
    service: ScriptedService,
    files: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    service.answer("Submit", SUBMITTED)
    service.answer("WatchStatus", whole_course())
    service.answer("GetStatus", queue_pb2.GetStatusResponse(status=status("COMPLETED")))
    service.answer("GetResult", queue_pb2.GetResultResponse(request_id=REQUEST_ID, video=files.output()))
    service.answer("Cancel", queue_pb2.CancelResponse(status=status("CANCELLED")))
    monkeypatch.setenv("COGREEL_ADDRESS", service.address)
    monkeypatch.chdir(tmp_path)
    service.answer("ListRequests", queue_pb2.ListRequestsResponse(requests=[status("RUNNING")]))
    whole, steps, tasks, notebook = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    exec(whole, {})
    assert capsys.readouterr().out.splitlines()[:2] == ["the prompt was cut to 226 tokens", "1/3, 3.0 s left"]
    assert (tmp_path / "garden.mp4").read_bytes() == files.content
    with CogReel() as client:
        exec(steps, {"client": client})
        exec(notebook, {"client": client})
    assert len(service.asked("Cancel")) == 1
    exec(tasks, {})
    assert {path.name for path in tmp_path.iterdir()} == {"garden.mp4", "0.mp4", "1.mp4"}


def test_the_readme_explains_every_exception() -> None:
    explained = set(re.findall(r"^\| `(\w+Error)` \|", README.read_text(), re.MULTILINE))
    assert explained | {"CogReelError"} == {name for name in cogreel.__all__ if name.endswith("Error")}


def test_the_readme_names_every_method() -> None:
    named = set(re.findall(r"^\| `(\w+)\(", README.read_text(), re.MULTILINE))
    assert named | {"close"} == {name for name in dir(CogReel) if not name.startswith("_")}


def test_tls_by_https_with_a_private_authority(service: ScriptedService, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *request.split(), *names], check=True, capture_output=True)
    service.stop()
    service.port = 0
    service.start(grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())]))
    service.answer("GetStatus", queue_pb2.GetStatusResponse(status=status("RUNNING", attempt=1)))

    with CogReel(f"https://{service.address}", ca_file=certificate) as client:
        assert client.status(REQUEST_ID).status.attempt == 1
    with (
        CogReel(f"https://{service.address}", retry_timeout_s=1) as stranger,
        pytest.raises(cogreel.UnavailableError),
    ):
        stranger.status(REQUEST_ID)


def test_both_clients_have_the_same_methods_with_the_same_parameters() -> None:
    def face(client: type) -> dict[str, list[tuple[str, object, object]]]:
        return {
            name: [(p.name, p.kind, p.default) for p in inspect.signature(method).parameters.values()]
            for name, method in inspect.getmembers(client, inspect.isfunction)
            if not name.startswith("_") or name == "__init__"
        }

    assert face(CogReel) == face(AsyncCogReel)
    assert {"list", "logs", "watch", "close"} <= face(CogReel).keys()
