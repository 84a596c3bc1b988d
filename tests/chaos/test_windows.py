"""Three windows in which a worker dies or sleeps where it hurts most, each on real processes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import pytest
from cogreel.v1.queue_pb2 import PRIORITY_NORMAL, SubmitRequest
from cogreel.v1.video_pb2 import ImageSize, TextToVideoInput, VideoSize

from jobs.broker import Broker
from jobs.record_pb2 import Record, State
from jobs.subjects import REQ, consumer_name
from tests.chaos.callers import Account, Caller, connect
from tests.chaos.campaign import short_leases, sweep_orphans
from tests.chaos.checker import check
from tests.chaos.evidence import gather_evidence, read_states
from tests.chaos.history import History
from tests.chaos.installation import ENDPOINT, Installation, KeptProcess, Shape
from tests.deployment import eventually


@dataclass(frozen=True)
class Scene:
    """An installation with one service and no worker yet, and a caller who notes what it sees."""

    installation: Installation
    caller: Caller
    history: History

    async def submit(self, steps: int) -> str:
        """Submit a small video."""
        text = TextToVideoInput(
            prompt="butterflies",
            num_inference_steps=steps,
            use_rife=False,
            video_size=VideoSize(dimensions=ImageSize(width=64, height=64)),
        )
        return await self.caller.submit(SubmitRequest(endpoint=ENDPOINT, text_to_video=text, max_attempts=10))

    async def records(self, request_id: str) -> list[Record]:
        """The request's states so far."""
        states = await read_states(self.installation.nats_url)
        return [state.record for state in states if state.record.request_id == request_id]

    async def running(self, request_id: str) -> Record:
        """Wait until the request runs."""

        async def last() -> Record:
            return (await self.records(request_id))[-1]

        return await eventually(last, lambda record: record.state == State.STATE_RUNNING)

    async def videos(self) -> list[str]:
        """The keys of all videos."""
        return await self.installation.store.list_keys("videos/")

    async def consumer(self) -> dict[str, object]:
        """What the broker tells of the consumer of normal requests."""
        async with Broker(self.installation.broker_settings) as broker:
            return await broker.api(f"CONSUMER.INFO.{REQ}.{consumer_name(ENDPOINT, PRIORITY_NORMAL)}", {})

    async def approved(self) -> None:
        """Let the checker decide, after a sweep."""
        await sweep_orphans(self.installation)
        evidence = await gather_evidence(self.installation.nats_url, self.installation.store)
        assert check(self.history, evidence) == []


@asynccontextmanager
async def scene(folder: Path, brokers: Literal[1, 3]) -> AsyncIterator[Scene]:
    """An installation for one test."""
    history = History()
    async with (
        Installation(folder, Shape(brokers=brokers, services=1, step_s=())) as installation,
        short_leases(installation),
    ):
        replica, channel = connect("service-0", installation.services[0].settings.listen)
        async with channel:
            caller = Caller(
                "caller", Account(ENDPOINT, installation.api_key), [replica], history=history, dice=random.Random(1)
            )
            yield Scene(installation, caller, history)


async def another_run(worker: KeptProcess, old: psutil.Process) -> None:
    """Wait until a worker's device runs in another process."""

    async def device() -> psutil.Process | None:
        return worker.device

    await eventually(device, lambda seen: seen is not None and seen != old)


async def test_a_worker_that_dies_after_the_upload_leaves_one_result_and_no_orphan(
    brokers: Literal[1, 3], tmp_path: Path
) -> None:
    async with scene(tmp_path, brokers) as now:
        await now.installation.add_worker(0.01, failpoints="attempt.uploaded=1")
        request_id = await now.submit(steps=5)
        watching = asyncio.create_task(now.caller.watch("watcher", request_id))
        (orphan, *_) = await eventually(now.videos, bool)
        await now.installation.add_worker(0.01)
        assert await watching == "COMPLETED"
        await now.caller.fetch(request_id)
        last = (await now.records(request_id))[-1]
        assert last.attempt > 1
        assert orphan != last.output.object_key
        assert {orphan, last.output.object_key} <= set(await now.videos())
        await now.approved()
        assert await now.videos() == [last.output.object_key]


async def test_a_worker_that_dies_after_finishing_and_before_the_ack_does_not_run_it_again(
    brokers: Literal[1, 3], tmp_path: Path
) -> None:
    async with scene(tmp_path, brokers) as now:
        victim = await now.installation.add_worker(0.01, failpoints="attempt.finished=1")

        async def device() -> psutil.Process | None:
            return victim.device

        first = await eventually(device, lambda seen: seen is not None)
        assert first is not None
        request_id = await now.submit(steps=5)
        assert await now.caller.watch("watcher", request_id) == "COMPLETED"
        await another_run(victim, first)
        consumer = await eventually(now.consumer, lambda seen: seen["num_ack_pending"] == 0)
        delivered = consumer["delivered"]
        assert isinstance(delivered, dict)
        assert delivered["consumer_seq"] > 1  # it came again, since the first one was never acknowledged
        names = [State.Name(record.state) for record in await now.records(request_id)]
        assert names == ["STATE_QUEUED", "STATE_RUNNING", "STATE_COMPLETED"]
        assert len(await now.videos()) == 1
        await now.approved()


@pytest.mark.long
async def test_a_zombie_that_wakes_after_the_takeover_writes_nothing(brokers: Literal[1, 3], tmp_path: Path) -> None:
    async with scene(tmp_path, brokers) as now:
        workers = [await now.installation.add_worker(0.1) for _ in range(2)]
        request_id = await now.submit(steps=30)
        watching = asyncio.create_task(now.caller.watch("watcher", request_id))
        zombie_run = (await now.running(request_id)).worker
        names = [f"{worker.name}/simulated" for worker in workers]
        zombie = workers[names.index(zombie_run.name)].device
        other = workers[1 - names.index(zombie_run.name)].device
        assert zombie is not None
        assert other is not None
        zombie.suspend()
        try:
            assert await watching == "COMPLETED"
        finally:
            zombie.resume()
        after_takeover = await now.records(request_id)
        assert after_takeover[-1].worker != zombie_run
        other.suspend()  # so that the next request is for who was a zombie: by then it has given the first one up
        try:
            next_id = await now.submit(steps=1)
            assert await now.caller.watch("next", next_id) == "COMPLETED"
        finally:
            other.resume()
        assert (await now.records(next_id))[-1].worker == zombie_run
        assert await now.records(request_id) == after_takeover
        assert [record.attempt for record in after_takeover if record.state == State.STATE_RUNNING] == [1, 2]
        await now.approved()
