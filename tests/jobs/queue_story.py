"""A story of the queue: steps that are taken by the system and by the model, and must come out alike.

`test_model` draws the stories; here is what its steps do, and the comparison after each.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest
from cogreel.v1.queue_pb2 import (
    FAILURE_REASON_DEVICE,
    FAILURE_REASON_START_TIMEOUT,
    PRIORITY_LOW,
    PRIORITY_NORMAL,
    Failure,
    ListRequestsRequest,
    Priority,
    RequestState,
    SubmitRequest,
)
from cogreel.v1.video_pb2 import TextToVideoInput
from google.protobuf.duration_pb2 import Duration

from jobs import deadlines, states
from jobs.errors import AlreadyFinishedError, IdempotencyConflictError, RequestNotFoundError
from jobs.lease import Lease
from jobs.queue import request_id_for
from jobs.record_pb2 import Record, State
from jobs.subjects import RequestKey
from tests.brokers import NatsServers
from tests.jobs.queue_model import ModelLease, ModelRequest, ModelWorker, QueueModel
from tests.jobs.queue_system import Process, QueueSystem
from tests.jobs.requests import output_named
from tests.jobs.worker_run import unanswered
from tests.waiting import seen, until

TENANTS = ("ann", "bob")
DEAF = (False, False, True)
MOST_REQUESTS = 12


@dataclass(eq=False)
class HeldLease:
    """A lease as the model has it and as the worker has it."""

    model: ModelLease
    real: Lease
    process: Process


class QueueStory:
    """Each step does one thing to the queue and to the model. `check` finds out whether they agree."""

    def __init__(self, nats: NatsServers) -> None:
        self.model = QueueModel()
        self.workers = [ModelWorker(deaf) for deaf in DEAF]
        self.leases: list[HeldLease] = []
        self.suffix = secrets.token_hex(4)  # an endpoint and tenants that no other story knows
        self.system = QueueSystem(nats, f"test/{self.suffix}", DEAF)

    def owner(self, tenant: str) -> str:
        """A tenant's name in this story."""
        return f"{tenant} {self.suffix}"

    def pick(self, number: int, wanted: Callable[[ModelRequest], bool]) -> ModelRequest | None:
        """One of the requests; None if there is none that is wanted."""
        found = [request for request in self.model.requests.values() if wanted(request)]
        return found[number % len(found)] if found else None

    # What callers do

    async def submit(
        self, tenant: str, priority: Priority.ValueType, max_attempts: int, *, key: str | None = None, prompt: str = "p"
    ) -> None:
        """Submit, with or without an idempotency key, which may have been used before."""
        owner, body = self.owner(tenant), f"{prompt} {priority} {max_attempts}"
        submission = SubmitRequest(
            endpoint=self.system.endpoint,
            priority=priority,
            max_attempts=max_attempts,
            idempotency_key=key,
            text_to_video=TextToVideoInput(prompt=prompt),
        )
        standing = self.model.requests.get(RequestKey(owner, request_id_for(owner, key)))
        if standing is not None and standing.body != body:
            with pytest.raises(IdempotencyConflictError) as conflict:
                await self.system.queue.submit(owner, submission)
            assert conflict.value.request_id == standing.key.request_id
            return
        submitted = await self.system.queue.submit(owner, submission)
        assert submitted.existing == (standing is not None)
        if standing is None:
            self.model.submit(RequestKey(owner, submitted.record.request_id), body, priority, max_attempts)
        else:
            assert submitted.record.request_id == standing.key.request_id

    async def let_a_start_timeout_pass(self, tenant: str) -> None:
        """Submit what must begin at once, and let it wait."""
        submission = SubmitRequest(endpoint=self.system.endpoint, start_timeout=Duration(nanos=1_000_000))
        submitted = await self.system.queue.submit(self.owner(tenant), submission)
        key = RequestKey(self.owner(tenant), submitted.record.request_id)
        ended = await seen(lambda: self.system.state(key), lambda record: record.state in states.TERMINAL)
        assert ended.failure.reason == FAILURE_REASON_START_TIMEOUT
        self.model.submit(key, "", PRIORITY_NORMAL, ended.max_attempts).move_to(State.STATE_FAILED)

    async def cancel(self, request: ModelRequest) -> None:
        """Cancel a request, whatever its state; a worker that hears stops at once."""
        if request.state in {State.STATE_COMPLETED, State.STATE_FAILED}:
            with pytest.raises(AlreadyFinishedError) as too_late:
                await self.system.queue.cancel(request.key)
            assert too_late.value.state == states.public_name(request.state)
            return
        assert (await self.system.queue.cancel(request.key)).state == State.STATE_CANCELLED
        if request.ended:
            return
        stopped = [held for held in self.leases if held.model is request.lease and not held.model.worker.deaf]
        self.model.cancel(request)
        for held in stopped:
            async with asyncio.timeout(2):  # a heartbeat would take longer
                await held.real.lost.wait()

    async def look_at_anothers(self, request: ModelRequest) -> None:
        """To another tenant, the request does not exist."""
        key = RequestKey(self.owner("a stranger"), request.key.request_id)
        with pytest.raises(RequestNotFoundError):
            await self.system.queue.read(key)
        with pytest.raises(RequestNotFoundError):
            await self.system.queue.cancel(key)

    async def list_in_pages(self, tenant: str, page_size: int, state: RequestState.ValueType) -> None:
        """List a tenant's requests in one state, to the last page."""
        listed: list[str] = []
        token: str | None = None
        while token != "":
            wanted = ListRequestsRequest(page_size=page_size, page_token=token or "", states=[state])
            records, token = await self.system.queue.list(self.owner(tenant), wanted)
            assert len(records) == page_size or not token
            listed += [record.request_id for record in records]
        expected = self.model.newest_first(self.owner(tenant))
        assert listed == [request.key.request_id for request in expected if states.PUBLIC[request.state] == state]

    # What workers do

    async def take(self, index: int) -> None:
        """Let a worker take what comes; where nothing is there it waits, until there is something."""
        worker, process = self.workers[index], self.system.processes[index]
        waits = not self.model.offers(worker)
        taking = asyncio.create_task(self.system.take(process))
        if waits:
            await self.submit(TENANTS[0], PRIORITY_LOW, 2)
        expected = self.model.take(worker)
        assert expected is not None
        lease = await taking
        assert (lease.key, lease.record.attempt) == (expected.request.key, expected.attempt)
        self.leases.append(HeldLease(expected, lease, process))

    async def end_attempt(self, held: HeldLease, way: str) -> None:
        """Let a worker end its attempt and put the lease down, whether it still has a say or not."""
        failure = Failure(reason=FAILURE_REASON_DEVICE, message="out of memory", attempt=held.model.attempt)
        match way:
            case "complete":
                video = f"{held.process.run.incarnation} {held.model.attempt}"
                assert await held.real.complete(output_named(video)) == self.model.complete(held.model, video)
            case "fail":
                assert await held.real.fail(failure) == self.model.fail(held.model)
            case "drain":
                assert await held.real.release() == self.model.release(held.model, failed=False)
            case "retry":
                assert await held.real.release(failure) == self.model.release(held.model, failed=True)
        await self.system.put_down(held.process, held.real)
        self.model.put_down(held.model)
        self.leases.remove(held)

    async def crash(self, index: int, *, supervised: bool) -> None:
        """Let a worker die; with a supervisor, what it had is handed out again, and it is known to be dead."""
        process = self.system.processes[index]
        own = [held for held in self.leases if held.process is process]
        self.workers[index].alive = False
        self.workers[index] = ModelWorker(DEAF[index])
        await self.system.crash(index, supervised=supervised)
        if supervised:
            self.model.hand_out_again([held.model.request for held in own])
        self.leases = [held for held in self.leases if held.process is not process]

    # What time and the machines do

    async def hand_out_again(self, request: ModelRequest) -> None:
        """A pause is over, a lease has run out, or the broker is mistaken."""
        if self.system.replies[request.key]:
            await self.system.hand_out_again(request.key)
            self.model.hand_out_again([request])

    async def look_after_holders(self, patch: AbstractContextManager[pytest.MonkeyPatch]) -> None:
        """A new replica ends those whose last attempt is in no one's hands, and no others."""
        last = [request for request in self.model.requests.values() if request.on_last_attempt]
        answering = [held for held in self.leases if held.model.request in last and held.model.standing]
        answering = [held for held in answering if held.model.answers_mine(None)]
        asked = {held: held.process.run.asked for held in answering}
        self.model.look_after_holders()
        with patch as patched:
            patched.setattr(deadlines, "LOOK_AFTER_HOLDER_S", 0.02)
            await self.system.renew_replica()
            for request in last:
                await seen(
                    lambda: self.system.state(request.key),  # noqa: B023 - waited for before it changes
                    lambda record: record.state == request.state,  # noqa: B023
                )
            await until(lambda: all(held.process.run.asked > before for held, before in asked.items()))

    async def erase(self, request: ModelRequest) -> None:
        """A request that has ended is erased when its time is up."""
        await self.system.erase(request.key)
        self.model.erase(request)
        with pytest.raises(RequestNotFoundError):
            await self.system.queue.read(request.key)

    async def forget_deliveries(self) -> None:
        """The broker hands out everything again that has not ended."""
        self.model.forget_deliveries()
        await self.system.forget_deliveries([key for key, request in self.model.requests.items() if not request.ended])

    async def kill_broker(self, meanwhile: str, number: int) -> None:
        """The broker is killed, while a caller submits or a worker completes."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.system.kill_broker())
            if meanwhile == "submit":
                group.create_task(self.submit(TENANTS[1], PRIORITY_NORMAL, 3))
            elif meanwhile == "complete" and self.leases:
                held = self.leases[number % len(self.leases)]
                group.create_task(self.end_attempt(held, "complete"))
        await self.forget_deliveries()

    # What must be so at all times

    async def check(self) -> None:
        """Model and system agree about every request, its place, the lists and the leases."""
        await self.system.catch_up()
        for key, request in self.model.requests.items():
            self._compare(request, await self.system.queue.read(key))
            assert self.system.queue.position(key) == self.model.position(request)
        for tenant in TENANTS:
            records, token = await self.system.queue.list(self.owner(tenant), ListRequestsRequest())
            listed = [record.request_id for record in records]
            assert not token
            assert listed == [request.key.request_id for request in self.model.newest_first(self.owner(tenant))]
        for held in self.leases:
            if held.model.standing:
                assert not held.real.lost.is_set()
                assert held.process.run.dispatcher.holds(held.real.key, held.model.attempt)

    def _compare(self, request: ModelRequest, record: Record) -> None:
        assert (record.state, record.attempt) == (request.state, request.attempt)
        assert len(record.failed_attempts) == request.failures
        assert record.output.object_key == request.output
        holders = [held.process.run.incarnation for held in self.leases if held.model is request.lease]
        if holders:  # else it is a run that is dead
            assert [record.worker.incarnation] == holders

    async def finish(self) -> None:
        """Workers that hear take what is left, until all has ended; every state that ever was is as in the model."""
        for held in list(self.leases):
            await self.end_attempt(held, "drain")
        await self.forget_deliveries()
        while self.model.offers(self.workers[0]):
            await self.take(0)
            await self.end_attempt(self.leases[-1], "complete")
        await self.take(0)  # deals with what is never handed to it
        await self.end_attempt(self.leases[-1], "complete")
        await self.check()
        for key, request in self.model.requests.items():
            assert request.ended
            told = [(record.state, record.attempt) for record in await self.system.history(key)]
            assert told == request.history
        await seen(lambda: unanswered(self.system.broker, self.system.endpoint), lambda count: count == 0)
