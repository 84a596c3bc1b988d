"""The kill campaign: steady load on a whole installation, in each round something dies, and the checker decides.

Two services, three workers with simulated devices, one or three brokers and a store run as processes of their own.
Callers submit, follow, cancel and fetch all the time. When the rounds are over, everything is left to recover, every
request must end, and what all have seen is held against what is on disk.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nats.errors
from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL

from files import StoreUnavailableError
from jobs.broker import ApiError, Broker
from jobs.errors import BrokerUnavailableError
from jobs.record_pb2 import State
from jobs.subjects import REQ, consumer_name
from jobs.tasks import end_task
from jobs.view import LiveView
from service.sweeper import Sweeper, SweeperSettings
from tests.chaos.callers import Account, Caller, connect
from tests.chaos.checker import EVIDENCE_FILE, HISTORY_FILE, check
from tests.chaos.evidence import Evidence, gather_evidence, read_states
from tests.chaos.faults import Saboteur, plan
from tests.chaos.history import CallError, Fault, Fetch, History, Submission, WatchEvent, WorkerPace
from tests.chaos.installation import ENDPOINT, Installation, Shape
from tests.chaos.request_rules import ENDED, RUNNING, by_request
from tests.chaos.violation import Violation

CALLERS = 16
LEASE_S = 4.0
READY_WITHIN_S = 60.0
RECOVERED_WITHIN_S = 120.0
LOOK_EVERY_S = 0.25

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CampaignSettings:
    """`seed` decides the faults and what callers do; a round lasts between the two times of `round_s`, in seconds."""

    rounds: int = 20
    brokers: Literal[1, 3] = 1
    seed: int = 0
    round_s: tuple[float, float] = (1.5, 2.5)


@dataclass(frozen=True, slots=True)
class Tally:
    """What a campaign came to."""

    rounds: int
    seconds: float
    faults: Counter[str]
    requests: int
    ends: Counter[str]
    attempts: int
    submissions: int
    errors: int
    events: int
    streams: int
    results: int
    orphans_swept: int
    violations: list[Violation]

    def lines(self) -> list[str]:
        """For people."""
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        ends = ", ".join(f"{name} {count}" for name, count in sorted(self.ends.items()))
        verdict = "the queue kept its word" if not self.violations else f"{len(self.violations)} violations"
        return [
            f"rounds      {self.rounds} in {self.seconds:.0f} s",
            f"faults      {self.faults.total()}: {faults}",
            f"requests    {self.requests}: {ends}",
            f"attempts    {self.attempts}",
            f"calls       {self.submissions} submissions acknowledged, {self.errors} calls failed and were repeated",
            f"watched     {self.events} events over {self.streams} streams",
            f"results     {self.results} fetched, {self.orphans_swept} orphans swept",
            f"verdict     {verdict}",
            *(f"            {violation}" for violation in self.violations[:20]),
        ]


async def run_campaign(settings: CampaignSettings, folder: Path, say: Say = lambda _: None) -> Tally:
    """Run a campaign; data, logs, history and evidence are left in `folder`.

    Raises:
        TimeoutError: the installation did not start.
    """
    began = time.monotonic()
    shape = Shape(brokers=settings.brokers)
    history = History()
    for number, step_s in enumerate(shape.step_s):
        history.add(WorkerPace(f"worker-{number}/simulated", step_s))
    async with Installation(folder, shape) as installation:
        try:
            async with short_leases(installation), _callers(installation, history, settings.seed) as callers:
                async with asyncio.timeout(READY_WITHIN_S):
                    await callers[0].one_request()
                await _rounds(installation, callers, history, settings, say)
            orphans = await sweep_orphans(installation)
            evidence = await gather_evidence(installation.nats_url, installation.store)
        finally:
            history.dump(folder / HISTORY_FILE)
        evidence.dump(folder / EVIDENCE_FILE)
    return _tally(settings, history, evidence, time.monotonic() - began, orphans)


async def _rounds(
    installation: Installation, callers: list[Caller], history: History, settings: CampaignSettings, say: Say
) -> None:
    """Load throughout, and a fault a round; faults may overlap. At the end every request has the time to end."""
    stopped = asyncio.Event()
    saboteur = Saboteur(installation, history)
    try:
        async with asyncio.timeout(None) as limit:
            async with asyncio.TaskGroup() as load:
                for caller in callers:
                    load.create_task(caller.call_until(stopped))
                async with asyncio.TaskGroup() as faults:
                    for number, planned in enumerate(plan(settings.seed, settings.rounds, settings.round_s), 1):
                        say(f"round {number}: {planned.action} {planned.role}")
                        faults.create_task(saboteur.strike(planned))
                        await asyncio.sleep(planned.round_s)
                await saboteur.heal()
                stopped.set()
                say("everything runs again; waiting until every request has ended")
                limit.reschedule(asyncio.get_running_loop().time() + RECOVERED_WITHIN_S)
            await _until_all_ended(installation)
    except TimeoutError:
        say(f"not every request has ended within {RECOVERED_WITHIN_S:g} s")  # which the checker will tell


async def _until_all_ended(installation: Installation) -> None:
    """Wait for both engines, and for the end of every request: nobody follows those that were never acknowledged."""
    while True:
        try:
            await installation.store.check()
            requests = by_request(await read_states(installation.nats_url))
        except (StoreUnavailableError, nats.errors.Error, OSError):
            requests = {}  # an engine that was killed often takes up to 10 s to come back
        if requests and all(states[-1].record.state in ENDED for states in requests.values()):
            return
        await asyncio.sleep(LOOK_EVERY_S)


@asynccontextmanager
async def _callers(installation: Installation, history: History, seed: int) -> AsyncIterator[list[Caller]]:
    async with AsyncExitStack() as stack:
        replicas = []
        for service in installation.services:
            replica, channel = connect(service.name, service.settings.listen)
            await stack.enter_async_context(channel)
            replicas.append(replica)
        account = Account(ENDPOINT, installation.api_key)
        yield [
            Caller(f"caller-{number}", account, replicas, history=history, dice=random.Random(f"{seed}/{number}"))
            for number in range(CALLERS)
        ]


@asynccontextmanager
async def short_leases(installation: Installation) -> AsyncIterator[None]:
    """Keep the consumers' ack wait at 4 s while the block runs, so that a lease is lost within a short campaign.

    Each process that starts sets it back, so it is looked after all the time.
    """
    async with Broker(installation.broker_settings) as broker:
        keeper = asyncio.create_task(_keep_leases_short(broker), name="short leases")
        try:
            yield
        finally:
            await end_task(keeper)


async def _keep_leases_short(broker: Broker) -> None:
    lease_ns = int(LEASE_S * 1e9)
    while True:
        for priority in (PRIORITY_NORMAL, PRIORITY_LOW):
            name = consumer_name(ENDPOINT, priority)
            try:
                config = (await broker.api(f"CONSUMER.INFO.{REQ}.{name}", {}))["config"]
                if isinstance(config, dict) and config["ack_wait"] != lease_ns:
                    subject = f"CONSUMER.CREATE.{REQ}.{name}.{config['filter_subject']}"
                    await broker.api(subject, {"stream_name": REQ, "config": config | {"ack_wait": lease_ns}})
            except (ApiError, BrokerUnavailableError):
                continue  # it is down, as it is meant to be now and then
        await asyncio.sleep(LOOK_EVERY_S)


async def sweep_orphans(installation: Installation) -> int:
    """Sweep at once, whatever the age of a video; returns how many orphans there were."""
    async with Broker(installation.broker_settings) as broker:
        view = LiveView(broker)
        sweeper = Sweeper(SweeperSettings(orphan_age_s=0.0), broker, view, installation.store)
        async with view:
            return await sweeper.sweep_orphans()


def _tally(settings: CampaignSettings, history: History, evidence: Evidence, seconds: float, orphans: int) -> Tally:
    requests = by_request(evidence.states)
    last = [states[-1].record.state for states in requests.values()]
    events = history.of(WatchEvent)
    return Tally(
        rounds=settings.rounds,
        seconds=seconds,
        faults=Counter(f"{fault.action} {fault.role}" for fault in history.of(Fault)),
        requests=len(requests),
        ends=Counter(State.Name(state).removeprefix("STATE_") for state in last),
        attempts=sum(state.record.state == RUNNING for states in requests.values() for state in states),
        submissions=len(history.of(Submission)),
        errors=len(history.of(CallError)),
        events=len(events),
        streams=len({(event.watcher, event.stream) for event in events}),
        results=len(history.of(Fetch)),
        orphans_swept=orphans,
        violations=check(history, evidence),
    )
