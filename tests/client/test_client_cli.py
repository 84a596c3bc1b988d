"""The command: what it prints, where, and what it ends with."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner
from cogreel.cli import main
from cogreel.cli.exit_codes import ExitCode
from cogreel.connection import DEFAULT_ADDRESS
from cogreel.v1 import queue_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2

from tests.client.command import run
from tests.client.file_server import FileServer
from tests.client.scripted_service import REQUEST_ID, Refuse, ScriptedService, event, status, whole_course

README = Path(__file__).parents[2] / "client" / "README.md"


def test_generate_makes_a_file(garden: ScriptedService, files: FileServer, tmp_path: Path) -> None:
    path = tmp_path / "garden.mp4"
    told = run(garden, "generate", "a garden", "-o", str(path), "--seed", "42", "--size", "720x480", "--no-rife")
    assert told.exit_code == 0, told.stderr
    assert path.read_bytes() == files.content
    lines = told.stdout.splitlines()
    assert lines[0] == str(path)
    assert f"request  {REQUEST_ID}" in lines
    assert "seed     42" in lines
    assert "timings  denoise 42 s · total 48 s" in lines
    text = next(r for r in garden.requests if isinstance(r, queue_pb2.SubmitRequest)).text_to_video
    assert (text.prompt, text.seed, text.video_size.dimensions.width, text.use_rife) == ("a garden", 42, 720, False)


def test_progress_goes_to_stderr_one_line_an_event(garden: ScriptedService, tmp_path: Path) -> None:
    told = run(garden, "generate", "a garden", "-o", str(tmp_path / "garden.mp4"))
    shown = [line.split(" ", 1)[1] for line in told.stderr.splitlines()]
    assert shown == [
        "queued, 2 ahead",
        "next in line",
        "running on gpu-0, attempt 1 of 3",
        "prepare",
        "warn: the prompt was cut to 226 tokens",
        "denoise 1/3, 3.0 s left",
        "denoise 2/3, 1.5 s left",
        "denoise 3/3, 0.0 s left",
        "decode 6/6",
        "encode",
        "upload",
        "completed",
    ]


def test_generate_prints_one_line_of_json(garden: ScriptedService, tmp_path: Path) -> None:
    path = tmp_path / "garden.mp4"
    told = run(garden, "generate", "a garden", "-o", str(path), "--json")
    result = json.loads(told.stdout)
    assert (result["request_id"], result["path"]) == (REQUEST_ID, str(path))
    assert result["output"]["video"]["file_name"] == "video.mp4"
    assert result["output"]["seed"] == "42"  # 64-bit integers are text in protobuf JSON


def test_generate_names_the_file_after_the_request(
    garden: ScriptedService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(garden, "generate", "a garden").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == [f"{REQUEST_ID}.mp4"]


def test_a_file_in_the_way_is_told_before_anything_is_queued(garden: ScriptedService, tmp_path: Path) -> None:
    path = tmp_path / "garden.mp4"
    path.write_text("mine")
    told = run(garden, "generate", "a garden", "-o", str(path))
    assert told.exit_code == ExitCode.FILE_PROBLEM
    assert "--force" in told.stderr
    assert garden.requests == []
    assert run(garden, "generate", "a garden", "-o", str(path), "--force").exit_code == 0
    assert path.stat().st_size > 1000


@pytest.mark.parametrize("place", [".", "missing/garden.mp4"])
def test_a_place_where_no_file_can_be_is_told_before_anything_is_queued(
    garden: ScriptedService, tmp_path: Path, place: str
) -> None:
    told = run(garden, "generate", "a garden", "--force", "-o", str(tmp_path / place))
    assert told.exit_code == ExitCode.FILE_PROBLEM
    assert "folder" in told.stderr
    assert garden.requests == []


def test_submit_prints_the_id_alone(garden: ScriptedService) -> None:
    assert run(garden, "submit", "a garden").stdout == f"{REQUEST_ID}\n"


def test_watch_prints_the_messages_of_the_contract(garden: ScriptedService) -> None:
    lines = [json.loads(line) for line in run(garden, "watch", REQUEST_ID, "--json").stdout.splitlines()]
    assert [line["cursor"] for line in lines] == [message.cursor for message in whole_course()]
    assert lines[0]["state"]["state"] == "REQUEST_STATE_QUEUED"
    assert lines[5]["progress"] == {
        "attempt": 1,
        "stage": "STAGE_DENOISE",
        "step": 1,
        "total": 3,
        "eta": "3s",
    }


def test_watch_goes_on_from_a_cursor(garden: ScriptedService) -> None:
    garden.answer("WatchStatus", whole_course()[-1])
    assert run(garden, "watch", REQUEST_ID, "--cursor", "c10").exit_code == 0
    asked = garden.asked("WatchStatus")
    assert asked == [queue_pb2.WatchStatusRequest(request_id=REQUEST_ID, cursor="c10")]


def test_status_and_its_log(garden: ScriptedService) -> None:
    line = queue_pb2.LogLine(attempt=1, level=queue_pb2.LOG_LEVEL_ERROR, message="out of \x1b[31mmemory")
    garden.answer("GetStatus", queue_pb2.GetStatusResponse(status=status("RUNNING", attempt=1), logs=[line]))
    told = run(garden, "status", REQUEST_ID, "--logs")
    assert "state     running, attempt 1 of 3" in told.stdout
    assert "error: out of  [31mmemory" in told.stdout
    assert json.loads(run(garden, "status", REQUEST_ID, "--json").stdout)["status"]["attempt"] == 1


def test_result_prints_the_url_or_downloads(garden: ScriptedService, files: FileServer, tmp_path: Path) -> None:
    assert run(garden, "result", REQUEST_ID).stdout.splitlines()[0] == files.url
    path = tmp_path / "garden.mp4"
    assert run(garden, "result", REQUEST_ID, "-o", str(path)).exit_code == 0
    assert path.read_bytes() == files.content


def test_cancel(garden: ScriptedService) -> None:
    assert run(garden, "cancel", REQUEST_ID).stdout == f"cancelled {REQUEST_ID}\n"
    assert json.loads(run(garden, "cancel", REQUEST_ID, "--json").stdout)["state"] == "REQUEST_STATE_CANCELLED"


def test_invalid_input_lists_field_and_rule(garden: ScriptedService) -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="text_to_video.num_inference_steps", description="must be at most 50")
    bad.field_violations.add(field="text_to_video.prompt", description="must not be blank")
    garden.answer("Submit", Refuse(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT", details=(bad,)))
    told = run(garden, "submit", " ", "--steps", "51")
    assert told.exit_code == ExitCode.INVALID_INPUT
    assert told.stderr.splitlines() == [
        "error: the input was refused",
        "  text_to_video.num_inference_steps: must be at most 50",
        "  text_to_video.prompt: must not be blank",
        "Correct it and try again.",
    ]


def test_input_that_cannot_be_sent_is_told_alike(garden: ScriptedService) -> None:
    told = run(garden, "submit", "a garden", "--size", "huge")
    assert told.exit_code == ExitCode.INVALID_INPUT
    assert "neither WIDTHxHEIGHT nor one of square_hd" in " ".join(told.stderr.split())
    assert garden.requests == []


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--image", "a.png", "--video", "b.mp4"), "--image and --video exclude each other"),
        (("--strength", "0.5"), "--strength needs --video"),
        (("--image", "nope.png"), "there is no file nope.png"),
        (("--video", "."), ". is a folder, not a file"),
        (("--image", "empty.png"), "empty.png is empty"),
        (("--negative", "\udcff"), "must be text"),
        (("--endpoint", "\udcff"), "must be text"),
    ],
)
@pytest.mark.parametrize("command", ["submit", "generate"])
def test_options_that_make_no_sense_are_wrong_usage(
    garden: ScriptedService,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    command: str,
    options: tuple[str, ...],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.png").touch()
    told = run(garden, command, "a garden", *options)
    assert told.exit_code == ExitCode.INVALID_INPUT
    assert complaint in " ".join(told.stderr.split())
    assert garden.requests == []


@pytest.mark.parametrize(
    ("file", "complaint"),
    [("nope.png", "there is no file nope.png"), (".", "is a folder, not a file"), ("empty.png", "empty.png is empty")],
)
def test_a_file_that_cannot_go_up_is_wrong_usage(
    garden: ScriptedService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.png").touch()
    told = run(garden, "upload", file)
    assert told.exit_code == ExitCode.INVALID_INPUT
    assert complaint in told.stderr
    assert "Errno" not in told.stderr


def test_a_request_id_that_is_no_text_is_wrong_usage(garden: ScriptedService) -> None:
    assert run(garden, "status", "\udcff").exit_code == ExitCode.INVALID_INPUT


@pytest.mark.parametrize("written", ["720x480", "720X480", "720×480"])
def test_a_size_may_be_written_with_any_cross(garden: ScriptedService, written: str) -> None:
    assert run(garden, "submit", "a garden", "--size", written).exit_code == 0
    dimensions = garden.requests[0].text_to_video.video_size.dimensions  # type: ignore[attr-defined]
    assert (dimensions.width, dimensions.height) == (720, 480)


def test_many_steps_take_few_lines(garden: ScriptedService) -> None:
    steps = [
        event(f"p{number}", progress=queue_pb2.Progress(attempt=1, stage=stage, step=number, total=200))
        for stage in (queue_pb2.STAGE_DENOISE, queue_pb2.STAGE_DECODE)
        for number in range(1, 201)
    ]
    garden.answer("WatchStatus", [*whole_course()[:3], *steps, whole_course()[-1]])
    lines = run(garden, "watch", REQUEST_ID).stderr.splitlines()
    assert len(lines) < 30
    assert lines[-2].endswith("decode 200/200")


def test_a_held_request_is_not_said_to_be_in_line(garden: ScriptedService) -> None:
    held = status("QUEUED", position=2, held=True)
    moved = event("c2", position=queue_pb2.QueuePosition(position=0))
    garden.answer("GetStatus", queue_pb2.GetStatusResponse(status=held))
    garden.answer("WatchStatus", [event("c1", state=held), moved, *whole_course()[2:]])
    assert (
        "queued, held by your limit of running requests, 2 of your own before"
        in run(garden, "status", REQUEST_ID).stdout
    )
    shown = run(garden, "watch", REQUEST_ID).stderr
    assert "held by your limit of running requests, next of your own" in shown
    assert "next in line" not in shown


def test_quiet_prints_the_result_alone(garden: ScriptedService, tmp_path: Path) -> None:
    path = tmp_path / "garden.mp4"
    told = run(garden, "generate", "a garden", "-q", "-o", str(path))
    assert (told.exit_code, told.stderr) == (0, "")
    assert told.stdout.splitlines()[0] == str(path)


@pytest.mark.parametrize(
    ("webhook", "told"),
    [
        (queue_pb2.WebhookDelivery(), "not sent yet"),
        (queue_pb2.WebhookDelivery(attempts=1, delivered=True), "delivered after 1 try"),
        (
            queue_pb2.WebhookDelivery(attempts=2, problem="answered 500", next_time=Timestamp(seconds=1)),
            "not delivered after 2 tries: answered 500; again at 1970-01-01T00:00:01Z",
        ),
        (queue_pb2.WebhookDelivery(attempts=1, given_up=True, problem="gone"), "given up after 1 try: gone"),
    ],
)
def test_status_tells_how_far_the_webhook_is(
    garden: ScriptedService, webhook: queue_pb2.WebhookDelivery, told: str
) -> None:
    garden.answer("GetStatus", queue_pb2.GetStatusResponse(status=status("COMPLETED", webhook=webhook)))
    assert f"webhook   {told}\n" in run(garden, "status", REQUEST_ID).stdout


def test_an_outage_is_explained_once(garden: ScriptedService) -> None:
    garden.answer("GetStatus", *[Refuse(grpc.StatusCode.UNAVAILABLE)] * 30)
    told = run(garden, "status", REQUEST_ID, timeout_s="1.5")
    assert told.exit_code == ExitCode.UNAVAILABLE
    assert told.stderr.count("trying on") == 1
    assert "cogreel doctor" in told.stderr


def test_an_option_that_is_not_served_is_named_as_one(garden: ScriptedService) -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="webhook_url", description="is not served by this version")
    garden.answer("Submit", Refuse(grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED", details=(bad,)))
    told = run(garden, "submit", "a garden", "--webhook-url", "http://example.org")
    assert told.exit_code == ExitCode.NOT_SERVED
    assert told.stderr.startswith("error: this version of the service does not serve that option\n")


def test_served_endpoints_are_listed_once(garden: ScriptedService) -> None:
    message = "There is no endpoint 'x' here. Served: small, big."
    metadata = (("endpoints", "small,big"),)
    garden.answer("Submit", Refuse(grpc.StatusCode.NOT_FOUND, "ENDPOINT_NOT_FOUND", message, metadata))
    told = run(garden, "submit", "a garden", "--endpoint", "x")
    assert told.stderr == f"error: there is no such endpoint\n  {message}\n"


def test_a_failed_download_says_how_to_try_again(garden: ScriptedService, files: FileServer, tmp_path: Path) -> None:
    files.failures.append(403)
    told = run(garden, "generate", "a garden", "-o", str(tmp_path / "garden.mp4"))
    assert told.exit_code == ExitCode.FILE_PROBLEM
    assert f"cogreel result {REQUEST_ID} -o FILE" in told.stderr


def test_a_wrong_address_is_a_usage_error() -> None:
    told = CliRunner().invoke(main, ["--address", "ftp://there", "status", REQUEST_ID])
    assert told.exit_code == ExitCode.INVALID_INPUT
    assert "ftp://" in told.stderr


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_has_an_example(command: str) -> None:
    told = CliRunner().invoke(main, [command, "--help"])
    assert told.exit_code == 0
    assert f"cogreel {command}" in told.stdout


def test_exit_codes_are_documented() -> None:
    told = CliRunner().invoke(main, ["--help"])
    for code in ExitCode:
        assert f"{code.value:>3}  {code.description}" in told.stdout
        assert f"| {code.value} | {code.description} |" in README.read_text()


def test_the_address_left_out_is_that_of_the_library() -> None:
    assert f"default: {DEFAULT_ADDRESS}]" in CliRunner().invoke(main, ["--help"], terminal_width=200).stdout


def test_json_names_every_field(garden: ScriptedService) -> None:
    empty: Message = queue_pb2.SubmitResponse(request_id=REQUEST_ID)
    garden.answer("Submit", empty)
    assert json.loads(run(garden, "submit", "a garden", "--json").stdout)["existing"] is False
