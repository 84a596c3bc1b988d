"""The page of a caller's first hour is true: its commands and programs run, in order, and its errors are as it says."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from pathlib import Path

from tests.deployment import Deployment

PAGE = (Path(__file__).parents[2] / "docs" / "callers.md").read_text()


@dataclass(frozen=True)
class Command:
    """A command of the page."""

    text: str
    shown: str
    """What the page shows below it."""

    @property
    def is_refused(self) -> bool:
        """Whether the page shows it failing."""
        return self.shown.startswith("error:")


def commands() -> list[Command]:
    """The commands of all console blocks, in order."""
    return [
        Command(text, shown.strip())
        for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
        for text, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    ]


async def run(deployment: Deployment, folder: Path, *program: str) -> tuple[str, str]:
    """A program, with a key of its own, where `cogreel` is on the path; what it printed on stdout and stderr."""
    port = await deployment.service()
    await deployment.worker(step_s=0.002)
    environment = os.environ | {
        "COGREEL_ADDRESS": f"127.0.0.1:{port}",
        "COGREEL_API_KEY": (await deployment.caller(port)).api_key,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    process = await asyncio.create_subprocess_exec(*program, cwd=folder, env=environment, stdout=PIPE, stderr=PIPE)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode(), err.decode()


async def test_its_commands_do_what_it_shows(deployment: Deployment, tmp_path: Path) -> None:
    script = "\n".join(f"{command.text}\necho @$? >&2" for command in commands())
    _, err = await run(deployment, tmp_path, "bash", "-c", script)
    told = re.findall(r"(.*?)@(\d+)\n", err, re.DOTALL)
    assert len(told) == len(commands()) > 8
    for command, (said, exit_code) in zip(commands(), told, strict=True):
        assert (exit_code != "0") == command.is_refused, f"{command.text}: {said}"
        if command.is_refused:
            assert without_ids(said).strip() == without_ids(command.shown)
    assert (tmp_path / "lighthouse.mp4").stat().st_size > 1000
    assert len(list((tmp_path / "cache" / "cogreel").iterdir())) == 1


async def test_its_programs_run(deployment: Deployment, tmp_path: Path) -> None:
    programs = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    out, _ = await run(deployment, tmp_path, sys.executable, "-c", "\n".join(programs))
    assert out.startswith("42 0:00:")
    assert "\nQUEUED\n" in out
    assert "\ndenoise 20 20\n" in out
    assert "'A lynx in the snow'" in out
    assert "text_to_video.num_inference_steps must be greater" in out
    assert len(list(tmp_path.glob("*.mp4"))) == 2


def without_ids(text: str) -> str:
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", text)
