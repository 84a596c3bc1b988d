"""Scenarios for tests: a queue whose own times are nothing, so that only the requests' and the workers' count."""

from __future__ import annotations

import statistics

from bench.simulation.requests import Arrival
from bench.simulation.run import Run
from bench.simulation.scaling import Scaling, Trigger
from bench.simulation.scenario import ENDPOINT, Broker, Flow, Group, Limits, Priority, Scenario, Times

INSTANT = Broker(submit_s=0.0, claim_s=0.0, between_s=0.0, writes_per_s=None)


def queue(
    *groups: Group,
    service_s: float = 10.0,
    variation: float = 0.0,
    flows: tuple[Flow, ...] = (Flow(per_hour=1.0, steps=1),),
    tenants: dict[str, Limits] | None = None,
) -> Scenario:
    """Requests of one step, which takes `service_s`."""
    times = Times(step_s=service_s, variation=variation)
    return Scenario(times=times, flows=flows, tenants=tenants or {}, groups=groups or (Group(),), broker=INSTANT)


def coming(
    at_s: float,
    flow: str = "requests",
    *,
    on_device_s: float = 10.0,
    after_device_s: float = 0.0,
    tenant: str = "tenant",
    priority: Priority = "normal",
    endpoint: str = ENDPOINT,
) -> Arrival:
    """A submission."""
    return Arrival(at_s, flow, tenant, endpoint, priority, on_device_s, after_device_s)


def scaled(*, minimum: int = 0, maximum: int = 8, target: float = 1.0, cooldown_s: float = 60.0) -> Scaling:
    """Rules with Kubernetes' own behaviour, told of news at once."""
    trigger = Trigger(endpoints=(ENDPOINT,), target=target)
    return Scaling(minimum=minimum, maximum=maximum, polling_interval_s=10, cooldown_s=cooldown_s, triggers=(trigger,))


def waits(run: Run, flow: str = "requests") -> list[float]:
    """How long each request of a flow waited that was begun, in the order of submission."""
    return [r.waited_s for r in run.requests if r.arrival.flow == flow and r.waited_s is not None]


def mean_wait(run: Run, flow: str = "requests") -> float:
    """The mean of these, without the first tenth."""
    found = waits(run, flow)
    return statistics.fmean(found[len(found) // 10 :])
