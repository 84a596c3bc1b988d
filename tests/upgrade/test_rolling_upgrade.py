"""Every process is replaced under load, one by one, from the previous release to this one and back again.

The previous release's programs come out of the repository's history. Where there is no history, this release's take
their place, on what the previous one left in the broker.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from cogreel.v1.queue_pb2 import PRIORITY_LOW

from jobs.broker import Broker
from jobs.pauses import pause, resume
from jobs.record_pb2 import State
from tests.chaos.callers import Account, Caller, connect
from tests.chaos.campaign import LOOK_EVERY_S, sweep_orphans
from tests.chaos.checker import check
from tests.chaos.evidence import Evidence, gather_evidence, read_states
from tests.chaos.history import History
from tests.chaos.installation import ENDPOINT, THIS_RELEASE, Installation, Release, Role, Shape
from tests.chaos.request_rules import ENDED, by_request
from tests.deployment import eventually
from tests.forwarding import forwarding
from tests.upgrade.load import ClientLoad
from tests.upgrade.recording import Recording
from tests.upgrade.releases import RECORDING, NoHistoryError, unpack_previous_release
from tests.upgrade.rollout import Rollout

PROGRAMS = 3
CAREFUL_CALLERS = 2
VIDEOS_BETWEEN = 2
ENDED_WITHIN_S = 90.0
NOBODY = "http://127.0.0.1:9/"  # the port of the discard protocol, where nothing listens
SHAPE = Shape(services=2, step_s=(0.05, 0.1), retention_s=timedelta(days=36500).total_seconds())


class TakenOver(Installation):
    """An installation on what the previous release left in its broker and bucket."""

    async def prepare(self) -> str:
        recording = Recording.load(RECORDING)
        async with Broker(self.broker_settings) as broker:
            await recording.play(broker, self.store)
        return recording.api_key


@dataclass(frozen=True)
class Scene:
    """A running installation behind a balancer, with load that notes what it sees."""

    installation: Installation
    broker: Broker
    load: ClientLoad
    history: History

    async def ended(self) -> bool:
        """Whether every request has ended."""
        await asyncio.sleep(LOOK_EVERY_S)  # each look reads the whole stream, which others are still busy with
        requests = by_request(await read_states(self.installation.nats_url))
        return all(states[-1].record.state in ENDED for states in requests.values())


@asynccontextmanager
async def under_load(installation: Installation, folder: Path) -> AsyncIterator[Scene]:
    """Load on an installation while the block runs. At its end every request has ended."""
    history = History()
    stopped = asyncio.Event()
    async with AsyncExitStack() as stack:
        ports = [int(service.settings.listen.rpartition(":")[2]) for service in installation.services]
        front = f"127.0.0.1:{await stack.enter_async_context(forwarding(*ports))}"
        replica, channel = connect("front", front)
        await stack.enter_async_context(channel)
        account = Account(ENDPOINT, installation.api_key)
        load = ClientLoad(front, installation.api_key, folder, history)
        stack.push_async_callback(load.close)
        scene = Scene(
            installation, await stack.enter_async_context(Broker(installation.broker_settings)), load, history
        )
        async with asyncio.TaskGroup() as group:
            for number in range(PROGRAMS):
                group.create_task(load.run_until(stopped, f"program-{number}"))
            for number in range(CAREFUL_CALLERS):
                caller = Caller(f"caller-{number}", account, [replica], history=history, dice=random.Random(number))
                group.create_task(caller.call_until(stopped))
            yield scene
            stopped.set()
        await eventually(scene.ended, bool, within_s=ENDED_WITHIN_S)


async def replace_everything(scene: Scene, release: Release, roles: tuple[Role, ...]) -> None:
    """Replace all processes, one role after the other, while work goes on between any two of them.

    One request waits meanwhile and is watched throughout.
    """
    installation, load = scene.installation, scene.load
    rollout = Rollout(installation, release, scene.broker, scene.history)
    await pause(scene.broker, ENDPOINT, [PRIORITY_LOW])
    waiting = await load.submit(prompt="butterflies that wait for all of it", priority="low")
    async with asyncio.TaskGroup() as group:
        group.create_task(load.follow(waiting, "throughout"))
        await load.until_more(VIDEOS_BETWEEN)
        for role in roles:
            if role == "service":
                for service in installation.services:
                    await rollout.replace_service(service)
                    await load.until_more(VIDEOS_BETWEEN)
            else:
                for worker in installation.workers:
                    await rollout.replace_worker(worker)
                    await load.until_more(VIDEOS_BETWEEN)
        await resume(scene.broker, ENDPOINT, [PRIORITY_LOW])


def made_more_than_once(evidence: Evidence) -> dict[str, int]:
    """How many videos there are of requests that nobody cancelled, where it is not one."""
    requests = by_request(evidence.states)
    cancelled = {name for name, states in requests.items() if states[-1].record.state == State.STATE_CANCELLED}
    videos = Counter(video.key.split("/")[2] for video in evidence.videos)
    return {name: count for name, count in videos.items() if count > 1 and name not in cancelled}


@pytest.fixture(scope="module")
def previous_release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Its programs, or this release's where there is no history."""
    try:
        return unpack_previous_release(tmp_path_factory.mktemp("previous"))
    except NoHistoryError:
        return THIS_RELEASE


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("direction", ["upgrade", "rollback"])
async def test_no_request_is_lost_or_made_twice_and_no_caller_notices(
    direction: str, previous_release: Release, tmp_path: Path
) -> None:
    before, after = previous_release, THIS_RELEASE
    roles: tuple[Role, ...] = ("supervisor", "service")  # what is accepted must be understood by whoever runs it
    if direction == "rollback":
        before, after, roles = after, before, ("service", "supervisor")
    installation = TakenOver(tmp_path, SHAPE, before)
    async with installation:
        async with under_load(installation, tmp_path) as scene:
            if before == THIS_RELEASE:  # the other one refuses webhooks, and meets what is kept of them
                await scene.load.submit(prompt="butterflies that nobody is told of", webhook_url=NOBODY)
            await replace_everything(scene, after, roles)
        evidence = await gather_evidence(installation.nats_url, installation.store)
        assert made_more_than_once(evidence) == {}
        await sweep_orphans(installation)
        evidence = await gather_evidence(installation.nats_url, installation.store)
    assert check(scene.history, evidence) == []
    records = {name: states[-1].record for name, states in by_request(evidence.states).items()}
    # Which release made a video shows by its profile: only this one tells it. Both have made some.
    profiles = {records[request_id].output.video.model.profile for request_id in scene.load.made}
    assert profiles == {"exact"} | ({""} if previous_release != THIS_RELEASE else set())
