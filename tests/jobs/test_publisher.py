"""How a transition is decided: once, by one, and never given up for a broker that is away for a moment."""

from __future__ import annotations

import ast
import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from jobs import states
from jobs.broker import Broker
from jobs.erasure import erase
from jobs.errors import QueueFullError
from jobs.publisher import (
    MAX_RECORD_BYTES,
    Applied,
    Lost,
    Undecided,
    key_of,
    leader_state,
    publish_transition,
)
from jobs.record_pb2 import Record, State, Worker
from jobs.streams import ensure_streams
from jobs.subjects import REQ, request_subject, states_filter
from tests.brokers import NatsServers
from tests.jobs.requests import Request, new_request
from tests.waiting import until

ROOT = Path(__file__).parents[2]


def claim_of(record: Record, incarnation: str) -> Record:
    worker = Worker(incarnation=incarnation)
    return states.claimed(record, worker, queued_seq=1, log_seq=0, now=datetime.now(UTC))


async def test_an_applied_transition_is_the_requests_state(broker: Broker) -> None:
    record = new_request()
    outcome = await publish_transition(broker, record, expected_seq=0)
    assert isinstance(outcome, Applied)
    assert await leader_state(broker, key_of(record)) == (outcome.seq, record)


async def test_the_loser_is_handed_what_the_winner_wrote(broker: Broker) -> None:
    request = await Request.submit(broker)
    mine, other = claim_of(request.record, "mine"), claim_of(request.record, "other")
    won = await publish_transition(broker, other, expected_seq=request.seq)
    assert isinstance(won, Applied)
    assert await publish_transition(broker, mine, expected_seq=request.seq) == Lost(won.seq, other)
    assert await leader_state(broker, request.key) == (won.seq, other)


async def test_a_repeat_of_ones_own_write_is_applied_and_writes_nothing(broker: Broker) -> None:
    request = await Request.submit(broker)
    mine = claim_of(request.record, "mine")
    first = await publish_transition(broker, mine, expected_seq=request.seq)
    assert await publish_transition(broker, mine, expected_seq=request.seq) == first
    stored = await broker.batch(REQ, 1, states_filter(request.key))
    assert len(stored) == 2


async def test_a_write_to_a_request_that_was_erased_meanwhile_loses_to_nobody(broker: Broker) -> None:
    request = await Request.submit(broker)
    await erase(broker, request.key, until_seq=request.seq, until_log_seq=0)
    outcome = await publish_transition(broker, claim_of(request.record, "mine"), expected_seq=request.seq)
    assert isinstance(outcome, Lost)
    assert outcome.record is None
    assert await leader_state(broker, request.key) is None


async def test_a_second_submission_of_one_request_loses_to_the_first(broker: Broker) -> None:
    request = await Request.submit(broker)
    again = new_request()
    again.tenant, again.request_id = request.key
    assert await publish_transition(broker, again, expected_seq=0) == Lost(request.seq, request.record)


async def test_of_fifty_racers_exactly_one_wins_and_all_others_know_who(broker: Broker) -> None:
    request = await Request.submit(broker)
    wishes = [claim_of(request.record, f"racer {number}") for number in range(50)]
    outcomes = await asyncio.gather(*(publish_transition(broker, wish, expected_seq=request.seq) for wish in wishes))
    ((seq, winner),) = [
        (outcome.seq, wish) for outcome, wish in zip(outcomes, wishes, strict=True) if isinstance(outcome, Applied)
    ]
    assert [o for o in outcomes if not isinstance(o, Applied)] == [Lost(seq, winner)] * 49
    assert len(await broker.batch(REQ, 1, states_filter(request.key))) == 2


async def test_a_broker_that_is_killed_and_comes_back_in_time_is_survived(broker: Broker, nats: NatsServers) -> None:
    request = await Request.submit(broker)
    mine = claim_of(request.record, "mine")
    await nats.kill()
    outcome = await publish_transition(broker, mine, expected_seq=request.seq)
    assert isinstance(outcome, Applied)
    assert await leader_state(broker, request.key) == (outcome.seq, mine)
    assert len(await broker.batch(REQ, 1, states_filter(request.key))) == 2


async def test_writes_under_way_when_the_broker_is_killed_are_each_decided_right(
    broker: Broker, nats: NatsServers
) -> None:
    requests = [await Request.submit(broker) for _ in range(40)]
    wishes = [
        (request, claim_of(request.record, f"{request.key.request_id} {side}"))
        for request in requests
        for side in ("left", "right")
    ]
    publishing = [
        asyncio.create_task(publish_transition(broker, wish, expected_seq=request.seq)) for request, wish in wishes
    ]
    await until(lambda: any(task.done() for task in publishing))
    await nats.kill()
    outcomes = await asyncio.gather(*publishing)
    await nats.wait_ready()
    for request in requests:
        standing = await leader_state(broker, request.key)
        assert standing is not None
        seq, record = standing
        decided = {
            wish.write_id: outcome for (of, wish), outcome in zip(wishes, outcomes, strict=True) if of is request
        }
        assert decided.pop(record.write_id) == Applied(seq)
        assert list(decided.values()) == [Lost(seq, record)]


async def test_a_broker_that_stays_away_decides_nothing(own_nats: NatsServers) -> None:
    async with Broker(own_nats.settings()) as broker:
        await ensure_streams(broker)
        request = await Request.submit(broker)
        await own_nats.stop()
        mine = claim_of(request.record, "mine")
        outcome = await publish_transition(broker, mine, expected_seq=request.seq, within_s=0.1)
        assert isinstance(outcome, Undecided)
        assert outcome.cause


async def test_a_full_stream_says_so(own_nats: NatsServers) -> None:
    async with Broker(replace(own_nats.settings(), max_queue_bytes=20_000)) as broker:
        await ensure_streams(broker, update=True)
        for _ in range(100):
            last = new_request()
            last.submission.text_to_video.prompt = "x" * 1000
            try:
                await publish_transition(broker, last, expected_seq=0)
            except QueueFullError:
                break
        else:
            pytest.fail("the stream never filled up")
        assert await leader_state(broker, key_of(last)) is None


async def test_a_record_above_the_limit_is_not_published(broker: Broker) -> None:
    record = new_request()
    record.submission.text_to_video.prompt = "x" * MAX_RECORD_BYTES
    with pytest.raises(ValueError, match="exceeds"):
        await publish_transition(broker, record, expected_seq=0)
    assert await leader_state(broker, key_of(record)) is None


async def test_every_write_is_guarded_by_the_one_spelling_of_all_states_of_the_request(broker: Broker) -> None:
    written: list[Msg] = []

    async def on_write(message: Msg) -> None:
        written.append(message)

    request = await Request.submit(broker)
    subscription = await broker.nc.subscribe(f"{request_subject(request.key)}.>", cb=on_write)
    expected = []
    for step in (request.claim, request.release, request.claim, request.complete):
        expected.append(str(request.seq))
        await step()
    await until(lambda: len(written) == 4)
    await subscription.unsubscribe()
    for message, seq in zip(written, expected, strict=True):
        assert message.headers is not None
        assert message.headers["Nats-Expected-Last-Subject-Sequence-Subject"] == states_filter(request.key)
        assert message.headers["Nats-Expected-Last-Subject-Sequence"] == seq
        assert "Nats-TTL" not in message.headers
    names = [message.subject.rpartition(".")[2] for message in written]
    assert names == ["RUNNING", "RELEASED", "RUNNING", "COMPLETED"]
    assert State.Name(request.record.state) == "STATE_COMPLETED"


def test_nobody_but_the_publisher_names_a_subject_to_write_states_to() -> None:
    offences = []
    for room in ("files", "gateway", "host", "inference", "jobs", "service"):
        for path in (ROOT / room).rglob("*.py"):
            place = str(path.relative_to(ROOT))
            tree = ast.parse(path.read_text(encoding="utf-8"))
            names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            if place not in {"jobs/subjects.py", "jobs/publisher.py"} and names & {"state_subject", "request_subject"}:
                offences.append(f"{place} builds a subject of REQ")
            if place not in {"jobs/subjects.py", "jobs/streams.py"} and spelt_subjects(tree):
                offences.append(f"{place} spells a subject of REQ")
    assert not offences


def spelt_subjects(tree: ast.AST) -> bool:
    """Whether a text begins like a subject of REQ, other than behind `{LIVE}`: nothing stores what goes there."""
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    behind_live = [
        second.value
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for first, second in pairwise(node.values)
        if isinstance(first, ast.FormattedValue)
        and ast.unparse(first.value).endswith("LIVE")
        and isinstance(second, ast.Constant)
    ]
    return sum(text.startswith("req.") for text in texts) > sum(str(text).startswith("req.") for text in behind_live)
