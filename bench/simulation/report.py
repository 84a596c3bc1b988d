"""What a simulated run says: waiting times, how busy devices are, what they cost."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.simulation.requests import HOUR_S
from bench.simulation.run import Run
from bench.simulation.workers import Pool

WARM_UP = 0.05
"""The share of the time after which requests count: the queue was empty at first."""


@dataclass(frozen=True)
class Spread:
    """How a time is distributed, in seconds; nan where there is none."""

    number: int
    mean_s: float
    median_s: float
    p95_s: float
    longest_s: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """Of some times, in any order."""
        if not seconds:
            return cls(0, *(math.nan,) * 4)
        ordered = sorted(seconds)
        return cls(
            len(ordered), statistics.fmean(ordered), statistics.median(ordered), quantile(ordered, 0.95), ordered[-1]
        )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The least of some ordered values that so large a share of them does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True)
class FlowReport:
    """What became of the requests of one flow.

    `p95_runs_s` is the least and the greatest p95 of the single runs, and `wasted_s` the time on devices that was lost
    with what was handed back.
    """

    flow: str
    waited: Spread
    turnaround: Spread
    p95_runs_s: tuple[float, float]
    held: int
    handed_back: int
    wasted_s: float
    unfinished: int


@dataclass(frozen=True)
class GroupReport:
    """What the workers of one group did, a day. `busy_share` is of the time in which they could have worked, and
    `device_hours` count from the wish for a worker until it is gone, starting included.
    """

    group: str
    busy_share: float
    device_hours_a_day: float
    starts_a_day: float
    most: int


@dataclass(frozen=True)
class Report:
    """Several runs of one scenario, taken together."""

    flows: list[FlowReport]
    groups: list[GroupReport]
    refused: dict[str, int]
    most_waiting: int
    hours: float

    def flow(self, name: str) -> FlowReport:
        """The report of one flow."""
        return next(report for report in self.flows if report.flow == name)

    @property
    def growing(self) -> bool:
        """Whether the workers could not keep up: a twentieth of what came had not ended when the time was up."""
        return any(flow.unfinished > max(20, flow.waited.number / 20) for flow in self.flows)


def report_on(runs: Sequence[Run], *, warm_up: float = WARM_UP) -> Report:
    """Take the runs of a scenario together, without the beginning of each."""
    names = list(dict.fromkeys(request.arrival.flow for run in runs for request in run.requests))
    refused: dict[str, int] = {}
    for run in runs:
        for limit, number in run.refused.items():
            refused[limit] = refused.get(limit, 0) + number
    return Report(
        flows=[_flow(name, runs, warm_up) for name in names],
        groups=[_group([run.pools[number] for run in runs], runs) for number in range(len(runs[0].pools))],
        refused=refused,
        most_waiting=max(run.most_waiting for run in runs),
        hours=sum(run.until_s for run in runs) / HOUR_S,
    )


def _flow(name: str, runs: Sequence[Run], warm_up: float) -> FlowReport:
    counted = [
        [
            request
            for request in run.requests
            if request.arrival.flow == name and request.arrival.at_s >= warm_up * run.until_s
        ]
        for run in runs
    ]
    every = [request for requests in counted for request in requests]
    waits = [[request.waited_s for request in requests if request.waited_s is not None] for requests in counted]
    p95 = [Spread.of(seconds).p95_s for seconds in waits if seconds] or [math.nan]
    return FlowReport(
        flow=name,
        waited=Spread.of([seconds for run_waits in waits for seconds in run_waits]),
        turnaround=Spread.of([request.turnaround_s for request in every if request.turnaround_s is not None]),
        p95_runs_s=(min(p95), max(p95)),
        held=sum(request.held for request in every),
        handed_back=sum(request.handed_back for request in every),
        wasted_s=sum(request.wasted_s for request in every),
        unfinished=sum(request.ended_s is None for request in every),
    )


def _group(pools: Sequence[Pool], runs: Sequence[Run]) -> GroupReport:
    days = sum(run.until_s for run in runs) / HOUR_S / 24
    busy_s = ready_s = held_s = 0.0
    for pool, run in zip(pools, runs, strict=True):
        for worker in pool.workers:
            gone_s = worker.gone_s if worker.gone_s is not None else run.until_s
            held_s += gone_s - worker.wished_s
            busy_s += worker.busy_s
            ready_s += gone_s - worker.ready_s if worker.ready_s is not None else 0.0
    return GroupReport(
        group=pools[0].group.name,
        busy_share=busy_s / ready_s if ready_s else 0.0,
        device_hours_a_day=held_s / HOUR_S / days,
        starts_a_day=sum(pool.starts for pool in pools) / days,
        most=max(pool.most for pool in pools),
    )


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows in columns, as Markdown has them."""
    cells = [list(headings), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def spoken(seconds: float) -> str:
    """A time as people say it: 0.42 s, 35 s, 12 min, 3.4 h."""
    if math.isnan(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds >= 0.1 else f"{seconds:.2f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * HOUR_S:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / HOUR_S:.1f} h"
