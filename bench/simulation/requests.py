"""Simulated requests: when they come, and what becomes of them."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass

from bench.simulation.scenario import Flow, Priority, Scenario, Times

DAY_S = 24 * 3600.0
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A submission: when, and what it asks for. `on_device_s` is for how long it will have a device."""

    at_s: float
    flow: str
    tenant: str
    endpoint: str
    priority: Priority
    on_device_s: float
    after_device_s: float


@dataclass(slots=True, eq=False)
class Request:
    """A request that was accepted, with the moments of its life in simulated seconds.

    `started_s` is when its last attempt began; `handed_back` counts workers that stopped with it.
    """

    arrival: Arrival
    held: bool = False
    started_s: float | None = None
    ended_s: float | None = None
    handed_back: int = 0
    wasted_s: float = 0.0
    """For how long it had devices in vain."""

    @property
    def waited_s(self) -> float | None:
        """From its submission until the attempt that finished it began; None while it waits."""
        return None if self.started_s is None else self.started_s - self.arrival.at_s

    @property
    def turnaround_s(self) -> float | None:
        """From its submission until its video was stored; None before."""
        return None if self.ended_s is None else self.ended_s - self.arrival.at_s


def arrivals_of(scenario: Scenario, seconds: float, seed: int) -> list[Arrival]:
    """What comes in so many seconds from midnight on, in its order. The same seed gives the same, whoever works."""
    flows = [
        _flow(flow, scenario.times, seconds, random.Random(f"{seed} {number} {flow.name}"))
        for number, flow in enumerate(scenario.flows)
    ]
    return list(heapq.merge(*flows, key=lambda arrival: arrival.at_s))


def _flow(flow: Flow, times: Times, seconds: float, rng: random.Random) -> Iterator[Arrival]:
    for at_s in _moments(flow, seconds, rng):
        for _ in range(flow.batch):
            yield Arrival(
                at_s=at_s,
                flow=flow.name,
                tenant=flow.tenant,
                endpoint=flow.endpoint,
                priority=flow.priority,
                on_device_s=varied(times.on_device_s(flow.steps), times.variation, rng),
                after_device_s=times.after_device_s(),
            )


def _moments(flow: Flow, seconds: float, rng: random.Random) -> Iterator[float]:
    """A Poisson process over the hours of each day in which the flow comes."""
    begins, ends = flow.from_hour * HOUR_S, flow.until_hour * HOUR_S
    rate = flow.per_hour / flow.batch / HOUR_S
    open_s = 0.0
    while True:
        open_s += rng.expovariate(rate)
        day, within = divmod(open_s, ends - begins)
        at_s = day * DAY_S + begins + within
        if at_s >= seconds:
            return
        yield at_s


def varied(mean_s: float, variation: float, rng: random.Random) -> float:
    """A time out of the gamma distribution of this mean and coefficient of variation."""
    if not variation or not mean_s:
        return mean_s
    shape = variation**-2
    return rng.gammavariate(shape, mean_s / shape)
