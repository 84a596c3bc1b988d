"""The client against the service itself: real queue, real store, a worker that paints its frames."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from contextlib import AsyncExitStack
from datetime import UTC
from pathlib import Path

import pytest
from cogreel import (
    AsyncCogReel,
    AuthenticationError,
    CursorError,
    IdempotencyConflictError,
    InvalidInputError,
    NotFinishedError,
    NotFoundError,
    ProgressUpdate,
    RequestCancelledError,
    StateUpdate,
    Update,
)
from cogreel.submission import TextToVideo

from tests.deployment import Deployment

SMALL: TextToVideo = {
    "prompt": "butterflies",
    "video_size": (64, 64),
    "num_inference_steps": 3,
    "use_rife": False,
}


async def test_a_prompt_becomes_a_file(deployment: Deployment, tmp_path: Path) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    await deployment.worker()
    updates: list[Update] = []
    options: TextToVideo = {**SMALL, "seed": 7}
    async with AsyncCogReel(f"127.0.0.1:{port}", caller.api_key) as client:
        video = await client.subscribe(deployment.endpoint, on_update=updates.append, **options)
        path = await client.download(video, tmp_path / "butterflies.mp4")

    assert video.seed == 7
    assert hashlib.sha256(path.read_bytes()).hexdigest() == video.sha256
    states = [update.state for update in updates if isinstance(update, StateUpdate)]
    assert states == ["QUEUED", "RUNNING", "COMPLETED"]
    steps = [u.step for u in updates if isinstance(u, ProgressUpdate) and u.stage == "denoise" and u.step]
    assert steps == [1, 2, 3]


async def test_a_watch_outlives_its_replica(deployment: Deployment) -> None:
    first = AsyncExitStack()
    port = await first.enter_async_context(deployment.service_running())
    caller = await deployment.caller(port)
    await deployment.worker(step_s=0.1)
    options: TextToVideo = {**SMALL, "num_inference_steps": 20}

    steps: list[int] = []
    async with AsyncExitStack() as second, AsyncCogReel(f"127.0.0.1:{port}", caller.api_key) as client:
        request_id = (await client.submit(deployment.endpoint, **options)).request_id
        async for update in client.watch(request_id):
            if isinstance(update, ProgressUpdate) and update.stage == "denoise" and update.step:
                steps.append(update.step)
                if update.step == 5:
                    await first.aclose()
                    await second.enter_async_context(deployment.service_running(port=port))
    assert steps == list(range(1, 21))


async def test_refusals_of_the_service_are_typed(deployment: Deployment) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    async with AsyncCogReel(f"127.0.0.1:{port}", "not a key") as stranger:
        with pytest.raises(AuthenticationError):
            await stranger.submit(deployment.endpoint, **SMALL)

    async with AsyncCogReel(f"127.0.0.1:{port}", caller.api_key) as client:
        with pytest.raises(InvalidInputError) as invalid:
            await client.submit(deployment.endpoint, prompt=" ", num_inference_steps=51)
        assert {violation.field for violation in invalid.value.violations} == {
            "text_to_video.prompt",
            "text_to_video.num_inference_steps",
        }
        with pytest.raises(NotFoundError):
            await client.submit("no/such-endpoint", **SMALL)
        with pytest.raises(NotFoundError):
            await client.status("9f1c6ad2-3f0e-4a37-9a0c-0d5a7a1b2c3d")

        mine: TextToVideo = {**SMALL, "idempotency_key": "mine"}
        other: TextToVideo = {**mine, "seed": 1}
        first = await client.submit(deployment.endpoint, **mine)
        with pytest.raises(IdempotencyConflictError) as conflict:
            await client.submit(deployment.endpoint, **other)
        assert conflict.value.existing_request_id == first.request_id

        with pytest.raises(NotFinishedError):
            await client.result(first.request_id)
        with pytest.raises(CursorError):
            await anext(client.watch(first.request_id, cursor="nonsense"))
        await client.cancel(first.request_id)
        with pytest.raises(RequestCancelledError):
            await client.result(first.request_id)


async def test_a_listing_goes_through_its_pages(deployment: Deployment) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    stranger = await deployment.caller(port)
    await stranger.submit()
    submitted = [(await caller.submit(f"garden {number}")).request_id for number in range(103)]
    await caller.cancel(submitted[0])

    async with AsyncCogReel(f"127.0.0.1:{port}", caller.api_key) as client:
        listed = [status.request_id async for status in client.list()]
        assert listed == submitted[::-1]
        waiting = [status async for status in client.list(states=["QUEUED"], limit=101)]
        assert [status.request_id for status in waiting] == submitted[:1:-1]
        assert [status.title for status in waiting[:2]] == ["garden 102", "garden 101"]
        assert [status.position for status in waiting[-2:]] == [
            3,
            2,
        ]  # the stranger's counts, the cancelled one does not
        tenth = (await client.status(submitted[10])).status.queued_time.ToDatetime(tzinfo=UTC)
        older = [status.request_id async for status in client.list(before=tenth)]
        assert older == submitted[9::-1]
        newer = [status.request_id async for status in client.list(since=tenth, endpoint=deployment.endpoint)]
        assert newer == submitted[:9:-1]


async def test_a_title_is_one_short_line_of_the_prompt(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    prompts = ["A garden", "  A garden\n\tat dawn ", "A garden " * 50, "x" * 80, "x" * 81]
    titles = [(await caller.submit(prompt)).status.title for prompt in prompts]
    assert titles[:2] == ["A garden", "A garden at dawn"]
    assert titles[2].startswith("A garden A garden")
    assert titles[3:] == ["x" * 80, f"{'x' * 79}…"]
    assert all(len(title) <= 80 for title in titles)


async def test_a_log_is_followed_over_a_restart_of_the_service(deployment: Deployment) -> None:
    first = AsyncExitStack()
    port = await first.enter_async_context(deployment.service_running())
    caller = await deployment.caller(port)
    await deployment.worker(step_s=0.1)
    request_id = (await caller.submit(steps=20)).request_id
    connection = ("--address", f"127.0.0.1:{port}", "--api-key", caller.api_key)
    following = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cogreel", *connection, "logs", "-f", request_id, "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert following.stdout is not None
    began = await following.stdout.readline()
    await first.aclose()
    async with deployment.service_running(port=port):
        rest, told = await following.communicate()
        assert following.returncode == 0, told.decode()
        assert told.decode().splitlines()[-1] == "completed"
        lines = [json.loads(line)["message"] for line in (began + rest).splitlines()]
        whole = await caller.status(request_id, with_logs=True)
        assert lines == [line.message for line in whole.logs]
        assert len(lines) > 1


async def test_the_command_makes_a_file(deployment: Deployment, tmp_path: Path) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    await deployment.worker()
    path = tmp_path / "butterflies.mp4"
    connection = ("--address", f"127.0.0.1:{port}", "--api-key", caller.api_key)
    what = ("butterflies", "--endpoint", deployment.endpoint, "--size", "64x64", "--steps", "2", "--no-rife")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cogreel",
        *connection,
        "generate",
        *what,
        "-o",
        path,
        "--json",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, progress = await process.communicate()
    assert process.returncode == 0, progress.decode()
    result = json.loads(told)
    assert result["output"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "denoise 2/2" in progress.decode()
