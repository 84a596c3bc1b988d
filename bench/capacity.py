"""How many GPUs a load needs, and what scaling costs, by simulation: `python -m bench.capacity gpus|scaling|run`.

    gpus      the fewest devices with which 95 of 100 requests start within a time, for each load
    scaling   waiting and device hours where KEDA sets the number of workers, by load, start-up time, target and
              least number of workers
    run       one scenario in full: waiting by flow, refusals, work handed back

What is simulated and what is not is in docs/capacity.md; `python -m bench.capacity_check` holds it against a real
service. Times named h100 and a100 are published ones.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.simulation.line import PRIORITIES
from bench.simulation.questions import Effort, answer, devices_for, with_group, with_rate, with_target
from bench.simulation.report import Report, spoken, table
from bench.simulation.scaling import Scaling, read_scaled_object
from bench.simulation.scenario import TIMES, Flow, Group, Limits, Scenario, ScenarioError, explained, read_scenario
from bench.simulation.times import times_of

SCALED_OBJECT = Path(__file__).parents[1] / "deploy/k8s/overlays/production/scaling.yaml"


@dataclass(frozen=True)
class Answer:
    """A table for people, and the numbers behind it."""

    headings: Sequence[str]
    rows: list[Sequence[object]]
    numbers: list[dict[str, Any]]


def scenario_of(wanted: argparse.Namespace) -> Scenario:
    """The scenario of a file, or what the options say.

    Raises:
        ScenarioError: it cannot be read.
    """
    if wanted.scenario is not None:
        return read_scenario(wanted.scenario)
    times = times_of(wanted.times)
    if not 0 <= wanted.low_share <= 1:
        raise ScenarioError(f"low-share: must be from 0 to 1, not {wanted.low_share:g}")
    try:
        times = type(times).model_validate(times.model_dump() | {"variation": wanted.variation})
        flows = [
            Flow(
                name=priority,
                per_hour=wanted.per_hour[0] * share,
                priority=priority,
                batch=wanted.batch,
                tenant=f"{priority} tenant",
                from_hour=wanted.between_hours[0],
                until_hour=wanted.between_hours[1],
            )
            for priority, share in zip(PRIORITIES, (1 - wanted.low_share, wanted.low_share), strict=True)
            if share
        ]
        limits = {flow.tenant: Limits(running=wanted.running) for flow in flows} if wanted.running is not None else {}
        group = Group(replicas=wanted.gpus, start_s=wanted.start_s[0], scaling=wanted.scaling)
        return Scenario(times=times, flows=tuple(flows), tenants=limits, groups=(group,))
    except ValidationError as error:
        raise ScenarioError(explained(error)) from error


def gpus(scenario: Scenario, effort: Effort, wanted: argparse.Namespace) -> Answer:
    """Devices for each load and bound on waiting."""
    rows: list[Sequence[object]] = []
    numbers = []
    flow = scenario.flows[0].name
    for per_hour in wanted.per_hour:
        loaded = with_rate(scenario, per_hour)
        cells = []
        for wait_s in wanted.wait:
            found = devices_for(loaded, effort, flow=flow, p95_s=wait_s)
            [group, *_] = found.report.groups
            waited = found.report.flow(flow).waited
            cells.append(f"{found.devices} ({100 * group.busy_share:.0f} %)")
            numbers.append(
                {"per_hour": per_hour, "bound_s": wait_s, "devices": found.devices, "report": asdict(found.report)}
            )
            assert waited.p95_s <= wait_s
        rows.append([f"{per_hour:g}", f"{loaded.offered_load:.2f}", *cells])
    headings = ["requests an hour", "load", *(f"p95 ≤ {spoken(wait_s)}" for wait_s in wanted.wait)]
    return Answer(headings, rows, numbers)


def scaling(scenario: Scenario, effort: Effort, wanted: argparse.Namespace) -> Answer:
    """Waiting and cost for each load and rule, and for a fixed number of devices beside them."""
    rules: Scaling = wanted.scaling
    rows: list[Sequence[object]] = []
    numbers = []

    def add(tried: Scenario, per_hour: float, start: str, rule: str) -> None:
        report = answer(tried, effort)
        [group, *_] = report.groups
        waited = report.flow(tried.flows[0].name).waited
        rows.append(
            [
                f"{per_hour:g}",
                start,
                rule,
                spoken(waited.mean_s),
                spoken(waited.median_s),
                spoken(waited.p95_s) + (" and growing" if report.growing else ""),
                f"{group.device_hours_a_day:.1f}",
                f"{group.starts_a_day:.1f}",
            ]
        )
        numbers.append({"per_hour": per_hour, "start": start, "rule": rule, "report": asdict(report)})

    for per_hour in wanted.per_hour:
        loaded = with_rate(scenario, per_hour)
        for fixed in wanted.fixed:
            add(with_group(loaded, replicas=fixed, scaling=None), per_hour, "", f"{fixed} always")
        for start_s, minimum, target in itertools.product(wanted.start_s, wanted.minimum, wanted.target):
            tried = with_target(rules, minimum=minimum, target=target)
            scaled = with_group(loaded, replicas=1, scaling=tried, start_s=start_s)
            rule = f"{minimum} to {tried.maximum}, {tried.triggers[0].target:g} a worker"
            add(scaled, per_hour, spoken(start_s), rule)
    headings = [
        "requests an hour",
        "start",
        "workers",
        "mean wait",
        "median",
        "p95",
        "device hours a day",
        "starts a day",
    ]
    return Answer(headings, rows, numbers)


def run(scenario: Scenario, effort: Effort, wanted: argparse.Namespace) -> Answer:  # noqa: ARG001
    """One scenario, by flow."""
    report = answer(scenario, effort)
    rows: list[Sequence[object]] = [
        [
            flow.flow,
            flow.waited.number,
            spoken(flow.waited.mean_s),
            spoken(flow.waited.median_s),
            f"{spoken(flow.waited.p95_s)} ({' to '.join(spoken(p95) for p95 in flow.p95_runs_s)})",
            spoken(flow.turnaround.median_s),
            flow.held,
            flow.handed_back,
            flow.unfinished,
        ]
        for flow in report.flows
    ]
    headings = ["flow", "started", "mean wait", "median", "p95 (of runs)", "median until stored", "held", "handed back"]
    return Answer([*headings, "unfinished"], rows, [asdict(report) | {"summary": summary(report)}])


def summary(report: Report) -> str:
    """The workers of a report in words."""
    parts = [
        f"{group.group}: busy {group.busy_share:.3f} of their time, {group.device_hours_a_day:.1f} device hours and "
        f"{group.starts_a_day:.1f} starts a day, at most {group.most} at once"
        for group in report.groups
    ]
    refused = ", ".join(f"{number} for {limit}" for limit, number in report.refused.items())
    parts.append(f"at most {report.most_waiting} waited; refused: {refused or 'none'}")
    if report.growing:
        parts.append("THE WORKERS DO NOT KEEP UP: waiting times grow with the length of the run")
    return "\n".join(parts)


QUESTIONS: dict[str, Callable[[Scenario, Effort, argparse.Namespace], Answer]] = {
    "gpus": gpus,
    "scaling": scaling,
    "run": run,
}


def _at_least(least: float, kind: type[int] | type[float], *, above: bool = False) -> Callable[[str], float]:
    """Reads a finite number that is no less than `least`, or `above` it."""

    def number(text: str) -> float:
        value = kind(text)
        if not math.isfinite(value) or value < least or (above and value == least):
            raise argparse.ArgumentTypeError(f"must be {'above' if above else 'at least'} {least:g}, not {text}")
        return value

    return number


def _scaled_object(file: str) -> Scaling:
    try:
        return read_scaled_object(Path(file))
    except (OSError, ValueError, KeyError) as error:
        raise argparse.ArgumentTypeError(f"{file}: {error}") from error


def parser() -> argparse.ArgumentParser:
    """The options of all questions."""
    count, natural = _at_least(1, int), _at_least(0, int)
    seconds, positive = _at_least(0, float), _at_least(0, float, above=True)
    bound = _at_least(1, float)  # below a second the queue's own times count, and no number of devices would do
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--scenario", type=Path, help="a JSON file with all of it, instead of the options below")
    common.add_argument("--times", default="h100", help=f"{', '.join(TIMES)}, or a JSON file, such as bench.gpu's")
    common.add_argument("--variation", type=float, default=0.0, help="of the time on a device: deviation over mean")
    common.add_argument("--low-share", type=float, default=0.0, help="how much of the load has low priority, 0 to 1")
    common.add_argument("--batch", type=count, default=1, help="how many requests are submitted at once")
    common.add_argument("--between-hours", type=float, nargs=2, default=(0.0, 24.0), metavar=("FROM", "UNTIL"))
    common.add_argument("--running", type=count, help="the running limit of each tenant")
    common.add_argument("--gpus", type=count, default=1, help="how many workers there are, where nothing scales them")
    common.add_argument(
        "--start-s", type=seconds, nargs="+", default=[180.0], help="from the wish for a worker to its work"
    )
    common.add_argument("--runs", type=count, default=3)
    common.add_argument("--requests", type=count, default=4000, help="so many in each run, at the least")
    common.add_argument("--hours", type=positive, default=24.0, help="so long a run, at the least")
    common.add_argument("--seed", type=int, default=1)
    common.add_argument("--json", type=Path, help="where the numbers go as well")
    whole = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    questions = whole.add_subparsers(dest="question", required=True)
    asked = questions.add_parser("gpus", parents=[common], help="the fewest devices for a load and a waiting time")
    asked.add_argument("--per-hour", type=positive, nargs="+", default=[10.0, 30.0, 100.0, 300.0])
    asked.add_argument("--wait", type=bound, nargs="+", default=[30.0, 120.0, 600.0], help="seconds for 95 of 100")
    asked.set_defaults(scaling=None)
    asked = questions.add_parser("scaling", parents=[common], help="what KEDA's rules cost and save")
    asked.add_argument("--per-hour", type=positive, nargs="+", default=[0.5, 2.0, 10.0, 30.0, 100.0])
    asked.add_argument("--scaling", type=_scaled_object, default=str(SCALED_OBJECT), help="the file of a ScaledObject")
    asked.add_argument("--minimum", type=natural, nargs="+", default=[0, 1], help="instead of its minReplicaCount")
    asked.add_argument("--target", type=positive, nargs="+", default=[None], help="instead of its target")
    asked.add_argument("--fixed", type=count, nargs="*", default=[], help="these numbers of devices without it, too")
    asked = questions.add_parser("run", parents=[common], help="one scenario in full")
    asked.add_argument("--per-hour", type=positive, nargs=1, default=[30.0])
    asked.add_argument("--scaling", type=_scaled_object, help="the file of a ScaledObject; without it --gpus holds")
    return whole


def main(arguments: list[str] | None = None) -> int:
    """Answer and print; returns the exit status."""
    wanted = parser().parse_args(arguments)
    effort = Effort(wanted.runs, wanted.requests, wanted.hours, wanted.seed)
    try:
        scenario = scenario_of(wanted)
    except ScenarioError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found = QUESTIONS[wanted.question](scenario, effort, wanted)
    print(f"Times: {scenario.times.source or 'as given'}.\n")
    print(table(found.headings, found.rows))
    for numbers in found.numbers:
        if "summary" in numbers:
            print(f"\n{numbers['summary']}")
    if wanted.json:
        content = {"scenario": scenario.model_dump(), "effort": asdict(effort), "answers": found.numbers}
        wanted.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
