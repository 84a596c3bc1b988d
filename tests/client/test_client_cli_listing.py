"""`list`, `logs`, `open` and `completion`: what they print, and what they leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner
from cogreel.cli import main
from cogreel.cli.exit_codes import ExitCode
from cogreel.cli.request_table import print_table
from cogreel.v1 import queue_pb2
from cogreel.v1.queue_pb2 import ListRequestsRequest, ListRequestsResponse
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from tests.client.command import run
from tests.client.file_server import FileServer
from tests.client.scripted_service import REQUEST_ID, Refuse, ScriptedService, event, status, step, whole_course

OTHER_ID = "11111111-3f0e-4a37-9a0c-0d5a7a1b2c3d"
REQUESTS = [
    status("QUEUED", request_id=OTHER_ID, position=2, title="a garden"),
    status("COMPLETED", attempt=1, seconds=10, started_time=Timestamp(seconds=1893456003), title="a\tlighthouse"),
]


def listings(service: ScriptedService) -> list[ListRequestsRequest]:
    return [request for request in service.requests if isinstance(request, ListRequestsRequest)]


@pytest.fixture
def listed(service: ScriptedService) -> ScriptedService:
    """A service with two requests."""
    service.answer("ListRequests", ListRequestsResponse(requests=REQUESTS))
    return service


def test_a_pipe_gets_fields_between_tabs(listed: ScriptedService) -> None:
    told = run(listed, "list")
    assert (told.exit_code, told.stderr) == (0, "")
    assert [line.split("\t") for line in told.stdout.splitlines()] == [
        [OTHER_ID, "QUEUED", "fal-ai/cogvideox-5b", "2030-01-01T00:00:00Z", "-", "-", "a garden"],
        [
            REQUEST_ID,
            "COMPLETED",
            "fal-ai/cogvideox-5b",
            "2030-01-01T00:00:00Z",
            "2030-01-01T00:00:03Z",
            "2030-01-01T00:00:10Z",
            "a lighthouse",
        ],
    ]


def test_json_is_a_message_of_the_contract_a_line(listed: ScriptedService) -> None:
    lines = [json.loads(line) for line in run(listed, "list", "--json").stdout.splitlines()]
    assert [line["request_id"] for line in lines] == [OTHER_ID, REQUEST_ID]
    assert lines[0]["state"] == "REQUEST_STATE_QUEUED"


def test_filters_reach_the_service(listed: ScriptedService) -> None:
    run(listed, "list", "--state", "failed", "--state", "RUNNING", "--endpoint", "small", "--since", "2h", "-n", "5")
    (asked,) = listings(listed)
    assert asked.states == [queue_pb2.REQUEST_STATE_FAILED, queue_pb2.REQUEST_STATE_RUNNING]
    assert asked.endpoint == "small"
    ago = datetime.now(UTC) - asked.queued_after.ToDatetime(tzinfo=UTC)
    assert abs(ago - timedelta(hours=2)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("when", "days_ago"), [("today", 0), ("yesterday", 1), ("2026-01-31", None), ("2026-01-31T00:00", None)]
)
def test_days_begin_at_local_midnight(listed: ScriptedService, when: str, days_ago: int | None) -> None:
    run(listed, "list", "--since", when)
    since = listings(listed)[0].queued_after.ToDatetime(tzinfo=UTC).astimezone()
    assert (since.hour, since.minute, since.second) == (0, 0, 0)
    if days_ago is not None:
        assert since.date() == (datetime.now().astimezone() - timedelta(days=days_ago)).date()


def test_a_time_that_is_none_is_a_usage_error(listed: ScriptedService) -> None:
    told = run(listed, "list", "--since", "recently")
    assert told.exit_code == ExitCode.INVALID_INPUT
    assert "yesterday" in told.stderr
    assert listed.requests == []


def test_what_is_left_out_is_told(listed: ScriptedService) -> None:
    told = run(listed, "list", "--limit", "1")
    assert len(told.stdout.splitlines()) == 1
    assert "--limit 2, or --all" in told.stderr
    assert "--all" not in run(listed, "list", "--limit", "2").stderr


def test_all_goes_through_all_pages(listed: ScriptedService) -> None:
    page = ListRequestsResponse(requests=REQUESTS, next_page_token="more")
    listed.answer("ListRequests", page, page, ListRequestsResponse(requests=REQUESTS))
    assert len(run(listed, "list", "--all").stdout.splitlines()) == 6


def test_a_terminal_gets_a_table_that_fits() -> None:
    failed = status("FAILED", attempt=3, seconds=2)
    failed.failure.message = "out of memory, with much more to say about why that was so"
    screen = StringIO()
    running = status("RUNNING", attempt=1, progress=step(2, 1.5))
    print_table([*REQUESTS, running, failed], Console(file=screen, width=80))
    lines = screen.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    head, queued, completed, denoising, broken = lines
    assert head.split() == ["REQUEST", "STATE", "QUEUED", "TOOK", "PROMPT"]
    assert queued.startswith(f"{OTHER_ID}  queued, ")
    assert "a garden" in queued
    assert "7.0 s" in completed
    assert "denoise" in denoising
    assert "failed: " in broken
    assert "…" in broken


def test_a_wide_terminal_cuts_nothing() -> None:
    title = "A garden comes to life as a kaleidoscope of butterflies flutters amidst the blo…"
    screen = StringIO()
    print_table([status("QUEUED", position=2, title=title)], Console(file=screen, width=160))
    assert "queued, 2 ahead" in screen.getvalue()
    assert title in screen.getvalue()


def test_endpoints_are_shown_where_they_differ() -> None:
    screen = StringIO()
    print_table([*REQUESTS, status("QUEUED", endpoint="small")], Console(file=screen, width=120))
    assert "ENDPOINT" in screen.getvalue()
    assert "fal-ai/cogvideox-5b" in screen.getvalue()


LINES = [
    queue_pb2.LogLine(attempt=1, level=queue_pb2.LOG_LEVEL_INFO, message="hello"),
    queue_pb2.LogLine(attempt=1, level=queue_pb2.LOG_LEVEL_WARN, message="cut"),
]


def test_logs_prints_the_lines_so_far(service: ScriptedService) -> None:
    answer = queue_pb2.GetStatusResponse(status=status("RUNNING", attempt=1), logs=LINES, logs_truncated=True)
    service.answer("GetStatus", answer)
    told = run(service, "logs", REQUEST_ID)
    assert [line.split(" ", 1)[1] for line in told.stdout.splitlines()] == ["hello", "warn: cut"]
    assert told.stderr == "(older log lines have expired)\n"
    lines = [json.loads(line) for line in run(service, "logs", REQUEST_ID, "--json").stdout.splitlines()]
    assert [line["message"] for line in lines] == ["hello", "cut"]


def test_logs_follows_to_the_end_across_a_broken_connection(service: ScriptedService) -> None:
    outage = Refuse(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", "going away")
    failed = status("FAILED", attempt=1)
    failed.failure.message = "out of memory"
    service.answer(
        "WatchStatus",
        [*whole_course()[:3], event("c3", log=LINES[0]), outage],
        [event("c4", log=LINES[1]), event("c5", state=failed)],
    )
    told = run(service, "logs", "-f", REQUEST_ID)
    assert told.exit_code == 0
    assert [line.split(" ", 1)[1] for line in told.stdout.splitlines()] == ["hello", "warn: cut"]
    assert told.stderr.splitlines()[-1] == "failed: out of memory"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `open` keeps videos."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cogreel"


@pytest.fixture
def completed(service: ScriptedService, files: FileServer) -> ScriptedService:
    """A service with a video."""
    service.answer("GetResult", queue_pb2.GetResultResponse(request_id=REQUEST_ID, video=files.output()))
    return service


def test_open_fetches_once_and_prints_the_path(completed: ScriptedService, files: FileServer, cache: Path) -> None:
    for _ in range(2):
        told = run(completed, "open", REQUEST_ID)
        assert (told.exit_code, told.stdout) == (0, f"{cache / REQUEST_ID}.mp4\n")
    assert (cache / f"{REQUEST_ID}.mp4").read_bytes() == files.content
    assert files.hits == 1


def test_a_cached_video_that_was_tampered_with_is_fetched_again(
    completed: ScriptedService, files: FileServer, cache: Path
) -> None:
    cache.mkdir(parents=True)
    (cache / f"{REQUEST_ID}.mp4").write_bytes(files.content[:-1] + b"x")
    assert run(completed, "open", REQUEST_ID).exit_code == 0
    assert (cache / f"{REQUEST_ID}.mp4").read_bytes() == files.content


def test_open_does_not_replace_another_file_unasked(
    completed: ScriptedService, files: FileServer, tmp_path: Path
) -> None:
    path = tmp_path / "garden.mp4"
    path.write_text("mine")
    told = run(completed, "open", REQUEST_ID, "-o", str(path))
    assert told.exit_code == ExitCode.FILE_PROBLEM
    assert "--force" in told.stderr
    assert path.read_text() == "mine"
    for arguments in (["--force"], []):  # the second time it is this very video
        assert run(completed, "open", REQUEST_ID, "-o", str(path), *arguments).exit_code == 0
    assert path.read_bytes() == files.content


def test_open_of_what_is_not_finished_says_how_to_follow_it(service: ScriptedService, cache: Path) -> None:
    service.answer("GetResult", Refuse(grpc.StatusCode.FAILED_PRECONDITION, "REQUEST_NOT_FINISHED"))
    told = run(service, "open", REQUEST_ID)
    assert told.exit_code == ExitCode.NOT_FINISHED
    assert f"cogreel watch {REQUEST_ID}" in told.stderr
    assert not cache.exists()


def complete(service: ScriptedService | None, *words: str, shell: str = "bash") -> list[str]:
    """What the shell is offered for the last word."""
    address = service.address if service is not None else "localhost:1"
    environment = {
        "PATH": os.environ["PATH"],
        "COGREEL_ADDRESS": address,
        "COGREEL_API_KEY": "key",
        "_COGREEL_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(["cogreel", *words]),
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words)),
    }
    program = [sys.executable, "-c", "from cogreel.cli import main; main(prog_name='cogreel')"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.split()


def test_request_ids_are_completed_from_those_that_the_command_is_for(listed: ScriptedService) -> None:
    assert complete(listed, "status", "") == [f"plain,{OTHER_ID}", f"plain,{REQUEST_ID}"]
    assert complete(listed, "cancel", REQUEST_ID[:3]) == [f"plain,{REQUEST_ID}"]
    assert complete(listed, "open", "", shell="zsh")[:3] == ["plain", OTHER_ID, "queued"]
    assert complete(listed, "logs", OTHER_ID[:3], shell="fish") == [f"plain,{OTHER_ID}", "queued"]
    anything, unfinished, finished, _ = [list(request.states) for request in listings(listed)]
    assert anything == []
    assert unfinished == [queue_pb2.REQUEST_STATE_QUEUED, queue_pb2.REQUEST_STATE_RUNNING]
    assert finished == [queue_pb2.REQUEST_STATE_COMPLETED]


def test_completion_is_silent_where_the_service_is_not(service: ScriptedService) -> None:
    assert complete(None, "status", "") == []
    service.answer("ListRequests", Refuse(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"))
    assert complete(service, "status", "") == []
    assert complete(None, "--address", "ftp://there", "status", "") == []


def test_a_real_bash_completes(listed: ScriptedService, tmp_path: Path) -> None:
    program = tmp_path / "cogreel"
    program.write_text(f"#!{sys.executable}\nfrom cogreel.cli import main\nmain()\n")
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "COGREEL_ADDRESS": listed.address}
    script = CliRunner().invoke(main, ["completion", "bash"]).stdout
    typed = f"COMP_WORDS=(cogreel status {REQUEST_ID[:3]}); COMP_CWORD=2; _cogreel_completion cogreel; echo $COMPREPLY"
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{typed}"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{REQUEST_ID}\n"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_their_script(shell: str) -> None:
    told = CliRunner().invoke(main, ["completion", shell])
    assert told.exit_code == 0
    assert f"_COGREEL_COMPLETE={shell}_complete" in told.stdout
