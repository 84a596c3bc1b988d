"""What a person sees of a request: stages, times, places in the queue, and why things went wrong."""

from __future__ import annotations

from io import StringIO

import pytest
from cogreel.cli import wording
from cogreel.cli.live_view import LiveView
from cogreel.updates import Update, update_from_message
from cogreel.v1 import queue_pb2
from cogreel.v1.queue_pb2 import WatchStatusResponse
from rich.console import Console

from tests.client.scripted_service import REQUEST_ID, event, status, step, whole_course


def update(message: WatchStatusResponse) -> Update:
    made = update_from_message(message)
    assert made is not None
    return made


def drawn(messages: list[WatchStatusResponse], *, note: str = "") -> list[str]:
    """The lines on the screen after these messages, without spaces at their ends."""
    screen = Console(file=StringIO(), force_terminal=True, width=80, color_system=None)
    view = LiveView("a garden", screen)
    with view:
        for message in messages:
            view.show(update(message))
        if note:
            view.note(note)
    paper = Console(file=StringIO(), width=80, record=True)
    paper.print(view.render())
    return [line.rstrip() for line in paper.export_text().splitlines()]


def row(lines: list[str], stage: str) -> str:
    """The line of a stage, its spaces folded."""
    return next(" ".join(line.split()) for line in lines if stage in line)


def test_a_queued_request_shows_its_place() -> None:
    lines = drawn(whole_course()[:1])
    assert "a garden" in lines[0]
    assert lines[1].strip() == f"{REQUEST_ID} · seed 42"
    assert "2 ahead" in row(lines, "queue")
    assert "next in line" in row(drawn(whole_course()[:2]), "queue")
    assert row(lines, "denoise") == "· denoise"


def test_a_held_request_says_why() -> None:
    held = event("c1", state=status("QUEUED", position=2, held=True))
    moved = event("c2", position=queue_pb2.QueuePosition(position=0))
    assert "held by your limit of running requests, 2 of your own" in row(drawn([held]), "queue")
    assert "held by your limit of running requests, next of your own" in row(drawn([held, moved]), "queue")


def test_a_running_request_shows_a_bar_and_what_is_left() -> None:
    lines = drawn(whole_course()[:7])
    assert row(lines, "queue") == "✓ queue on gpu-0, attempt 1 of 3 3.0 s"
    assert row(lines, "prepare") == "✓ prepare 2.0 s"
    assert "━" in row(lines, "denoise")
    assert "2/3 1." in row(lines, "denoise")
    assert row(lines, "denoise").endswith("s left")
    assert row(lines, "decode") == "· decode"


def test_a_completed_request_shows_where_the_time_went() -> None:
    lines = drawn(whole_course())
    assert row(lines, "denoise") == "✓ denoise 3.0 s"
    assert row(lines, "interpolate") == "– interpolate"
    assert row(lines, "upload") == "✓ upload 0.4 s"


def test_a_cancelled_request_shows_where_it_broke_off() -> None:
    lines = drawn([*whole_course()[:7], event("c7", seconds=7, state=status("CANCELLED", attempt=1))])
    assert row(lines, "prepare").startswith("✓")
    assert row(lines, "denoise") == "✗ denoise cancelled 2.0 s"


def test_a_request_cancelled_in_the_queue_shows_that() -> None:
    lines = drawn([*whole_course()[:2], event("c3", seconds=7, state=status("CANCELLED"))])
    assert row(lines, "queue") == "✗ queue cancelled 7.0 s"


def test_another_attempt_begins_anew() -> None:
    again = status("RUNNING", attempt=2, worker="gpu-1")
    again.failed_attempts.add(attempt=1, message="the worker fell silent")
    lines = drawn([*whole_course()[:7], event("c7", seconds=20, state=again)])
    assert "on gpu-1, attempt 2 of 3" in row(lines, "queue")
    assert row(lines, "denoise") == "· denoise"
    assert wording.update_line(update(event("c7", state=again))) == (
        "running on gpu-1, attempt 2 of 3 - attempt 1 failed: the worker fell silent"
    )


def test_a_request_given_back_by_a_drained_worker_waits_again() -> None:
    given_back = event("c7", seconds=7, state=status("QUEUED", attempt=1, position=0))
    lines = drawn([*whole_course()[:7], given_back])
    assert "next in line" in row(lines, "queue")
    assert row(lines, "denoise") == "· denoise"


def test_an_outage_shows_until_the_next_update() -> None:
    assert "trying on" in drawn(whole_course()[:7], note="trying on")[-1]
    screen = LiveView("a garden", Console(file=StringIO(), force_terminal=True, width=80))
    with screen as view:
        view.note("trying on")
        view.show(update(event("c5", progress=step(1, 3))))
    paper = Console(file=StringIO(), width=80, record=True)
    paper.print(screen.render())
    assert "trying on" not in paper.export_text()


def test_nothing_from_elsewhere_steers_the_terminal() -> None:
    line = queue_pb2.LogLine(attempt=1, level=queue_pb2.LOG_LEVEL_INFO, message="\x1b]0;title\x07 [bold]done[/bold]")
    screen = StringIO()
    view = LiveView("\x1b[2J garden", Console(file=screen, force_terminal=True, width=80, color_system=None))
    with view:
        view.show(update(event("c1", log=line)))
    assert "\x1b]0;" not in screen.getvalue()
    assert "\x1b[2J" not in screen.getvalue()
    assert "[bold]done[/bold]" in screen.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.0 s"), (9.96, "10.0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (125, "2 min 05 s")]
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


def test_a_failure_is_told_in_words() -> None:
    failed = status("FAILED", attempt=3)
    failed.failure.message = "out of memory"
    failed.failed_attempts.add(attempt=1, message="out of memory")
    assert wording.update_line(update(event("c1", state=failed))) == "failed: out of memory"
    assert ("earlier", "attempt 1 failed: out of memory") in wording.status_rows(failed)


def test_expired_lines_are_told() -> None:
    line = wording.update_line(update(event("c1", log_truncated=queue_pb2.LogTruncated(attempt=1))))
    assert line == "some earlier steps and log lines have expired"
