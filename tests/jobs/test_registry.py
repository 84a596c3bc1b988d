"""The registry: who runs answers for itself, and nobody for the dead."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from cogreel.v1.admin_pb2 import Worker

from inference.supervisor import Supervisor, WorkerRun
from jobs.broker import Broker, BrokerSettings
from jobs.control import Holding, answer_controls, ask_holding
from jobs.errors import BrokerUnavailableError
from jobs.record_pb2 import Control, ControlReply, Describe
from jobs.registry import list_workers
from jobs.subjects import PING, RequestKey, control_subject
from tests.brokers import NatsServers
from tests.jobs.link import Link
from tests.waiting import seen

KEY = RequestKey("tenant", "00000000-0000-4000-8000-000000000000")


@asynccontextmanager
async def running(
    settings: BrokerSettings, name: str, describe: Callable[[], Worker] | None = None
) -> AsyncIterator[str]:
    """A run of a worker process with a connection of its own; gives its incarnation."""
    incarnation = secrets.token_hex(8)
    described = describe or (lambda: Worker(name=name, incarnation=incarnation, device="cuda:0"))
    async with (
        Broker(settings) as broker,
        answer_controls(
            broker, incarnation, holds=lambda _key, _attempt: True, on_cancel=lambda _key: None, describe=described
        ),
    ):
        yield incarnation


async def test_all_that_run_are_listed_by_name_with_what_they_are(broker: Broker, nats: NatsServers) -> None:
    async with AsyncExitStack() as stack:
        incarnations = {
            name: await stack.enter_async_context(running(nats.settings(), name))
            for name in ("c/cuda:0", "a/cuda:0", "b/cpu")
        }
        # Three brokers take a moment to tell each other who listens.
        found = await seen(lambda: list_workers(broker), lambda workers: len(workers) == 3)
        assert [worker.name for worker in found] == ["a/cuda:0", "b/cpu", "c/cuda:0"]
        assert {worker.name: worker.incarnation for worker in found} == incarnations
        assert {worker.device for worker in found} == {"cuda:0"}
    assert await list_workers(broker) == []


async def test_where_nobody_runs_that_is_known_at_once(broker: Broker) -> None:
    began = time.monotonic()
    assert await list_workers(broker) == []
    assert time.monotonic() - began < 0.5


async def test_one_that_died_is_not_listed_although_its_supervisor_answers_for_it(
    broker: Broker, nats: NatsServers
) -> None:
    async with Supervisor(broker) as supervisor, running(nats.settings(), "alive") as alive:
        async with running(nats.settings(), "dies") as dead:
            await seen(lambda: list_workers(broker), lambda found: len(found) == 2)
        await supervisor.bury(WorkerRun(incarnation=dead, ready=True))
        assert await ask_holding(broker, dead, KEY, 1) is Holding.NOT_MINE
        assert [worker.incarnation for worker in await list_workers(broker)] == [alive]


async def test_one_that_keeps_silent_holds_the_others_up_for_a_second_at_most(
    broker: Broker, nats: NatsServers
) -> None:
    async def say_nothing(_: object) -> None:
        pass

    silent = await broker.nc.subscribe(PING, cb=say_nothing)
    began = time.monotonic()
    assert await list_workers(broker) == []
    async with running(nats.settings(), "talks"):
        found = await seen(lambda: list_workers(broker), bool)  # once the server knows that it listens
        assert [worker.name for worker in found] == ["talks"]
    await silent.unsubscribe()
    assert time.monotonic() - began < 4


async def test_what_a_worker_says_is_of_this_moment(broker: Broker, nats: NatsServers) -> None:
    now = Worker(name="changes", incarnation="1" * 16)
    async with running(nats.settings(), "changes", lambda: now):
        for request_id, draining in (("", False), ("one", False), ("two", True)):
            now.request_id, now.draining = request_id, draining
            assert await list_workers(broker) == [now]


async def test_one_worker_can_be_asked_alone(broker: Broker, nats: NatsServers) -> None:
    async with running(nats.settings(), "one") as one, running(nats.settings(), "other"):
        reply = await broker.request(control_subject(one), Control(describe=Describe()).SerializeToString())
        assert ControlReply.FromString(reply.data).worker.name == "one"


async def test_a_broker_that_is_away_is_not_taken_for_an_empty_registry(nats: NatsServers) -> None:
    link = Link(nats.settings())
    async with link.open(), running(nats.settings(), "alive"), Broker(link.settings) as behind_link:
        assert len(await list_workers(behind_link)) == 1
        link.cut()
        with pytest.raises(BrokerUnavailableError):
            await list_workers(behind_link)
        link.mend()

        async def found() -> list[Worker]:
            try:
                return await list_workers(behind_link)
            except BrokerUnavailableError:
                return []

        await seen(found, lambda workers: len(workers) == 1)
