"""Running a caller and reading what it prints. All of them take the same options and print the same lines."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
_REQUEST = re.compile(r"Request (\S+):")


@dataclass(frozen=True)
class Program:
    """A caller that `make test-clients` has built."""

    language: str
    command: tuple[str, ...]
    built: str  # what lies in its folder then
    first_video: tuple[str, ...] = ()  # the short program that its page begins with
    first_source: str = ""  # and where its source lies

    def __str__(self) -> str:
        return self.language

    def require(self) -> None:
        """Fail with what to do if it has not been built."""
        built = EXAMPLES / self.language / self.built
        assert built.exists(), f"{built} has not been built: run make test-clients"

    @asynccontextmanager
    async def running(self, address: str, api_key: str, *arguments: str, **environment: str) -> AsyncIterator[Run]:
        """Run it against a service; it is stopped at the end of the block."""
        async with _running((*self.command, *arguments), address, api_key, None, environment) as run:
            yield run

    @asynccontextmanager
    async def making_a_first_video(self, address: str, api_key: str, folder: Path) -> AsyncIterator[Run]:
        """Run the short program in a folder, likewise."""
        async with _running(self.first_video, address, api_key, folder, {}) as run:
            yield run


@asynccontextmanager
async def _running(
    command: tuple[str, ...], address: str, api_key: str, folder: Path | None, environment: Mapping[str, str]
) -> AsyncIterator[Run]:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, **environment, "COGREEL_ADDRESS": address, "COGREEL_API_KEY": api_key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Run(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _in_examples(path: str) -> str:
    return str(EXAMPLES / path)


PROGRAMS = [
    Program("typescript", ("node", _in_examples("typescript/dist/src/main.js")), "dist/src/main.js"),
    Program("go", (_in_examples("go/caller"),), "caller"),
    Program(
        "node",
        ("node", _in_examples("node/src/main.js")),
        "node_modules/.installed",
        ("node", _in_examples("node/first_video.js")),
        "first_video.js",
    ),
    Program("cpp", (_in_examples("cpp/caller"),), "caller", (_in_examples("cpp/first_video"),), "first_video.cpp"),
    Program(
        "java",
        ("java", "-jar", _in_examples("java/caller.jar")),
        "caller.jar",
        ("java", "-cp", _in_examples("java/caller.jar"), "cogreel.example.FirstVideo"),
        "src/cogreel/example/FirstVideo.java",
    ),
    Program(
        "ruby",
        ("ruby", _in_examples("ruby/main.rb")),
        "gen/cogreel",
        ("ruby", _in_examples("ruby/first_video.rb")),
        "first_video.rb",
    ),
]


class Run:
    """One run of a caller."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []

    async def prints(self, start: str) -> None:
        """Wait for a line that starts so."""
        while await self._next():
            if self.lines[-1].startswith(start):
                return
        raise AssertionError(f"it ended without {start!r}: {self.lines}")

    async def ends(self) -> int:
        """Wait for its end; returns its exit status."""
        while await self._next():
            pass
        print(*self.lines, sep="\n")  # pytest shows it if the test fails
        return await self._process.wait()

    async def _next(self) -> bool:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if line:
            self.lines.append(line.decode().strip())
        return bool(line)

    @property
    def request_ids(self) -> list[str]:
        """The requests that it made: the video, then the one that it cancelled."""
        return [found[1] for line in self.lines if (found := _REQUEST.match(line))]

    def with_prefix(self, prefix: str) -> list[str]:
        """What follows a prefix, on each line that has it."""
        return [line.removeprefix(prefix) for line in self.lines if line.startswith(prefix)]

    def denoised(self) -> list[int]:
        """The denoising steps that it was told of."""
        return [int(progress.partition("/")[0]) for progress in self.with_prefix("DENOISE ")]
