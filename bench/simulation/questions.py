"""The questions of whoever plans: how many devices for a load, and what scaling costs and saves."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.simulation.report import Report, report_on
from bench.simulation.requests import HOUR_S
from bench.simulation.run import simulate
from bench.simulation.scaling import Scaling
from bench.simulation.scenario import Scenario

DAY_H = 24.0


@dataclass(frozen=True)
class Effort:
    """How much is simulated: `runs` runs, each of as many requests and as many hours as these at the least."""

    runs: int = 3
    requests: int = 4000
    hours: float = 24.0
    seed: int = 1

    def seconds(self, scenario: Scenario) -> float:
        """How long a run takes, in simulated seconds: whole days, since flows have their hours."""
        a_day = sum(flow.per_hour * (flow.until_hour - flow.from_hour) for flow in scenario.flows)
        return HOUR_S * DAY_H * math.ceil(max(self.hours / DAY_H, self.requests / a_day))


def answer(scenario: Scenario, effort: Effort) -> Report:
    """Simulate a scenario."""
    seconds = effort.seconds(scenario)
    return report_on([simulate(scenario, seconds=seconds, seed=effort.seed + run) for run in range(effort.runs)])


@dataclass(frozen=True)
class Devices:
    """How many devices hold a bound on waiting, and how they do it."""

    devices: int
    report: Report


def devices_for(scenario: Scenario, effort: Effort, *, flow: str, p95_s: float) -> Devices:
    """The fewest devices with which 95 of 100 requests of a flow wait no longer. All are of the first group.

    The busiest hour's load decides where the search begins: with no more devices than that, queues only grow.
    """
    number = math.floor(scenario.offered_load) + 1
    while True:
        tried = with_group(scenario, replicas=number, scaling=None)
        report = answer(tried, effort)
        if not report.growing and report.flow(flow).waited.p95_s <= p95_s:
            return Devices(number, report)
        number += 1


def with_group(scenario: Scenario, *, replicas: int, scaling: Scaling | None, start_s: float | None = None) -> Scenario:
    """The same requests for another number of workers in the first group."""
    first, *others = scenario.groups
    changes: dict[str, object] = {"replicas": replicas, "scaling": scaling}
    if start_s is not None:
        changes["start_s"] = start_s
    return scenario.model_copy(update={"groups": (first.model_copy(update=changes), *others)})


def with_rate(scenario: Scenario, per_hour: float) -> Scenario:
    """The same requests at another rate in all, in the same proportions."""
    factor = per_hour / sum(flow.per_hour for flow in scenario.flows)
    flows = tuple(flow.model_copy(update={"per_hour": flow.per_hour * factor}) for flow in scenario.flows)
    return scenario.model_copy(update={"flows": flows})


def with_target(scaling: Scaling, *, minimum: int, target: float | None) -> Scaling:
    """The same rules with another least number of workers, and another target of each trigger."""
    triggers = tuple(
        trigger.model_copy(update={"target": trigger.target if target is None else target})
        for trigger in scaling.triggers
    )
    return scaling.model_copy(update={"minimum": minimum, "triggers": triggers})
