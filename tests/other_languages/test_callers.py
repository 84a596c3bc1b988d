"""What the callers outside Python do against a running service: the same for each language."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from cogreel.v1.queue_pb2 import LogLevel, RequestState, SubmitRequest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from grpc import StatusCode
from PIL import Image

from tests.client.scripted_service import Refuse, ScriptedService
from tests.deployment import eventually, fetch
from tests.end_to_end.tree import Tree
from tests.other_languages.programs import Program, Run
from tests.other_languages.trust import Trust

pytestmark = pytest.mark.other_languages

SMALL = ("--size", "64x64")

# Each library has its own way to write a code.
INVALID = ("InvalidArgument", "INVALID_ARGUMENT")
UNAVAILABLE = ("Unavailable", "UNAVAILABLE")


async def service_pid(tree: Tree) -> int:
    """The service's process; after an earlier one has been ended, the ready file is a little late to name it."""

    async def named() -> int | None:
        pid: int | None = tree.ready["pids"].get("service")
        return pid

    pid = await eventually(named, lambda seen: seen is not None and psutil.pid_exists(seen))
    assert pid is not None
    return pid


@dataclass(frozen=True)
class Tour:
    """One run with everything that a caller does, after its end."""

    run: Run
    exit_status: int
    picture: Path
    video: Path


@pytest_asyncio.fixture(scope="module")
async def tour(program: Program, tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tour]:
    folder = tmp_path_factory.mktemp(program.language)
    picture, video = folder / "picture.png", folder / "video.mp4"
    Image.new("RGB", (16, 16), "navy").save(picture)
    options = (*SMALL, "--steps", "4", "--upload", str(picture), "--out", str(video))
    async with program.running(tree.ready["grpc"], tree.ready["api_key"], *options, "a lighthouse") as run:
        status = await run.ends()
        yield Tour(run, status, picture, video)


async def test_the_video_is_the_one_that_the_service_made(tour: Tour, tree: Tree) -> None:
    assert tour.exit_status == 0
    result = await (await tree.caller()).result(tour.run.request_ids[0])
    assert hashlib.sha256(tour.video.read_bytes()).hexdigest() == result.video.sha256
    assert result.video.prompt == "a lighthouse"
    assert (result.video.size.width, result.video.size.height) == (64, 64)


async def test_states_steps_and_log_lines_are_shown_in_order(tour: Tour, tree: Tree) -> None:
    assert tour.run.with_prefix("state ") == [
        *("QUEUED, attempt 0", "RUNNING, attempt 1", "COMPLETED, attempt 1"),
        "CANCELLED",  # of the second request
    ]
    assert tour.run.denoised() == [0, 1, 2, 3, 4]
    known = await (await tree.caller()).status(tour.run.request_ids[0], with_logs=True)
    written = [f"{LogLevel.Name(line.level).removeprefix('LOG_LEVEL_')} {line.message}" for line in known.logs]
    assert written
    assert tour.run.with_prefix("log ") == written


async def test_a_refusal_is_shown_with_its_reason_and_each_field(tour: Tour) -> None:
    assert tour.run.lines[0] == "A submission that is refused:"
    assert tour.run.lines[1] in {f"{code}: text_to_video.prompt: must not be blank (and 1 more)" for code in INVALID}
    assert tour.run.lines[2:5] == [
        "reason INVALID_INPUT",
        "field text_to_video.prompt: must not be blank",
        "field text_to_video.num_inference_steps: must be greater than or equal to 1 and less than or equal to 50",
    ]


async def test_the_uploaded_file_is_in_the_store(tour: Tour) -> None:
    (url,) = tour.run.with_prefix("stored as ")
    assert fetch(url) == tour.picture.read_bytes()


async def test_the_request_that_is_not_wanted_is_cancelled(tour: Tour, tree: Tree) -> None:
    known = await (await tree.caller()).status(tour.run.request_ids[1])
    assert known.status.state == RequestState.REQUEST_STATE_CANCELLED


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "drained"])
async def test_a_watch_goes_on_from_its_cursor_when_the_service_is(
    program: Program, tree: Tree, tmp_path: Path, how: signal.Signals
) -> None:
    options = (*SMALL, "--steps", "50", "--out", str(tmp_path / "video.mp4"))
    async with program.running(tree.ready["grpc"], tree.ready["api_key"], *options, "a lighthouse") as run:
        await run.prints("DENOISE 5/50")
        os.kill(await service_pid(tree), how)
        assert await run.ends() == 0
    assert run.denoised() == list(range(51))
    assert run.with_prefix("state ")[:3] == ["QUEUED, attempt 0", "RUNNING, attempt 1", "COMPLETED, attempt 1"]
    assert len(run.with_prefix("log ")) == len(set(run.with_prefix("log ")))
    retries = run.with_prefix("trying again in ")
    assert retries
    if how == signal.SIGTERM:
        assert any(code in retries[0] for code in UNAVAILABLE)
        assert "reason SHUTTING_DOWN; try again after 0.1 s" in retries[0]


async def test_a_wrong_key_ends_it_with_the_reason(program: Program, tree: Tree) -> None:
    async with program.running(tree.ready["grpc"], "0123456789abcdef:wrong", "a lighthouse") as run:
        assert await run.ends() == 1
    assert "reason UNAUTHENTICATED" in run.lines
    assert not run.request_ids


async def test_an_https_address_is_called_by_tls(program: Program, trust: Trust) -> None:
    service = ScriptedService()
    service.answer("Submit", Refuse(StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"))
    service.start(trust.server_credentials())
    try:
        async with program.running(f"https://{service.address}", "any", "a lighthouse", **trust.environment) as run:
            assert await run.ends() == 1
    finally:
        service.stop()
    assert "reason UNAUTHENTICATED" in run.lines
    assert service.authorizations == ["Bearer any"]


async def test_a_submission_is_repeated_with_its_own_key(program: Program) -> None:
    soon = RetryInfo(retry_delay=Duration(nanos=50_000_000))
    with ScriptedService() as service:
        service.answer(
            "Submit",
            Refuse(StatusCode.UNAVAILABLE, "QUEUE_UNAVAILABLE", details=(soon,)),
            Refuse(StatusCode.CANCELLED),  # as a flooded server refuses
            Refuse(StatusCode.INVALID_ARGUMENT, "INVALID_INPUT"),
        )
        async with program.running(service.address, "any", "a lighthouse") as run:
            assert await run.ends() == 1
    first, second, third, other = (request for request in service.requests if isinstance(request, SubmitRequest))
    assert first == second == third
    assert first.idempotency_key
    assert other.idempotency_key not in {"", first.idempotency_key}
    assert set(service.authorizations) == {"Bearer any"}
    assert "reason QUEUE_UNAVAILABLE; try again after 0.05 s" in run.with_prefix("trying again in ")[0]
