"""The queue that `test_model` holds against its model: one service replica, three workers, their supervisor, a broker.

Everything is the real thing. What `test_model` needs beyond it is certainty: each step here returns once the broker
has dealt with it, so that the next one finds the same queue in every run.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from cogreel.v1.admin_pb2 import ModelCard
from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL

from inference.supervisor import Supervisor
from inference.supervisor import WorkerRun as ReportedRun
from jobs.broker import Broker
from jobs.cards import load_card
from jobs.deliveries import hand_back
from jobs.erasure import erase
from jobs.errors import BrokerUnavailableError
from jobs.lease import Lease
from jobs.publisher import leader_state, read_record
from jobs.queue import Queue
from jobs.record_pb2 import Record
from jobs.streams import ensure_consumers, ensure_streams, stream_state
from jobs.subjects import LOG, REQ, RequestKey, consumer_name, log_subject, parse_request, states_filter
from jobs.view import LiveView
from tests.brokers import NatsServers
from tests.jobs.worker_run import WorkerRun
from tests.waiting import seen, until

PULL = json.dumps({"batch": 1, "no_wait": True}).encode()


@dataclass(eq=False)
class Process:
    """A worker process in its present run; `replies` is what its supervisor knows of its work."""

    run: WorkerRun
    stack: AsyncExitStack
    replies: list[str] = field(default_factory=list)


@dataclass
class QueueSystem:
    """The system on one endpoint, as an async context manager."""

    nats: NatsServers
    endpoint: str
    deaf: tuple[bool, ...]
    """For each worker, whether it hears neither questions nor cancellations."""
    replies: defaultdict[RequestKey, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Where the deliveries of each request were to be answered for, all of them."""

    async def __aenter__(self) -> Self:
        self._cards: dict[str, ModelCard] = {self.endpoint: load_card("simulated")}
        async with AsyncExitStack() as stack:
            self.broker = await stack.enter_async_context(Broker(self.nats.settings(name="observer")))
            await ensure_streams(self.broker)
            await ensure_consumers(self.broker, [self.endpoint])
            self._supervisor = await stack.enter_async_context(Supervisor(self.broker))
            self._replica = AsyncExitStack()
            await self.renew_replica()
            stack.push_async_callback(self._close_replica)
            self.processes = [await self._start(deaf=deaf) for deaf in self.deaf]
            stack.push_async_callback(self._stop_all)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _close_replica(self) -> None:
        await self._replica.aclose()

    async def _stop_all(self) -> None:
        for process in self.processes:
            await process.stack.aclose()

    async def _start(self, *, deaf: bool) -> Process:
        stack = AsyncExitStack()
        run = await stack.enter_async_context(WorkerRun(self.nats.settings(), self.endpoint, obeys=not deaf))
        return Process(run, stack)

    async def renew_replica(self) -> None:
        """Replace the service replica by a new one, which knows nothing but what the broker has."""
        await self._replica.aclose()
        self._replica = AsyncExitStack()
        self._replica_broker = await self._replica.enter_async_context(Broker(self.nats.settings(name="replica")))
        self.view = await self._replica.enter_async_context(LiveView(self._replica_broker))
        self.queue = Queue(self._replica_broker, self.view, self._cards)

    async def catch_up(self) -> None:
        """Wait until the replica has seen all there is."""
        last_seq, _, _ = await stream_state(self.broker, REQ)
        assert await self.view.reached(last_seq, timeout_s=10)

    async def state(self, key: RequestKey) -> Record:
        """A request's record; there must be one."""
        found = await leader_state(self.broker, key)
        assert found is not None
        return found[1]

    async def history(self, key: RequestKey) -> list[Record]:
        """All states of a request, oldest first."""
        return [read_record(stored) for stored in await self.broker.batch(REQ, 1, states_filter(key))]

    async def erase(self, key: RequestKey) -> None:
        """Erase a request, as the sweeper of the replica does."""
        last_entry = await self.broker.last(LOG, log_subject(key))
        found = await leader_state(self.broker, key)
        assert found is not None
        until_log_seq = last_entry.seq if last_entry is not None else 0
        await erase(self.broker, key, until_seq=found[0], until_log_seq=until_log_seq)
        self.view.projection.forget(key)

    async def take(self, process: Process) -> Lease:
        """Let a worker take the next request."""
        lease = await process.run.take()
        process.replies.append(lease.delivery.reply)
        self.replies[lease.key].append(lease.delivery.reply)
        return lease

    async def put_down(self, process: Process, lease: Lease) -> None:
        """Let a worker end its work on a lease."""
        await process.run.put_down(lease)
        process.replies.remove(lease.delivery.reply)
        await process.run.broker.flush()
        await self._answered(lease.delivery.reply)

    async def _answered(self, reply: str) -> None:
        """Wait until the broker has dealt with all answers to deliveries that reached it before."""
        await self.broker.request(reply, b"+WPI")

    async def crash(self, index: int, *, supervised: bool) -> None:
        """Let a worker lose its connection for good, and replace it; its supervisor may speak for it."""
        process = self.processes[index]
        await process.run.die()
        if supervised:
            run = ReportedRun(incarnation=process.run.incarnation, ready=True, replies=list(process.replies))
            await self._supervisor.bury(run)
        await process.stack.aclose()
        for reply in process.replies[-1:]:
            await self._answered(reply)
        self.processes[index] = await self._start(deaf=self.deaf[index])

    async def hand_out_again(self, key: RequestKey) -> None:
        """Let the broker deliver a request again, as it does when a pause is over or a lease has run out."""
        for reply in self.replies[key]:
            await hand_back(self.broker, reply)
        await self.broker.flush()
        await self._answered(self.replies[key][-1])

    async def kill_broker(self) -> None:
        """Kill the broker, and wait until its keeper has brought it back and all are connected again."""
        await self.nats.kill_and_await_restart()
        await seen(self._consumers_answer, bool)
        brokers = [self.broker, self._replica_broker, *(process.run.broker for process in self.processes)]
        await until(lambda: all(broker.connected for broker in brokers))
        async with asyncio.TaskGroup() as group:
            for broker in brokers:
                group.create_task(broker.flush())

    async def _consumers_answer(self) -> bool:
        """Whether each consumer has a leader, which on three brokers is elected apart from that of the stream."""
        try:
            for priority in (PRIORITY_NORMAL, PRIORITY_LOW):
                await self.broker.api(f"CONSUMER.INFO.{REQ}.{consumer_name(self.endpoint, priority)}", {})
        except BrokerUnavailableError:
            return False
        return True

    async def forget_deliveries(self, in_order: list[RequestKey]) -> None:
        """Have everything delivered to nobody, and then handed out again in this order, before what has ended.

        A broker that was killed remembers some deliveries and answers to them, and others not. Afterwards it is certain
        what comes next.
        """
        for priority in (PRIORITY_NORMAL, PRIORITY_LOW):
            subject = f"$JS.API.CONSUMER.MSG.NEXT.{REQ}.{consumer_name(self.endpoint, priority)}"
            while (message := await self.broker.nc.request(subject, PULL, timeout=5, old_style=True)).reply:
                self.replies[parse_request(message.subject)].append(message.reply)
        for key in (*in_order, *(key for key in self.replies if key not in in_order)):
            await self.hand_out_again(key)
