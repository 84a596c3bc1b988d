"""Simulated workers, by the rules of `inference.worker`, and how their number follows the demand.

A worker claims when its device is free; while a video is encoded and stored the next one has the device, as long as no
more than `FINISHING_AT_ONCE` are being stored. A worker that is stopped takes nothing more, and hands back what it has
not finished within its grace time.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

import simpy

from bench.simulation.requests import Request
from bench.simulation.scaling import Autoscaler, Scaling
from bench.simulation.scenario import Group
from inference.worker import FINISHING_AT_ONCE
from service.demand import Demand
from service.scaler import LOOK_EVERY_S

Steps = Generator[simpy.Event, Any, None]


class Hall(Protocol):
    """What workers are in: where requests come from, and how long it takes to write to it."""

    env: simpy.Environment

    def next_for(self, worker: Worker) -> simpy.Event:
        """An event that brings a request; the worker itself lets it bring None when it is stopped."""

    def write(self, request: Request, seconds: float) -> Steps:
        """A state written: its turn in the stream, and so many seconds beside."""

    def complete(self, request: Request) -> None:
        """The video is stored."""

    def hand_back(self, request: Request) -> None:
        """The worker stops."""

    def demand(self, endpoints: tuple[str, ...]) -> Demand:
        """What the service tells KEDA."""

    @property
    def claim_s(self) -> float:
        """From being in line until an idle worker has it."""

    @property
    def between_s(self) -> float:
        """Between two requests of a backlog on a device."""


class Worker:
    """One process with one device, from the wish for it until it is gone."""

    def __init__(self, hall: Hall, group: Group, *, start_s: float) -> None:
        self.endpoints = list(group.endpoints)
        self.wished_s = hall.env.now
        self.ready_s: float | None = None
        self.gone_s: float | None = None
        self.busy_s = 0.0
        self.draining = False
        self._hall = hall
        self._grace_s = group.grace_s
        self._under_way = simpy.Resource(hall.env, capacity=1 + FINISHING_AT_ONCE)
        self._attempts: set[simpy.Process] = set()
        self._awaited: simpy.Event | None = None
        self._life = hall.env.process(self._live(start_s))

    def stop(self) -> None:
        """Take nothing more; finish or hand back what is under way, then be gone."""
        if self.draining:
            return
        self.draining = True
        if self._awaited is not None and not self._awaited.triggered:
            self._awaited.succeed(None)
        if self.ready_s is None:
            self._life.interrupt()
        else:
            self._hall.env.process(self._run_out())

    def takes_turns(self, endpoint: str) -> None:
        """A request for this endpoint was taken: the ones after it are next in turn."""
        turn = self.endpoints.index(endpoint)
        self.endpoints = self.endpoints[turn + 1 :] + self.endpoints[: turn + 1]

    def _run_out(self) -> Steps:
        yield self._hall.env.timeout(self._grace_s)
        for attempt in list(self._attempts):
            attempt.interrupt()

    def _live(self, start_s: float) -> Steps:
        env = self._hall.env
        try:
            yield env.timeout(start_s)
        except simpy.Interrupt:
            self.gone_s = env.now
            return
        self.ready_s = env.now
        while True:
            slot = self._under_way.request()
            yield slot
            if self.draining:
                break
            asked_s = env.now
            self._awaited = self._hall.next_for(self)
            request: Request | None = yield self._awaited
            if request is None:
                break
            device_free = env.event()
            pause_s = self._hall.between_s if env.now == asked_s else self._hall.claim_s
            attempt = env.process(self._attempt(request, pause_s, slot, device_free))
            self._attempts.add(attempt)
            yield device_free
        if self._attempts:
            yield simpy.AllOf(env, list(self._attempts))
        self.gone_s = env.now

    def _attempt(
        self, request: Request, pause_s: float, slot: simpy.resources.resource.Request, device_free: simpy.Event
    ) -> Steps:
        env, this = self._hall.env, self._hall.env.active_process
        assert this is not None
        began_s: float | None = None
        on_device_s = 0.0
        try:
            yield from self._hall.write(request, pause_s)
            began_s = request.started_s = env.now
            yield env.timeout(request.arrival.on_device_s)
            on_device_s = env.now - began_s
            device_free.succeed()
            yield env.timeout(request.arrival.after_device_s)
            yield from self._hall.write(request, 0.0)
            self._hall.complete(request)
        except simpy.Interrupt:
            if began_s is not None:
                on_device_s = on_device_s or env.now - began_s
                request.wasted_s += on_device_s
            self._hall.hand_back(request)
        finally:
            self.busy_s += on_device_s
            self._under_way.release(slot)
            self._attempts.discard(this)
            if not device_free.triggered:
                device_free.succeed()


class Pool:
    """The workers of one group."""

    def __init__(self, hall: Hall, group: Group) -> None:
        self.group = group
        self.workers: list[Worker] = []
        self.starts = 0
        self.most = 0
        self._hall = hall
        self._wanted = 0
        self._pushed = hall.env.event()
        self._begun: simpy.Event | None = None
        rules = group.scaling
        self.resize(rules.minimum if rules else group.replicas, start_s=0.0)
        if rules is not None:
            autoscaler = Autoscaler(rules)
            if not rules.minimum:  # else the operator finds nothing to decide
                hall.env.process(self._polled(rules, autoscaler))
            hall.env.process(self._synced(rules, autoscaler))

    def resize(self, replicas: int, *, start_s: float | None = None) -> None:
        """Start workers, or stop some: those that are not ready yet first, then the newest, as a ReplicaSet does."""
        for _ in range(replicas - self._wanted):
            self.workers.append(
                Worker(self._hall, self.group, start_s=self.group.start_s if start_s is None else start_s)
            )
            self.starts += start_s is None
        if replicas < self._wanted:
            kept = [worker for worker in self.workers if not worker.draining]
            kept.sort(key=lambda worker: (worker.ready_s is not None, -worker.wished_s))
            for worker in kept[: self._wanted - replicas]:
                worker.stop()
        if not self._wanted and self._begun is not None and not self._begun.triggered:
            self._begun.succeed()
        self._wanted = replicas
        self.most = max(self.most, replicas)

    def told(self) -> None:
        """There may be something to do, where there was nothing."""
        if not self._wanted and not self._pushed.triggered:
            self._pushed.succeed()

    def _polled(self, rules: Scaling, autoscaler: Autoscaler) -> Steps:
        env = self._hall.env
        endpoints = tuple(dict.fromkeys(name for trigger in rules.triggers for name in trigger.endpoints))
        while True:
            self._pushed = env.event()
            if self._wanted or not rules.pushed:
                yield env.timeout(_until_next(env.now, rules.polling_interval_s))
            else:
                yield self._pushed
                yield env.timeout(LOOK_EVERY_S / 2)  # when the service looks next, in the mean
            active = self._hall.demand(endpoints).any
            self.resize(autoscaler.poll(env.now, active=active, replicas=self._wanted))

    def _synced(self, rules: Scaling, autoscaler: Autoscaler) -> Steps:
        env = self._hall.env
        while True:
            if not self._wanted:
                self._begun = env.event()
                yield self._begun
            yield env.timeout(_until_next(env.now, rules.sync_s))
            values = [self._hall.demand(trigger.endpoints).value(trigger.metric) for trigger in rules.triggers]
            self.resize(autoscaler.sync(env.now, values, self._wanted))


def _until_next(now: float, every_s: float) -> float:
    """How long it is to the next of the moments at which somebody looks, which do not depend on what happens."""
    return every_s - now % every_s
