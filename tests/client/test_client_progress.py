"""Progress bars by tqdm and rich, drawn from the updates of a request."""

from __future__ import annotations

import subprocess
import sys
from io import StringIO

import pytest
from cogreel import RichProgress, TqdmProgress, Update
from cogreel.updates import update_from_message
from cogreel.v1.queue_pb2 import WatchStatusResponse
from rich.console import Console
from rich.progress import Progress

from tests.client.scripted_service import event, status, whole_course


def updates(messages: list[WatchStatusResponse]) -> list[Update]:
    return [update for message in messages if (update := update_from_message(message)) is not None]


def test_tqdm_shows_the_queue_the_steps_and_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    progress = TqdmProgress("garden")
    for update in updates(whole_course()):
        progress(update)
    out, err = capsys.readouterr()
    drawn = [line.strip() for line in err.split("\r")]
    for shown in ("garden queued, 2 ahead", "garden queued, next in line", "garden prepare", "garden denoise:  33%"):
        assert any(line.startswith(shown) for line in drawn), shown
    assert drawn[-1].startswith("garden completed: 100%")
    assert "3/3" in drawn[-1]
    assert out == "warn: the prompt was cut to 226 tokens\n"


def test_another_attempt_begins_anew(capsys: pytest.CaptureFixture[str]) -> None:
    course = whole_course()
    again = event("c8", state=status("RUNNING", attempt=2))
    failed = event("c9", state=status("FAILED", attempt=2))
    with TqdmProgress() as progress:
        for update in updates([*course[:7], again, course[5], failed]):
            progress(update)
    drawn = [line.strip() for line in capsys.readouterr().err.split("\r")]
    assert any(line.startswith("denoise:  67%") for line in drawn)
    assert any(line.startswith("running [") for line in drawn)
    assert drawn[-1].startswith("failed:  33%")


def test_rich_shows_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    progress = RichProgress("[bold]garden[/bold]")
    for update in updates(whole_course()):
        progress(update)
    progress.close()
    out, err = capsys.readouterr()
    assert out == ""
    assert "[bold]garden[/bold] completed" in err
    assert "3/3" in err
    assert "warn: the prompt was cut to 226 tokens" in err


def test_several_requests_share_a_display_of_rich() -> None:
    screen = StringIO()
    with Progress(console=Console(file=screen, width=100)) as display:
        bars = [RichProgress(title, progress=display) for title in ("garden", "lighthouse")]
        for update in updates(whole_course()):
            for bar in bars:
                bar(update)
        assert [task.description for task in display.tasks] == ["garden completed", "lighthouse completed"]
    assert "lighthouse completed" in screen.getvalue()


def test_a_bar_that_nobody_closes_gives_the_cursor_back() -> None:
    program = (
        "from rich.console import Console\nfrom cogreel import RichProgress\n"
        "bar = RichProgress('garden')\nraise RuntimeError('the watch broke off')\n"
    )
    environment = {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.rindex("\x1b[?25h") > done.stderr.rindex("\x1b[?25l")
