"""`cogreeld doctor` and `cogreeld queue` on a running `up`, as an operator types them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from cogreel.v1.queue_pb2 import RequestState

from host import queues
from host.doctor.command import DoctorOptions, diagnosis
from host.settings import HOSTED_ENDPOINT
from tests.deployment import eventually
from tests.end_to_end.tree import Tree


@dataclass(frozen=True)
class Ran:
    """What a command printed, and its exit status."""

    status: int
    output: str
    errors: str


async def cogreeld(*arguments: object, environment: dict[str, str] | None = None) -> Ran:
    """Run the command to its end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "host.cli", *map(str, arguments)),
        env=os.environ | (environment or {}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(40):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return Ran(process.returncode, output.decode(), errors.decode())


def problems(ran: Ran) -> Sequence[str]:
    """The checks that found a problem."""
    document = json.loads(ran.output)
    return [finding["check"] for finding in document["findings"] if finding["verdict"] == "problem"]


def _printed(capsys: pytest.CaptureFixture[str]) -> Callable[[], Awaitable[str]]:
    """Looks at what has been printed to standard error since the last look."""

    async def look() -> str:
        return capsys.readouterr().err

    return look


async def test_a_running_service_is_healthy_and_broken_settings_are_told(tree: Tree) -> None:
    healthy = await cogreeld("doctor", "--ready-file", tree.ready_file, "--json")
    assert (healthy.status, problems(healthy)) == (0, []), healthy.output
    assert {finding["verdict"] for finding in json.loads(healthy.output)["findings"]} == {"ok"}, healthy.output
    cluster = {
        "COGREEL_NATS_URL": tree.ready["nats"].replace("cogreel:", "cogreel:wrong"),
        "COGREEL_S3_ENDPOINT": tree.ready["s3"],
        "COGREEL_LISTEN": tree.ready["grpc"],
        "COGREEL_ENDPOINTS": '{"a/b": "simulated"}',
    }
    found_by_itself = await cogreeld("doctor", "--data-dir", tree.data_dir, "--json")
    checks = {finding["check"] for finding in json.loads(found_by_itself.output)["findings"]}
    assert (found_by_itself.status, "processes" in checks) == (0, True), found_by_itself.output
    broken = await cogreeld("doctor", "serve", "--json", environment=cluster)
    assert (broken.status, problems(broken)) == (1, ["nats", "s3"]), broken.output


async def test_commands_find_the_up_that_runs_on_the_default_data_directory(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / ".local/share").mkdir(parents=True)
    (tmp_path / ".local/share/cogreel").symlink_to(tree.data_dir)
    for command in (("keys", "list"), ("queue", "list"), ("status", "--json")):
        ran = await cogreeld(*command, environment={"HOME": str(tmp_path)})
        assert (ran.status, ran.errors) == (0, "")


@pytest.mark.parametrize(("devices", "told"), [("bogus", "names 'bogus'"), ("cuda:99", "there is no cuda:99")])
async def test_devices_that_are_not_there_are_told_before_anything_starts(
    tmp_path: Path, devices: str, told: str
) -> None:
    data_dir = tmp_path / "data"
    ran = await cogreeld("up", "--devices", devices, "--data-dir", data_dir)
    assert (ran.status, ran.output, data_dir.exists()) == (1, "", False)
    [line] = ran.errors.splitlines()
    assert told in line


async def test_operators_pause_drain_and_resume(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    ready_file = tree.ready_file
    caller = await tree.caller()
    with pytest.raises(click.ClickException, match=HOSTED_ENDPOINT):
        await queues.pause_queue("fal-ai/cogvideo", None, ready_file)
    await queues.pause_queue(HOSTED_ENDPOINT, None, ready_file)
    assert f"cogreeld queue resume {HOSTED_ENDPOINT} --ready-file {ready_file}" in capsys.readouterr().out
    waiting = (await caller.submit(endpoint=HOSTED_ENDPOINT)).request_id
    await queues.list_queues(ready_file)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [line[:6] for line in lines if line[0] == HOSTED_ENDPOINT] == [
        [HOSTED_ENDPOINT, "normal", "1", "0", "0", "paused"],
        [HOSTED_ENDPOINT, "low", "0", "0", "0", "paused"],
    ]
    with pytest.raises(click.ClickException, match="making sure takes 3 s; it stays paused"):
        await queues.drain_queue(HOSTED_ENDPOINT, None, 1.5, ready_file)
    capsys.readouterr()
    draining = asyncio.create_task(queues.drain_queue(HOSTED_ENDPOINT, None, None, ready_file))
    await eventually(_printed(capsys), lambda text: "making sure" in text)
    await queues.resume_queue(HOSTED_ENDPOINT, "low", ready_file)
    with pytest.raises(click.ClickException, match="was resumed meanwhile"):
        await draining
    await queues.drain_queue(HOSTED_ENDPOINT, "normal", None, ready_file)
    assert "drained" in capsys.readouterr().out
    status = (await caller.status(waiting)).status
    assert (status.state, status.position) == (RequestState.REQUEST_STATE_QUEUED, 0)
    await queues.pause_queue(HOSTED_ENDPOINT, "low", ready_file)
    await queues.resume_queue(HOSTED_ENDPOINT, "normal", ready_file)
    assert "low priority is still paused" in capsys.readouterr().out
    assert await caller.ended(waiting) == RequestState.REQUEST_STATE_COMPLETED


async def test_settings_that_cannot_be_read_are_findings() -> None:
    broken = await cogreeld("doctor", "--json", environment={"COGREEL_ENDPOINTS": "{"})
    assert (broken.status, set(problems(broken))) == (1, {"settings"}), broken.output
    assert "COGREEL_ENDPOINTS: is not valid JSON" in broken.output


async def test_a_ready_file_that_is_none() -> None:
    with pytest.raises(ValueError, match="is not the ready file"):
        await diagnosis(DoctorOptions(data_dir=Path("/nowhere"), ready_file=Path(__file__)))
    with pytest.raises(ValueError, match="is not the ready file"):
        await queues.list_queues(Path(__file__))
