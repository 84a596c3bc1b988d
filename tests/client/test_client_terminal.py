"""The command as a process of its own: Ctrl-C, terminals, start-up."""

from __future__ import annotations

import contextlib
import errno
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from cogreel.cli.exit_codes import ExitCode
from cogreel.v1 import queue_pb2

from tests.client.file_server import FileServer
from tests.client.scripted_service import REQUEST_ID, Hold, Refuse, ScriptedService, event, status, whole_course

PROGRAM = [sys.executable, "-m", "cogreel"]


class Terminal:
    """The command on a pseudo-terminal: what it shows, and keys to press."""

    def __init__(self, *arguments: str) -> None:
        self._keyboard, screen = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments], stdin=screen, stderr=screen, stdout=subprocess.PIPE, text=True, env=environment
        )
        os.close(screen)
        self.shown = ""

    def wait_for(self, text: str) -> None:
        """Read the screen until `text` has appeared on it."""
        while text not in self.shown:
            more = self._read()
            assert more, f"the command ended without showing {text!r}: {self.shown}"

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def interrupt_until_it_ends(self) -> None:
        """Press Ctrl-C as people do: again, where it came a moment too early for Python's `input` to notice."""
        while self.process.poll() is None:
            self.interrupt()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=1)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._keyboard, text.encode())

    def finish(self) -> int:
        """Read on to the end; returns the exit code."""
        while self._read():
            pass
        return self.process.wait(timeout=20)

    def _read(self) -> str:
        try:
            more = os.read(self._keyboard, 4096).decode(errors="replace")
        except OSError as error:
            if error.errno != errno.EIO:  # what Linux says once nobody has the screen open
                raise
            return ""
        self.shown += more
        return more

    def close(self) -> None:
        """Let go of the terminal, and of a command that still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._keyboard)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def terminal(service: ScriptedService, tmp_path: Path) -> Iterator[Terminal]:
    """`cogreel generate` on a terminal, in the middle of denoising."""
    service.answer("Submit", queue_pb2.SubmitResponse(request_id=REQUEST_ID, status=status("QUEUED")))
    cancelled = event("c7", state=status("CANCELLED", attempt=1))
    service.answer("WatchStatus", [*whole_course()[:7], Hold()], cancelled)
    service.answer("Cancel", queue_pb2.CancelResponse(status=status("CANCELLED")))
    service.answer("GetResult", Refuse(grpc.StatusCode.FAILED_PRECONDITION, "REQUEST_CANCELLED", "it was cancelled"))
    terminal = Terminal("--address", service.address, "generate", "a garden", "-o", str(tmp_path / "garden.mp4"))
    yield terminal
    terminal.close()


def test_a_terminal_shows_stages_and_a_bar(terminal: Terminal) -> None:
    terminal.wait_for("2/3")
    for shown in (
        "a garden",
        "seed 42",
        "on gpu-0, attempt 1 of 3",
        "✓",
        "prepare",
        "denoise",
        "━",
        "upload",
        "226 tokens",
    ):
        assert shown in terminal.shown


def test_ctrl_c_offers_to_cancel(terminal: Terminal, service: ScriptedService) -> None:
    terminal.wait_for("2/3")
    terminal.interrupt()
    terminal.wait_for("cancel it (c)?")
    assert service.asked("Cancel") == []
    terminal.type("c\n")
    assert terminal.finish() == ExitCode.REQUEST_CANCELLED
    assert len(service.asked("Cancel")) == 1


def test_ctrl_c_offers_to_leave_the_request_alone(terminal: Terminal, service: ScriptedService) -> None:
    terminal.wait_for("2/3")
    terminal.interrupt()
    terminal.wait_for("cancel it (c)?")
    terminal.type("l\n")
    assert terminal.finish() == ExitCode.INTERRUPTED
    assert f"cogreel watch {REQUEST_ID}" in terminal.shown
    assert service.asked("Cancel") == []


def test_a_second_ctrl_c_leaves(terminal: Terminal, service: ScriptedService) -> None:
    terminal.wait_for("2/3")
    terminal.interrupt()
    terminal.wait_for("cancel it (c)?")
    terminal.interrupt_until_it_ends()
    assert terminal.finish() == ExitCode.INTERRUPTED
    assert f"cogreel watch {REQUEST_ID}" in terminal.shown
    assert service.asked("Cancel") == []


def test_ctrl_c_offers_to_watch_on(terminal: Terminal, service: ScriptedService) -> None:
    terminal.wait_for("2/3")
    terminal.interrupt()
    terminal.wait_for("cancel it (c)?")
    terminal.type("w\n")
    assert terminal.finish() == ExitCode.REQUEST_CANCELLED  # which the script has come to in the meantime
    assert [request.cursor for request in watches(service)] == ["", "c6"]


def test_without_a_terminal_ctrl_c_leaves(service: ScriptedService, tmp_path: Path) -> None:
    service.answer("Submit", queue_pb2.SubmitResponse(request_id=REQUEST_ID, status=status("QUEUED")))
    service.answer("WatchStatus", [*whole_course()[:7], Hold()])
    command = [*PROGRAM, "--address", service.address, "generate", "a garden", "-o", str(tmp_path / "garden.mp4")]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    service.holding.wait()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert process.returncode == ExitCode.INTERRUPTED
    assert f"cogreel watch {REQUEST_ID}" in told
    assert "Traceback" not in told
    assert service.asked("Cancel") == []


def test_ctrl_c_while_submitting_tells_the_idempotency_key(service: ScriptedService) -> None:
    service.answer("Submit", Hold())
    process = subprocess.Popen(
        [*PROGRAM, "--address", service.address, "submit", "a garden"], stderr=subprocess.PIPE, text=True
    )
    service.holding.wait()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert process.returncode == ExitCode.INTERRUPTED
    (submitted,) = (request for request in service.requests if isinstance(request, queue_pb2.SubmitRequest))
    assert f"--idempotency-key {submitted.idempotency_key}" in told


def test_a_reader_that_leaves_ends_the_command_quietly(service: ScriptedService) -> None:
    service.answer("WatchStatus", [*(whole_course()[:7] * 2000), Hold()])
    command = [*PROGRAM, "--address", service.address, "watch", REQUEST_ID, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=20) == 1
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


def open_on(desktop: dict[str, str], service: ScriptedService, folder: Path, *arguments: str) -> str:
    """`cogreel open` on a terminal, with a player that writes what it plays into `folder`/played; what it printed."""
    os.mkfifo(folder / "played")
    player = folder / "xdg-open"
    player.write_text(f'#!/bin/sh\nprintf %s "$1" > {folder}/played\n')
    player.chmod(0o755)
    keyboard, screen = pty.openpty()
    command = [*PROGRAM, "--address", service.address, "open", REQUEST_ID, *arguments]
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(folder), **desktop}
    assert subprocess.run(command, stdout=screen, env=environment, timeout=20, check=False).returncode == 0
    os.close(screen)
    printed = os.read(keyboard, 4096).decode().strip()
    os.close(keyboard)
    return printed


@pytest.fixture
def video(service: ScriptedService, files: FileServer) -> bytes:
    """A finished request; the content of its video."""
    service.answer("GetResult", queue_pb2.GetResultResponse(request_id=REQUEST_ID, video=files.output()))
    return files.content


@pytest.mark.parametrize("desktop", [{"DISPLAY": ":0"}, {"WAYLAND_DISPLAY": "wayland-0"}], ids=["X11", "Wayland"])
def test_open_plays_where_there_is_a_display(
    service: ScriptedService, video: bytes, tmp_path: Path, desktop: dict[str, str]
) -> None:
    path = open_on(desktop, service, tmp_path)
    assert Path(path).read_bytes() == video
    assert (tmp_path / "played").read_text() == path  # a pipe: this waits for the player


@pytest.mark.parametrize(
    ("arguments", "desktop"), [(["--print"], {"DISPLAY": ":0"}), ([], {})], ids=["--print", "no display"]
)
def test_open_prints_the_path_alone_elsewhere(
    service: ScriptedService, video: bytes, tmp_path: Path, arguments: list[str], desktop: dict[str, str]
) -> None:
    path = open_on(desktop, service, tmp_path, *arguments)
    assert Path(path).read_bytes() == video
    with open(os.open(tmp_path / "played", os.O_RDONLY | os.O_NONBLOCK)) as played:  # noqa: PTH123 - it is open already
        assert played.read() == ""


def test_help_waits_for_neither_grpc_nor_rich() -> None:
    listing = "import sys; from cogreel.cli import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", listing], check=True, capture_output=True, text=True)
    loaded = done.stdout.splitlines()[-1].split()
    assert "click" in loaded
    assert not {"grpc", "rich", "google.protobuf", "urllib.request"} & set(loaded)


def watches(service: ScriptedService) -> list[queue_pb2.WatchStatusRequest]:
    """The streams that were opened."""
    return [request for request in service.requests if isinstance(request, queue_pb2.WatchStatusRequest)]
