"""Random operations, crashes and the passing of time: the queue does what a simple model does.

`COGREEL_MODEL_EXAMPLES=300` tells more and longer stories than each run of the suite.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Literal

import pytest
from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL, Priority, RequestState
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from jobs import broker, deadlines, dispatch, publisher, states, streams
from tests.brokers import NatsServers, servers_in
from tests.jobs.queue_story import DEAF, MOST_REQUESTS, TENANTS, QueueStory

EXAMPLES = int(os.environ.get("COGREEL_MODEL_EXAMPLES", "0"))
NEVER_S = 3600.0  # longer than any story
STEP_WITHIN_S = 40.0

_workers = st.integers(0, len(DEAF) - 1)
_numbers = st.integers(0, MOST_REQUESTS - 1)
_tenants = st.sampled_from(TENANTS)
_priorities: st.SearchStrategy[Priority.ValueType] = st.sampled_from([PRIORITY_NORMAL, PRIORITY_LOW])
_public_states: st.SearchStrategy[RequestState.ValueType] = st.sampled_from(sorted(set(states.PUBLIC.values())))


class QueueMachine(RuleBasedStateMachine):
    """Draws a story, step by step."""

    def __init__(self, runner: asyncio.Runner, nats: NatsServers) -> None:
        super().__init__()
        self._runner = runner
        self._sound = True
        self._killed = False
        self.story = QueueStory(nats)
        self._run(self.story.system.__aenter__())

    def _run(self, step: Coroutine[None, None, object]) -> None:
        async def within_time() -> None:
            async with asyncio.timeout(STEP_WITHIN_S):
                await step

        was_sound, self._sound = self._sound, False
        self._runner.run(within_time())
        self._sound = was_sound

    def _has_room(self) -> bool:
        return len(self.story.model.requests) < MOST_REQUESTS

    @precondition(_has_room)
    @rule(tenant=_tenants, priority=_priorities, max_attempts=st.integers(1, 3))
    def submit(self, tenant: str, priority: Priority.ValueType, max_attempts: int) -> None:
        self._run(self.story.submit(tenant, priority, max_attempts))

    @precondition(_has_room)
    @rule(tenant=_tenants, key=st.sampled_from("xy"), prompt=st.sampled_from(["one", "two"]))
    def submit_with_a_key(self, tenant: str, key: str, prompt: str) -> None:
        self._run(self.story.submit(tenant, PRIORITY_NORMAL, 2, key=key, prompt=prompt))

    @precondition(_has_room)
    @rule(tenant=_tenants)
    def let_a_start_timeout_pass(self, tenant: str) -> None:
        self._run(self.story.let_a_start_timeout_pass(tenant))

    @rule(number=_numbers)
    def cancel(self, number: int) -> None:
        if (request := self.story.pick(number, lambda _: True)) is not None:
            self._run(self.story.cancel(request))

    @rule(number=_numbers)
    def look_at_anothers(self, number: int) -> None:
        if (request := self.story.pick(number, lambda _: True)) is not None:
            self._run(self.story.look_at_anothers(request))

    @rule(tenant=_tenants, page_size=st.integers(1, 4), state=_public_states)
    def list_in_pages(self, tenant: str, page_size: int, state: RequestState.ValueType) -> None:
        self._run(self.story.list_in_pages(tenant, page_size, state))

    @precondition(_has_room)
    @rule(index=_workers)
    def take(self, index: int) -> None:
        self._run(self.story.take(index))

    @precondition(_has_room)
    @rule(index=_workers)
    def take_as_well(self, index: int) -> None:  # twice, since most of what matters begins with it
        self._run(self.story.take(index))

    @precondition(lambda self: self.story.leases)
    @rule(number=_numbers, way=st.sampled_from(["complete", "complete", "fail", "drain", "retry", "drop"]))
    def end_attempt(self, number: int, way: str) -> None:
        leases = self.story.leases
        self._run(self.story.end_attempt(leases[number % len(leases)], way))

    @rule(index=_workers, supervised=st.booleans())
    def crash(self, index: int, supervised: bool) -> None:
        self._run(self.story.crash(index, supervised=supervised))

    @rule(number=_numbers)
    def hand_out_again(self, number: int) -> None:
        request = self.story.pick(number, lambda request: request.attempt > 0 and not request.ended)
        if request is not None:
            self._run(self.story.hand_out_again(request))

    @rule()
    def renew_replica(self) -> None:
        self._run(self.story.system.renew_replica())

    @precondition(lambda self: any(request.on_last_attempt for request in self.story.model.requests.values()))
    @rule()
    def look_after_holders(self) -> None:
        self._run(self.story.look_after_holders(pytest.MonkeyPatch.context()))

    @rule(number=_numbers)
    def erase(self, number: int) -> None:
        if (request := self.story.pick(number, lambda request: request.ended)) is not None:
            self._run(self.story.erase(request))

    @rule()
    def forget_deliveries(self) -> None:
        self._run(self.story.forget_deliveries())

    @precondition(lambda self: not self._killed and self._has_room())
    @rule(dice=st.integers(1, 6), number=_numbers, meanwhile=st.sampled_from(["nothing", "submit", "complete"]))
    def kill_broker(self, dice: int, number: int, meanwhile: str) -> None:
        if dice == 6:
            self._killed = True
            self._run(self.story.kill_broker(meanwhile, number))

    @invariant()
    def agree(self) -> None:
        self._run(self.story.check())

    def teardown(self) -> None:
        try:
            if self._sound:
                self._run(self.story.finish())
        finally:
            self._runner.run(self.story.system.__aexit__(None, None, None))


@pytest.fixture
def still_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing falls due by itself, so that a story is the same in each run: `hand_out_again` is what time does."""
    monkeypatch.setattr(dispatch, "SILENCE_S", 0.0)  # so that a silent holder is not waited for beside other work
    for module in (broker, publisher):
        monkeypatch.setattr(module, "ABSENCE_LASTS_S", 0.1)  # each story waits until all brokers know who leads
    monkeypatch.setattr(deadlines, "SILENCE_S", 0.03)
    monkeypatch.setattr(deadlines, "ASK_EVERY_S", 0.01)
    monkeypatch.setattr(dispatch, "FIRST_BACKOFF_S", NEVER_S)
    monkeypatch.setattr(dispatch, "LONGEST_BACKOFF_S", NEVER_S)
    monkeypatch.setattr(dispatch, "UNDECIDED_DELAY_S", NEVER_S)
    monkeypatch.setattr(deadlines, "LOOK_AFTER_HOLDER_S", NEVER_S)
    monkeypatch.setattr(streams, "ACK_WAIT_S", NEVER_S)


async def test_an_old_lease_that_is_put_down_leaves_the_one_of_a_request_submitted_anew(
    own_nats: NatsServers, still_clock: None
) -> None:
    story = QueueStory(own_nats)
    async with story.system:
        for _ in range(2):
            await story.submit("ann", PRIORITY_NORMAL, 2, key="x")
            await story.take(0)
            if (request := story.pick(0, lambda _: True)) is not None and len(story.leases) == 1:
                await story.cancel(request)
                await story.erase(request)
        await story.end_attempt(story.leases[0], "drop")
        await story.check()


async def test_a_worker_that_was_taken_for_dead_does_not_cut_the_pause_of_another_short(
    own_nats: NatsServers, still_clock: None
) -> None:
    story = QueueStory(own_nats)
    async with story.system:
        await story.submit("ann", PRIORITY_NORMAL, 3)
        await story.take(DEAF.index(True))
        if (request := story.pick(0, lambda _: True)) is not None:
            await story.hand_out_again(request)
        await story.take(0)
        await story.end_attempt(story.leases[1], "retry")
        await story.end_attempt(story.leases[0], "drop")
        await story.take(1)  # waits for another request
        await story.check()


@pytest.mark.timeout(2 * 3600 if EXAMPLES else 60)
def test_the_queue_does_what_a_simple_model_does(brokers: Literal[1, 3], tmp_path: Path, still_clock: None) -> None:
    # A loop of its own: the suite's does not run while a test that is not a coroutine does.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        nats = servers_in(tmp_path, brokers)
        runner.run(nats.__aenter__())
        try:

            class OnThisBroker(QueueMachine):
                def __init__(self) -> None:
                    super().__init__(runner, nats)

            run_state_machine_as_test(
                OnThisBroker,
                settings=settings(
                    max_examples=EXAMPLES or (12 if brokers == 1 else 6),
                    stateful_step_count=60 if EXAMPLES else 30,
                    deadline=None,
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
                ),
            )
        finally:
            runner.run(nats.__aexit__(None, None, None))
