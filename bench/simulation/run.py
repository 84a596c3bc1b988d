"""Running a scenario: submissions on one side, workers on the other."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import simpy

from bench.simulation.line import Queue
from bench.simulation.requests import Arrival, Request, arrivals_of
from bench.simulation.scenario import Scenario
from bench.simulation.workers import Pool, Steps, Worker
from service.demand import Demand


@dataclass(frozen=True)
class Run:
    """What came of it: all accepted requests in their order, those that were refused by reason, and the workers."""

    requests: list[Request]
    refused: dict[str, int]
    most_waiting: int
    pools: list[Pool]
    until_s: float
    """When it was stopped: with the last request's end, or where the time was up."""


def simulate(
    scenario: Scenario,
    *,
    seconds: float,
    seed: int = 1,
    arrivals: Sequence[Arrival] | None = None,
    finish: bool = False,
) -> Run:
    """Simulate so many seconds. With `finish`, go on until everything that came in them has ended.

    `arrivals` are taken instead of those that the flows give by this seed.
    """
    house = _House(scenario)
    coming = arrivals_of(scenario, seconds, seed) if arrivals is None else list(arrivals)
    submitting = house.env.process(house.submit_all(coming))
    if finish:
        house.env.run(until=submitting)
        if house.open:
            house.empty = house.env.event()
            house.env.run(until=house.empty)
    else:
        house.env.run(until=seconds)
    return Run(house.requests, dict(house.queue.refused), house.queue.most_waiting, house.pools, house.env.now)


class _House:
    """The queue and its workers. `open` counts the requests that have not ended."""

    def __init__(self, scenario: Scenario) -> None:
        self.env = simpy.Environment()
        self.queue = Queue(scenario.tenants, scenario.max_waiting)
        self.requests: list[Request] = []
        self.open = 0
        self.empty: simpy.Event | None = None
        self._broker = scenario.broker
        self._streams = [simpy.Resource(self.env) for _ in range(scenario.broker.streams)]
        self._idle: deque[tuple[Worker, simpy.Event]] = deque()
        self.pools = [Pool(self, group) for group in scenario.groups]

    @property
    def claim_s(self) -> float:
        """See `Hall`."""
        return self._broker.claim_s

    @property
    def between_s(self) -> float:
        """See `Hall`."""
        return self._broker.between_s

    def submit_all(self, arrivals: Sequence[Arrival]) -> Steps:
        """Each at its time, whatever becomes of those before it."""
        for arrival in arrivals:
            if arrival.at_s > self.env.now:
                yield self.env.timeout(arrival.at_s - self.env.now)
            self.open += 1
            self.env.process(self._submit(arrival))

    def _submit(self, arrival: Arrival) -> Steps:
        yield from self._turn(arrival.tenant, self._broker.submit_s)
        request = self.queue.submit(arrival)
        if request is None:
            self._ended()
            return
        self.requests.append(request)
        for pool in self.pools:
            pool.told()
        if not request.held:
            self._offer()

    def _turn(self, tenant: str, seconds: float) -> Steps:
        """A write into the tenant's stream: it takes so long by itself, and its turn among the others' writes."""
        rate = self._broker.writes_per_s
        if rate is not None:
            with self._streams[zlib.crc32(tenant.encode()) % len(self._streams)].request() as turn:
                yield turn
                yield self.env.timeout(1 / rate)
            seconds -= 1 / rate
        if seconds > 0:
            yield self.env.timeout(seconds)

    def write(self, request: Request, seconds: float) -> Steps:
        """See `Hall`."""
        yield from self._turn(request.arrival.tenant, seconds)

    def next_for(self, worker: Worker) -> simpy.Event:
        """See `Hall`."""
        brought = self.env.event()
        request = self.queue.take(worker.endpoints)
        if request is not None:
            worker.takes_turns(request.arrival.endpoint)
            return brought.succeed(request)
        self._idle.append((worker, brought))
        return brought

    def _offer(self) -> None:
        """Let idle workers look, the longest idle one first: who is first among the real ones is chance."""
        for _ in range(len(self._idle)):
            worker, brought = self._idle.popleft()
            if brought.triggered:  # it was stopped
                continue
            request = self.queue.take(worker.endpoints)
            if request is None:
                self._idle.append((worker, brought))
                continue
            worker.takes_turns(request.arrival.endpoint)
            brought.succeed(request)

    def complete(self, request: Request) -> None:
        """See `Hall`."""
        request.ended_s = self.env.now
        if self.queue.complete(request) is not None:
            self._offer()
        self._ended()

    def _ended(self) -> None:
        self.open -= 1
        if not self.open and self.empty is not None:
            self.empty.succeed()

    def hand_back(self, request: Request) -> None:
        """See `Hall`."""
        self.queue.hand_back(request)
        self._offer()

    def demand(self, endpoints: tuple[str, ...]) -> Demand:
        """See `Hall`."""
        return self.queue.demand(endpoints, self.env.now)
