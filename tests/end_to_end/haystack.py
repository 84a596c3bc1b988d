"""Everything that a run has said, to look for secrets in."""

from __future__ import annotations

import base64
import os
import sys
from asyncio.subprocess import PIPE, STDOUT, create_subprocess_exec
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import grpc
import psutil

from jobs.broker import Broker, BrokerSettings
from jobs.errors import BrokerUnavailableError
from jobs.subjects import KEYS, LOG, REQ


@dataclass
class Haystack:
    """What was said, by where it was found. What a process is asked to tell its user is not put in."""

    said: dict[str, bytes] = field(default_factory=dict)

    def add(self, where: str, text: str | bytes) -> None:
        """Put something in."""
        self.said[where] = self.said.get(where, b"") + (text if isinstance(text, bytes) else text.encode())

    def add_error(self, where: str, error: grpc.aio.AioRpcError) -> None:
        """Put in all that a caller is told of an error."""
        self.add(where, f"{error!r} {error.details()}")
        for name, value in (*(error.initial_metadata() or ()), *(error.trailing_metadata() or ())):
            self.add(where, f"{name}: ")
            self.add(where, value)

    def add_files(self, folder: Path) -> None:
        """Put in all files of a folder."""
        for path in folder.iterdir():
            self.add(path.name, path.read_bytes())

    def add_command_lines(self, processes: list[psutil.Process]) -> None:
        """Put in what anyone on the machine sees of processes."""
        for process in processes:
            self.add(f"command line of {process.name()}", " ".join(process.cmdline()))

    async def add_streams(self, nats_url: str) -> None:
        """Put in every message of every stream, with its subject."""
        async with Broker(BrokerSettings(url=nats_url, name="test")) as broker:
            for stream in (REQ, LOG, KEYS):
                last = await broker.last(stream, ">")
                if last is None:
                    raise BrokerUnavailableError(f"{stream} is empty")
                for stored in await broker.read(stream, 1, ">", anchor=last.seq):
                    self.add(f"stream {stream}", stored.subject.encode() + b" " + stored.data)

    async def add_command(self, *arguments: str, **environment: str) -> int:
        """Run one of our commands to its end, or for 15 s, and put in what it prints; returns its exit status."""
        process = await create_subprocess_exec(
            *(sys.executable, "-m", *arguments), env=os.environ | environment, stdout=PIPE, stderr=STDOUT
        )
        printed, _ = await process.communicate()
        self.add(f"python -m {' '.join(arguments)}", printed)
        assert process.returncode is not None
        return process.returncode

    def holding(self, secret: str) -> list[str]:
        """Where a secret is found, as it is, in base64, in hexadecimal or escaped."""
        plain = secret.encode()
        forms = {plain, quote(secret, safe="").encode(), plain.hex().encode(), base64.b64encode(plain).rstrip(b"=")}
        return [where for where, said in self.said.items() if any(form in said for form in forms)]
