"""The commands of operators that talk straight to NATS and S3, run as operators run them."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner
from cogreel.v1.queue_pb2 import PRIORITY_LOW, RequestState

from host.cli import main
from host.engines.ports import choose_ports
from host.installation import NothingRunsError, ready_of_running, settings_of
from jobs import pauses
from jobs.keys import KeyDirectory, list_keys
from jobs.streams import ensure_pauses_bucket
from jobs.subjects import RequestKey
from tests.deployment import Deployment, eventually
from tests.service.operators import traces_of

COGREELD = (sys.executable, "-m", "host.cli")


@dataclass(frozen=True)
class Ended:
    """What a command left."""

    code: int
    out: str
    err: str


def environment(deployment: Deployment) -> dict[str, str]:
    """The settings of a deployment's engines."""
    store = deployment.store.settings
    return os.environ | {
        "COGREEL_NATS_URL": deployment.settings.url,
        "COGREEL_S3_ENDPOINT": store.endpoint,
        "COGREEL_S3_ACCESS_KEY": store.access_key,
        "COGREEL_S3_SECRET_KEY": store.secret_key,
        "COGREEL_S3_BUCKET": store.bucket,
    }


async def cogreeld(deployment: Deployment, *arguments: str, answer: str = "", **settings: str) -> Ended:
    done = await asyncio.to_thread(
        subprocess.run,
        (*COGREELD, *arguments),
        env=environment(deployment) | settings,
        input=answer,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return Ended(done.returncode, done.stdout.strip(), done.stderr.strip())


async def snapshot(deployment: Deployment) -> dict[str, Any]:
    """What `status --json` says of the deployment's endpoint."""
    found: dict[str, Any] = json.loads((await cogreeld(deployment, "status", "--json")).out)
    queues = {queue["priority"]: queue for queue in found["queues"] if queue["endpoint"] == deployment.endpoint}
    workers = [worker for worker in found["workers"] if deployment.endpoint in worker["endpoints"]]
    return {"queues": queues, "workers": workers}


async def test_keys_are_made_with_limits_rotated_and_revoked(deployment: Deployment) -> None:
    limits = ("--running", "2", "--queued", "100", "--requests-per-minute", "60", "--stored-bytes", "1TB")
    made = await cogreeld(deployment, "keys", "create", "--tenant", "limited", "--role", "admin", *limits)
    key_id = made.out.partition(":")[0]
    rotated = await cogreeld(deployment, "keys", "rotate", key_id, "--grace", "1h30m")
    assert "valid until" in rotated.err
    [old] = [key for key in await list_keys(deployment.broker) if key.key_id == key_id]
    assert old.revoked.ToDatetime(UTC) - datetime.now(UTC) == pytest.approx(
        timedelta(hours=1.5), abs=timedelta(minutes=1)
    )
    async with KeyDirectory(deployment.broker) as directory:
        await directory.authenticate(made.out)
        new = await directory.authenticate(rotated.out)
        assert (new.tenant, new.role, new.limits) == (old.tenant, old.role, old.limits)
        bound = directory.tenant_limits("limited")
        assert (bound.running, bound.queued, bound.requests_per_minute, bound.stored_bytes) == (2, 100, 60, 10**12)
    listed = (await cogreeld(deployment, "keys", "list")).out.splitlines()
    [line] = [line for line in listed if line.startswith(new.key_id)]
    assert line.split()[1:3] == ["limited", "admin"]
    as_json = json.loads((await cogreeld(deployment, "keys", "list", "--json")).out)
    [shown] = [key for key in as_json if key["key_id"] == new.key_id]
    assert (shown["tenant"], shown["works"], shown["limits"]["running"]) == ("limited", True, 2)
    assert "running=2" in line
    assert rotated.out.partition(":")[2] not in "".join(listed)
    assert "revoked" in (await cogreeld(deployment, "keys", "revoke", key_id)).out
    again, unknown = await asyncio.gather(
        cogreeld(deployment, "keys", "rotate", key_id), cogreeld(deployment, "keys", "rotate", "0" * 16)
    )
    assert (again.code, again.out, unknown.code, unknown.out) == (1, "", 1, "")
    assert "was revoked" in again.err
    assert "cogreeld keys create" in again.err
    assert "cogreeld keys list" in unknown.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("keys", "rotate", "0" * 16, "--grace", "soon"), "90s, 15m, 1h, 2d or 1h30m"),
        (("keys", "rotate", "0" * 16, "--grace", "9999d"), "longer than 365d"),
        (("keys", "create", "--tenant", "a", "--running", "0"), "--running"),
        (("keys", "create", "--tenant", "a", "--stored-bytes", "10XB"), "10GB, 512MiB"),
        (("keys", "list", "--ready-file", "none.json"), "that one does not run"),
        (("keys", "create", "--tenant", "a", "--running", "9999999999"), "--running"),
        (("erase", "nonsense", "--tenant", "a"), "not a valid UUID"),
        (("status", "--ready-file", "pyproject.toml"), "not the ready file"),
    ],
)
def test_what_makes_no_sense_is_told_in_words(arguments: tuple[str, ...], told: str) -> None:
    ended = CliRunner().invoke(main, arguments)
    assert ended.exit_code in {1, 2}
    assert ended.stdout == ""
    assert told in ended.stderr


@pytest.mark.parametrize("command", ["status", "erase", "keys create", "keys list", "keys revoke", "keys rotate"])
def test_help_has_an_example(command: str) -> None:
    shown = CliRunner().invoke(main, [*command.split(), "--help"])
    assert f"Example: cogreeld {command}" in shown.stdout


async def test_a_store_that_refuses_is_found_out_before_anything_is_cancelled(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    request_id = (await caller.submit()).request_id
    command = ("erase", request_id, "--tenant", caller.tenant, "--yes")
    broken = {
        "COGREEL_S3_SECRET_KEY": "wrong",
        "COGREEL_S3_BUCKET": "another-bucket",
        "COGREEL_S3_ENDPOINT": "127.0.0.1:1",
    }
    runs = (cogreeld(deployment, *command, **{setting: value}) for setting, value in broken.items())
    for setting, ended in zip(broken, await asyncio.gather(*runs), strict=True):
        assert ended.code == 1
        assert setting in ended.err
    assert (await caller.status(request_id)).status.state == RequestState.REQUEST_STATE_QUEUED


async def test_status_tells_of_queues_and_workers(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    waiting = [await caller.submit(priority=PRIORITY_LOW) for _ in range(2)]
    alone, table = await asyncio.gather(snapshot(deployment), cogreeld(deployment, "status", "--once"))
    assert f"Requests wait for {deployment.endpoint}, and no worker serves it." in table.out
    assert alone["workers"] == []
    assert (alone["queues"]["low"]["queued"], alone["queues"]["low"]["running"]) == (2, 0)
    assert 0 < alone["queues"]["low"]["oldest_s"] < 60
    running = await caller.submit(steps=50)
    await deployment.worker(step_s=0.2, name="host/simulated")
    await caller.reaches(running.request_id, RequestState.REQUEST_STATE_RUNNING)
    seen, table = await asyncio.gather(snapshot(deployment), cogreeld(deployment, "status"))
    assert seen["queues"]["normal"] == {
        "endpoint": deployment.endpoint,
        "priority": "normal",
        "queued": 0,
        "held": 0,
        "running": 1,
        "paused_s": None,
        "oldest_s": None,
    }
    [worker] = seen["workers"]
    assert (worker["name"], worker["request_id"]) == ("host/simulated", running.request_id)
    assert (worker["model"]["name"], worker["draining"]) == ("simulated", False)
    [line] = [line for line in table.out.splitlines() if "host/simulated" in line]
    assert running.request_id in line
    assert f"wait for {deployment.endpoint}" not in table.out
    for submitted in (running, *waiting):
        await caller.cancel(submitted.request_id)


async def test_status_shows_what_is_paused(deployment: Deployment) -> None:
    await deployment.service()
    await ensure_pauses_bucket(deployment.broker)
    await pauses.pause(deployment.broker, deployment.endpoint, [PRIORITY_LOW])
    seen, table = await asyncio.gather(snapshot(deployment), cogreeld(deployment, "status", "--once"))
    assert seen["queues"]["normal"]["paused_s"] is None
    assert 0 <= seen["queues"]["low"]["paused_s"] < 60
    lines = [line.split() for line in table.out.splitlines() if deployment.endpoint in line]
    assert {line[1]: "for" in line for line in lines} == {"normal": False, "low": True}
    await pauses.resume(deployment.broker, deployment.endpoint)


async def test_where_nothing_runs_it_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("COGREEL_")]:
        monkeypatch.delenv(name)
    [port] = choose_ports(["nats"]).values()
    monkeypatch.setenv("COGREEL_NATS_URL", f"nats://a:secret@127.0.0.1:{port}")
    with pytest.raises(NothingRunsError, match=rf"nothing listens at 127\.0\.0\.1:{port}\."):
        settings_of(None)
    ended = await asyncio.create_subprocess_exec("true")
    await ended.wait()
    stale = tmp_path / "ready.json"
    engines = {"nats": f"nats://127.0.0.1:{port}", "s3": "http://127.0.0.1:1", "grpc": "127.0.0.1:1"}
    stale.write_text(json.dumps({**engines, "data_dir": str(tmp_path), "pids": {"up": ended.pid}}))
    assert ready_of_running(tmp_path) is None
    with pytest.raises(NothingRunsError, match=f"its process {ended.pid} is gone, and was killed"):
        settings_of(stale)


async def test_status_on_a_terminal_follows_until_ctrl_c(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    await deployment.worker(step_s=0.2)
    ours, theirs = pty.openpty()
    terminal = {"TERM": "xterm-256color", "COLUMNS": "160", "LINES": "50"}
    process = await asyncio.create_subprocess_exec(
        *(*COGREELD, "status"),
        env=environment(deployment) | terminal,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    drawn = bytearray()
    asyncio.get_running_loop().add_reader(ours, lambda: drawn.extend(os.read(ours, 65_536)))

    async def shown() -> str:
        return drawn.decode(errors="replace")

    await eventually(shown, lambda text: "tester" in text)
    request_id = (await caller.submit(steps=50)).request_id
    await eventually(shown, lambda text: request_id in text)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(10):
        assert await process.wait() == 0
    asyncio.get_running_loop().remove_reader(ours)
    os.close(ours)
    assert "Traceback" not in drawn.decode(errors="replace")
    await caller.cancel(request_id)


async def test_erase_asks_first_and_then_leaves_nothing(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    await deployment.worker(step_s=0.2)
    request_id = (await caller.submit(steps=50)).request_id
    await caller.reaches(request_id, RequestState.REQUEST_STATE_RUNNING)
    following = (await caller.submit()).request_id
    command = ("erase", request_id, "--tenant", caller.tenant)
    asked, unanswered = await asyncio.gather(
        cogreeld(deployment, *command, answer="n\n"), cogreeld(deployment, *command)
    )
    assert f"{request_id} of {caller.tenant}: RUNNING" in asked.err
    assert (asked.code, unanswered.code) == (1, 1)
    assert (await caller.status(request_id)).status.state == RequestState.REQUEST_STATE_RUNNING
    done = await cogreeld(deployment, *command, answer="y\n")
    assert (done.code, done.out) == (0, f"erased {request_id}")
    assert await traces_of(deployment, RequestKey(caller.tenant, request_id)) == []
    with pytest.raises(grpc.aio.AioRpcError, match="There is no request"):
        await caller.status(request_id)
    assert await caller.ended(following) == RequestState.REQUEST_STATE_COMPLETED, "the device was not freed"
    again = await cogreeld(deployment, *command, "--yes")
    assert (again.code, again.out) == (1, "")
    assert "has no request" in again.err
