"""`cogreeld up`: what it tells, what survives when its processes are killed, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import grpc
import psutil
import pytest
from cogreel.v1.queue_pb2 import FailureReason, RequestState, WatchStatusResponse

from tests.deployment import Caller, eventually
from tests.end_to_end.tree import Tree, all_gone


async def watch_through(caller: Caller, request_id: str) -> list[WatchStatusResponse]:
    """Watch to the end, resuming from the last cursor as a client library does."""
    events: list[WatchStatusResponse] = []
    cursor: str | None = None
    while True:
        try:
            async for event in caller.watch(request_id, cursor):
                cursor = event.cursor
                events.append(event)
                if event.state.HasField("finished_time"):
                    return events
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise
            await asyncio.sleep(0.05)  # before the next try


def denoised(events: list[WatchStatusResponse], attempt: int) -> list[int]:
    """The denoising steps of an attempt among events."""
    found = [e.progress for e in events if e.progress.attempt == attempt and e.progress.total == 50]
    return [progress.step for progress in found]


async def test_the_ready_file_tells_everything_and_is_private(tree: Tree) -> None:
    ready = tree.ready
    assert set(ready) >= {"grpc", "http", "s3", "nats", "api_key", "data_dir", "pids"}
    own = tree.data_dir / "ready.json"
    assert stat.S_IMODE(tree.ready_file.stat().st_mode) == stat.S_IMODE(own.stat().st_mode) == 0o600
    assert json.loads(own.read_text()) == tree.ready
    assert set(ready["pids"]) == {"up", "nats", "s3", "service", "gateway", "worker-0"}
    assert all(psutil.pid_exists(pid) for pid in ready["pids"].values())
    assert ready["data_dir"] == str(tree.data_dir)
    caller = await tree.caller()
    submitted = await caller.submit()
    assert await caller.ended(submitted.request_id) == RequestState.REQUEST_STATE_COMPLETED


async def test_secrets_are_not_in_command_lines_and_ports_are_on_loopback(tree: Tree) -> None:
    secret = tree.ready["api_key"].partition(":")[2]
    password = tree.ready["nats"].partition("@")[0].rpartition(":")[2]
    for process in tree.descendants():
        line = " ".join(process.cmdline())
        assert secret not in line
        assert password not in line
        for connection in process.net_connections():
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip.removeprefix("::ffff:") in {"127.0.0.1", "::1"}


async def test_a_killed_worker_is_replaced_and_its_request_finishes_with_attempt_two(tree: Tree) -> None:
    caller = await tree.caller()
    submitted = await caller.submit(steps=50)
    watching = asyncio.create_task(watch_through(caller, submitted.request_id))
    await caller.reaches(submitted.request_id, RequestState.REQUEST_STATE_RUNNING)
    await tree.kill("worker-0")
    events = await watching
    status = (await caller.status(submitted.request_id)).status
    assert status.state == RequestState.REQUEST_STATE_COMPLETED
    assert status.attempt == 2
    assert [failure.reason for failure in status.failed_attempts] == [FailureReason.FAILURE_REASON_LEASE_LOST]
    assert denoised(events, 2) == list(range(51))
    first = denoised(events, 1)
    assert first == list(range(len(first)))


async def test_a_killed_service_is_replaced_and_watches_resume(tree: Tree) -> None:
    caller = await tree.caller()
    running = await caller.submit(steps=50)
    queued = await caller.submit()
    watching = asyncio.create_task(watch_through(caller, running.request_id))
    await caller.reaches(running.request_id, RequestState.REQUEST_STATE_RUNNING)
    await tree.kill("service")
    events = await watching
    assert denoised(events, 1) == list(range(51))
    assert (await watch_through(caller, queued.request_id))[-1].state.state == RequestState.REQUEST_STATE_COMPLETED
    assert (await caller.status(running.request_id)).status.attempt == 1


async def test_a_killed_broker_is_replaced_and_all_requests_finish_once(tree: Tree) -> None:
    caller = await tree.caller()
    running = await caller.submit(steps=50)
    queued = [await caller.submit(f"{index}") for index in range(5)]
    watching = asyncio.create_task(watch_through(caller, running.request_id))
    await caller.reaches(running.request_id, RequestState.REQUEST_STATE_RUNNING)
    await tree.kill("nats")
    for submitted in (running, *queued):
        events = await watch_through(caller, submitted.request_id)
        assert events[-1].state.state == RequestState.REQUEST_STATE_COMPLETED
        assert events[-1].state.attempt == 1
    assert denoised(await watching, 1) == list(range(51))


@pytest.mark.long
@pytest.mark.timeout(90)
async def test_what_is_queued_at_the_stop_goes_on_at_the_next_start(tmp_path: Path) -> None:
    tree = Tree(tmp_path, devices="simulated", environment={"COGREEL_SIMULATED_STEP_S": "0.5"})
    async with tree:
        caller = await tree.caller()
        running = await caller.submit(steps=20)
        queued = await caller.submit(steps=1)
        await caller.reaches(running.request_id, RequestState.REQUEST_STATE_RUNNING)
    again = Tree(tmp_path, devices="simulated", environment={"COGREEL_SIMULATED_STEP_S": "0"})
    async with again:
        caller = await again.caller()
        for submitted in (running, queued):
            # A broker that restarts has forgotten what was handed back: it comes again after its ack wait of 30 s.
            state = await caller.ended(submitted.request_id, within_s=45)
            assert state == RequestState.REQUEST_STATE_COMPLETED
        drained = (await caller.status(running.request_id)).status
        assert (drained.attempt, len(drained.failed_attempts)) == (2, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_everything_in_order(tmp_path: Path, number: signal.Signals) -> None:
    tree = Tree(tmp_path, devices="simulated")
    async with tree:
        processes = tree.descendants()
        assert len(processes) >= 4
        assert await tree.stop(number) == 0
        await all_gone(processes)
        assert not tree.ready_file.exists()
        assert not (tree.data_dir / "ready.json").exists()
        assert "Traceback" not in tree.output.read_text()


async def test_killing_the_parent_leaves_no_process_behind(tmp_path: Path) -> None:
    tree = Tree(tmp_path, devices="simulated,simulated")
    await tree.start()
    processes = tree.descendants()
    os.kill(tree.process.pid, signal.SIGKILL)
    await tree.process.wait()
    await all_gone(processes)


async def test_operators_manage_it_through_the_ready_file(tree: Tree) -> None:
    def cogreeld(*arguments: str) -> str:
        command = (sys.executable, "-m", "host.cli", *arguments, "--ready-file", str(tree.ready_file))
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    api_key = await asyncio.to_thread(cogreeld, "keys", "create", "--tenant", "studio")
    key_id = api_key.partition(":")[0]
    owner = await tree.caller()
    studio = Caller(owner.stub, "studio", api_key, owner.endpoint)
    submitted = await studio.submit()
    listed = await asyncio.to_thread(cogreeld, "keys", "list")
    assert [key_id, "studio", "caller"] in [line.split()[:3] for line in listed.splitlines()]
    assert api_key.partition(":")[2] not in listed
    assert await studio.ended(submitted.request_id) == RequestState.REQUEST_STATE_COMPLETED

    async def workers() -> list[dict[str, object]]:
        seen = json.loads(await asyncio.to_thread(cogreeld, "status", "--json"))
        return list(seen["workers"])

    [worker] = await eventually(workers, bool)
    served = [owner.endpoint, f"{owner.endpoint}/image-to-video", f"{owner.endpoint}/video-to-video"]
    assert (worker["device"], worker["device_memory_bytes"], worker["endpoints"]) == ("simulated", 0, served)
    assert worker["version"] == metadata.version("cogreel-server")
    erase = ("erase", submitted.request_id, "--tenant", "studio", "--yes")
    assert await asyncio.to_thread(cogreeld, *erase) == f"erased {submitted.request_id}"
    with pytest.raises(grpc.aio.AioRpcError, match="There is no request"):
        await studio.result(submitted.request_id)
    await asyncio.to_thread(cogreeld, "keys", "revoke", key_id)

    async def refused_code() -> grpc.StatusCode | None:
        try:
            await studio.status(submitted.request_id)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return None

    await eventually(refused_code, lambda code: code == grpc.StatusCode.UNAUTHENTICATED, within_s=5)


async def test_a_second_tree_on_the_same_data_is_refused_in_a_sentence(tree: Tree) -> None:
    command = (sys.executable, "-m", "host.cli", "up", "--port", "0", "--devices", "simulated")
    done = await asyncio.to_thread(
        subprocess.run, (*command, "--data-dir", str(tree.data_dir)), capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert "Error:" in done.stderr
    assert str(tree.data_dir) in done.stderr
    assert "Traceback" not in done.stderr
