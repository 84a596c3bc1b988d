"""The examples run as they are, against a real service with the simulated device, and do what they say."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image

from tests.deployment import Deployment

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


class Examples:
    """Runs examples in an empty folder, as someone with a key."""

    def __init__(self, port: int, api_key: str, folder: Path) -> None:
        self.folder = folder
        self._environment = os.environ | {
            "COGREEL_ADDRESS": f"127.0.0.1:{port}",
            "COGREEL_API_KEY": api_key,
            "PYTHONUNBUFFERED": "1",
        }

    async def start(self, *command: str | Path) -> Process:
        """Start a Python program."""
        return await asyncio.create_subprocess_exec(
            sys.executable, *command, cwd=self.folder, env=self._environment, stdout=PIPE, stderr=PIPE
        )

    async def run(self, name: str) -> list[str]:
        """Run an example to its end; the lines that it printed."""
        return await self.finish(await self.start(EXAMPLES / name))

    async def finish(self, process: Process) -> list[str]:
        """Wait for the end of a program that goes well; the lines that it printed."""
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        assert err == b""
        return out.decode().splitlines()

    def assert_videos(self, *names: str) -> None:
        """The folder holds these videos, and nothing else."""
        assert {path.name for path in self.folder.iterdir()} == set(names)
        for name in names:
            assert (self.folder / name).read_bytes()[4:8] == b"ftyp"


@pytest_asyncio.fixture
async def examples(deployment: Deployment, tmp_path: Path) -> Examples:
    """A service; the tests bring the worker that they need."""
    port = await deployment.service()
    return Examples(port, (await deployment.caller(port)).api_key, tmp_path)


async def test_text_to_video(examples: Examples, deployment: Deployment) -> None:
    await deployment.worker(step_s=0.01)
    (line,) = await examples.run("text_to_video.py")
    assert re.fullmatch(r"garden.mp4: \d+ frames of 720 x 480, seed 42", line)
    examples.assert_videos("garden.mp4")


async def test_watch_progress(examples: Examples, deployment: Deployment) -> None:
    await deployment.worker(step_s=0.01)
    lines = await examples.run("watch_progress.py")
    states = [line for line in lines if not line.startswith(" ")]
    assert [state.split(",")[0] for state in states] == ["QUEUED", "RUNNING", "COMPLETED", "saved lighthouse.mp4"]
    steps = re.findall(r"^  denoise (\d+)/50", "\n".join(lines), re.MULTILINE)
    assert [int(step) for step in steps if step != "0"] == list(range(1, 51))
    assert any(line.startswith("  info: Stored") for line in lines)
    examples.assert_videos("lighthouse.mp4")


async def test_from_a_picture(deployment: Deployment, tmp_path: Path) -> None:
    deployment.serve_files()
    port = await deployment.service()
    await deployment.worker(step_s=0.01)
    examples = Examples(port, (await deployment.caller(port)).api_key, tmp_path)
    Image.new("RGB", (90, 60), "teal").save(tmp_path / "portrait.png")
    size = (tmp_path / "portrait.png").stat().st_size
    lines = await examples.finish(await examples.start(EXAMPLES / "from_a_picture.py", "portrait.png"))
    assert lines[-2:] == [f"{size} of {size} bytes", "portrait.mp4 begins with portrait.png"]
    assert (tmp_path / "portrait.mp4").read_bytes()[4:8] == b"ftyp"


async def test_cancel(examples: Examples, deployment: Deployment) -> None:
    await deployment.worker(step_s=0.1)
    submitted, mind, state, video = await examples.run("cancel.py")
    assert submitted.startswith("submitted ")
    assert mind == "changed my mind at step 3 of 50"
    assert state == "it is CANCELLED now"
    assert video == "there is no video"


async def test_many_prompts(examples: Examples, deployment: Deployment) -> None:
    await deployment.worker(step_s=0.01)
    lines = await examples.run("many_prompts.py")
    names = {f"{animal}.mp4" for animal in ("fox", "hare", "horse", "crane", "bear", "lynx")}
    assert set(lines[:-1]) == {f"made {name}" for name in names}
    assert lines[-1] == "6 of 6 videos"
    examples.assert_videos(*names)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
async def test_resume_watch_loses_no_step_over_a_restart(
    examples: Examples, deployment: Deployment, stop: signal.Signals
) -> None:
    await deployment.worker(step_s=0.02)
    first = await examples.start(EXAMPLES / "resume_watch.py")
    assert first.stdout is not None
    before = []
    async for line in first.stdout:
        before.append(line.decode().rstrip())
        if before[-1] == "step 5 of 50":
            first.send_signal(stop)
            break
    out, err = await first.communicate()
    assert err == (b"stopped; run this again to go on\n" if stop == signal.SIGINT else b"")
    before += out.decode().splitlines()

    after = await examples.run("resume_watch.py")
    request_id = before[0].removeprefix("submitted ")
    assert after[0] == f"going on with {request_id}"
    assert after[-2:] == ["COMPLETED", f"saved {request_id}.mp4"]
    seen = [int(step) for step in re.findall(r"^step (\d+) of 50$", "\n".join(before + after), re.MULTILINE)]
    assert sorted(set(seen)) == list(range(1, 51))
    assert len(seen) <= 51  # the one that was dealt with and not yet noted may come again
    examples.assert_videos(f"{request_id}.mp4")


async def test_download_today(examples: Examples, deployment: Deployment) -> None:
    await examples.run("handle_errors.py")  # whose request is cancelled
    await deployment.worker(step_s=0.01)
    await examples.run("text_to_video.py")
    (got,) = await examples.run("download_today.py")
    assert re.fullmatch(r"got videos/[0-9a-f-]{36}\.mp4: A garden comes to life .*", got)
    (video,) = (examples.folder / "videos").iterdir()
    assert video.read_bytes() == (examples.folder / "garden.mp4").read_bytes()
    assert await examples.run("download_today.py") == [f"has videos/{video.name}"]


async def test_handle_errors(examples: Examples, deployment: Deployment) -> None:
    assert await examples.run("handle_errors.py") == [
        "refused: text_to_video.prompt must not be blank",
        "refused: text_to_video.num_inference_steps must be greater than or equal to 1 and less than or equal to 50",
        f"ENDPOINT_NOT_FOUND: there is no no/such-model, there is {deployment.endpoint}",
        "one request: True",
        "the key belongs to this very request: True",
        "cancelled: whoever wants it after all submits it again",
    ]


def test_the_readme_names_every_example() -> None:
    named = set(re.findall(r"^\| \[(\w+\.py)\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE))
    assert named == {path.name for path in EXAMPLES.glob("*.py")}
