"""Three brokers with three copies of everything: a leader that dies loses nothing and decides nothing twice."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import grpc
import pytest
import pytest_asyncio
from cogreel.cli.findings import Finding, Verdict
from cogreel.v1.queue_pb2 import PRIORITY_NORMAL, RequestState
from pydantic import SecretStr

from files import ObjectStore
from host.doctor.broker_checks import check_broker
from host.engines.ports import choose_ports
from host.settings import Settings
from jobs import states
from jobs.broker import ELECTION_LASTS_S, Broker
from jobs.errors import BrokerUnavailableError
from jobs.publisher import Applied, Lost, leader_state, publish_transition
from jobs.record_pb2 import Record, Worker
from jobs.subjects import REQ, RequestKey
from tests.brokers import ThreeNats
from tests.deployment import Deployment
from tests.errors import refusal_of
from tests.host.diagnoses import only, verdicts

_T = TypeVar("_T")


@pytest_asyncio.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ThreeNats]:
    """Three brokers of the module's own."""
    folder = tmp_path_factory.mktemp("cluster")
    async with ThreeNats(folder, advertise=True) as running:
        yield running


async def repeated(call: Callable[[], Awaitable[_T]]) -> _T:
    """Call as the contract tells callers to: what is UNAVAILABLE is tried again after the time that it names."""
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            told = refusal_of(error)
            if told.code != grpc.StatusCode.UNAVAILABLE or told.retry_after_s is None:
                raise
        await asyncio.sleep(told.retry_after_s)


async def test_who_has_closed_the_connection_waits_for_no_election(cluster: ThreeNats) -> None:
    async with Broker(cluster.settings()) as broker:
        await broker.nc.close()
        async with asyncio.timeout(ELECTION_LASTS_S / 2):
            with pytest.raises(BrokerUnavailableError):
                await broker.last(REQ, "req.>")


async def test_two_publishers_never_both_win(cluster: ThreeNats) -> None:
    settings = cluster.settings()
    async with Broker(settings) as one, Broker(settings) as two:

        async def race(brokers: tuple[Broker, Broker]) -> None:
            record = states.queued(
                Record(
                    tenant="race",
                    request_id=f"{secrets.token_hex(4)}-0000-4000-8000-{secrets.token_hex(6)}",
                    endpoint="e",
                    priority=PRIORITY_NORMAL,
                    max_attempts=3,
                ),
                now=datetime.now(UTC),
            )
            first = await publish_transition(brokers[0], record, expected_seq=0)
            assert isinstance(first, Applied)
            wishes = [
                states.claimed(record, Worker(incarnation=name), queued_seq=first.seq, log_seq=0, now=datetime.now(UTC))
                for name in ("one", "two")
            ]
            outcomes = await asyncio.gather(
                *(
                    publish_transition(broker, wish, expected_seq=first.seq)
                    for broker, wish in zip(brokers, wishes, strict=True)
                )
            )
            assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Applied", "Lost"]
            winner = next(wish for wish, outcome in zip(wishes, outcomes, strict=True) if isinstance(outcome, Applied))
            loser = next(outcome for outcome in outcomes if isinstance(outcome, Lost))
            assert loser.record is not None
            assert loser.record.worker == winner.worker
            standing = await leader_state(one, RequestKey(record.tenant, record.request_id))
            assert standing is not None
            assert standing[1].worker == winner.worker

        for _ in range(10):
            await asyncio.gather(*(race((one, two)) for _ in range(10)))


async def test_a_killed_leader_loses_nothing_that_was_acknowledged(cluster: ThreeNats, store: ObjectStore) -> None:
    async with Deployment(cluster.settings(), store) as deployment:
        caller = await deployment.caller(await deployment.service())
        other = await deployment.caller(await deployment.service(), tenant=caller.tenant)
        await deployment.worker(step_s=0.002)
        acknowledged: list[str] = []
        killed = asyncio.Event()

        async def submit_all() -> None:
            for index in range(30):
                answer = await repeated(partial(caller.submit, f"{index}", idempotency_key=f"{index}"))
                acknowledged.append(answer.request_id)
                if index == 10:
                    killed.set()

        async def kill() -> None:
            await killed.wait()
            await cluster.kill()

        async with asyncio.timeout(50):
            await asyncio.gather(submit_all(), kill())
            for request_id in acknowledged:
                state = await repeated(partial(other.ended, request_id))
                assert state == RequestState.REQUEST_STATE_COMPLETED
        assert len(set(acknowledged)) == 30
        for request_id in acknowledged:
            terminal = [event async for event in caller.watch(request_id) if event.state.HasField("finished_time")]
            assert len(terminal) == 1


async def test_the_doctor_sees_how_many_servers_and_copies_there_are(cluster: ThreeNats) -> None:
    async def diagnose(url: str, replicas: int) -> list[Finding]:
        return await check_broker(Settings(nats_url=SecretStr(url), nats_replicas=replicas))

    whole = verdicts(await diagnose(cluster.url, 3))
    assert (whole["nats replicas"], whole["streams"]) == (Verdict.OK, Verdict.OK)
    alone = await diagnose(cluster.url, 1)
    assert "3 servers" in only(alone, "nats replicas").found
    copies = [finding for finding in alone if finding.check == "streams"]
    assert {finding.verdict for finding in copies} == {Verdict.WARNING}
    assert all("3 copies" in finding.found for finding in copies)
    nobody = choose_ports(["nobody"])["nobody"]
    broken = await diagnose(f"{cluster.url},nats://test:x@127.0.0.1:{nobody}", 3)
    assert [finding.verdict for finding in broken if finding.check == "nats"] == [Verdict.PROBLEM, Verdict.OK]
