"""The simulation of `bench.capacity` against a real service: `python -m bench.capacity_check [--scaled] [--json FILE]`.

Service, workers, NATS and S3 are processes as in production; the workers are simulated devices, whose steps are sleeps
of a second, so that little depends on the machine's load. The same submissions, at the moments at which they really
came, are then simulated twice: with the stage times of a few requests that were made alone beforehand (a prediction),
and with each request's own and the mean pause that was between two on a device (which leaves only the rules to differ).
With `--scaled` workers come and go: their number is decided by the rules that the simulation has for KEDA, on what the
real scaler answers.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cogreel.v1 import queue_pb2
from cogreel.v1.admin_pb2 import Limits as TenantLimits
from cogreel.v1.video_pb2 import ImageSize, TextToVideoInput, Timings, VideoSize
from google.protobuf.timestamp_pb2 import Timestamp

from bench.keda import SCALED, Keda, Life
from bench.queue import Bench, running
from bench.simulation.report import Spread, table
from bench.simulation.requests import Arrival, arrivals_of
from bench.simulation.run import Run, simulate
from bench.simulation.scenario import Broker, Flow, Group, Limits, Scenario, Times
from host.engines.ports import choose_ports
from jobs.keys import create_key

ENDPOINT = "bench/worked"
STEP_S = 1.0
WORKERS = 2
SIZE = 64
GRACE_S = 1.0
STEADY = (
    Flow(name="normal", tenant="first", endpoint=ENDPOINT, per_hour=900, steps=3),
    Flow(name="low", tenant="second", endpoint=ENDPOINT, per_hour=540, steps=2, priority="low"),
    Flow(name="bursts", tenant="third", endpoint=ENDPOINT, per_hour=430, steps=4, batch=5),
)
"""Together 1.53 of two devices, and what painting takes."""
LIMITED = {"third": Limits(running=2)}
BURSTS = (Flow(name="bursts", tenant="first", endpoint=ENDPOINT, per_hour=360, steps=4, batch=5),)


@dataclass(frozen=True)
class Made:
    """A request that a real worker made. `arrival` has when it really came and what its stages took."""

    arrival: Arrival
    worker: str
    waited_s: float
    ended_s: float

    @property
    def started_s(self) -> float:
        """When its worker claimed it."""
        return self.arrival.at_s + self.waited_s


async def submit(bench: Bench, metadata: tuple[tuple[str, str], ...], *, steps: int, low: bool = False) -> str:
    """Submit a small clip; its id."""
    text = TextToVideoInput(
        prompt="bench",
        num_inference_steps=steps,
        use_rife=False,
        video_size=VideoSize(dimensions=ImageSize(width=SIZE, height=SIZE)),
    )
    priority = queue_pb2.PRIORITY_LOW if low else queue_pb2.PRIORITY_NORMAL
    request = queue_pb2.SubmitRequest(endpoint=ENDPOINT, text_to_video=text, priority=priority)
    return (await bench.stub.Submit(request, metadata=metadata)).request_id


async def made(
    bench: Bench, metadata: tuple[tuple[str, str], ...], request_id: str
) -> tuple[Timings, queue_pb2.RequestStatus]:
    """Wait for its end; what its stages took, and its moments."""
    request = queue_pb2.WatchStatusRequest(request_id=request_id)
    async for _ in bench.stub.WatchStatus(request, metadata=metadata):
        pass
    result = await bench.stub.GetResult(queue_pb2.GetResultRequest(request_id=request_id), metadata=metadata)
    status = await bench.stub.GetStatus(queue_pb2.GetStatusRequest(request_id=request_id), metadata=metadata)
    return result.video.timings, status.status


def on_device_s(timings: Timings) -> float:
    """For how long a request had the device."""
    stages = (timings.prepare, timings.denoise, timings.decode, timings.interpolate)
    return float(sum(stage.ToNanoseconds() for stage in stages)) / 1e9


def after_device_s(timings: Timings) -> float:
    """From the last frame until the video was stored: most of it is encoded by then."""
    return max(timings.total.ToNanoseconds() / 1e9 - on_device_s(timings), 0.0)


def seconds_of(moment: Timestamp) -> float:
    """Seconds since 1970."""
    return float(moment.ToNanoseconds()) / 1e9


async def calibrate(bench: Bench, number: int) -> Times:
    """The stage times of requests made alone: each median."""
    found = []
    async with bench.workers(step_s=STEP_S):
        for _ in range(number):
            timings, _ = await made(bench, bench.metadata, await submit(bench, bench.metadata, steps=3))
            found.append(timings)

    def median(stage: str) -> float:
        return float(statistics.median(getattr(timings, stage).ToNanoseconds() for timings in found)) / 1e9

    return Times(
        prepare_s=median("prepare"),
        step_s=median("denoise") / 3,
        decode_s=median("decode"),
        interpolate_s=median("interpolate"),
        encode_s=max(statistics.median(map(after_device_s, found)) - median("upload"), 0.0),
        upload_s=median("upload"),
        source=f"{number} requests made alone",
    )


async def real_run(bench: Bench, flows: Sequence[Flow], coming: Sequence[Arrival]) -> list[Made]:
    """Submit what comes, each at its time, and wait for all of it. Moments count from the first."""
    callers = {}
    for flow in flows:
        limits = TenantLimits()
        if flow.tenant in LIMITED and (running_limit := LIMITED[flow.tenant].running):
            limits.running = running_limit
        _, key = await create_key(bench.broker, flow.tenant, limits=limits)
        callers[flow.tenant] = (("authorization", f"Bearer {key}"),)
    steps = {flow.name: flow.steps for flow in flows}
    began = time.time()

    async def one(arrival: Arrival) -> Made:
        await asyncio.sleep(max(0.0, began + arrival.at_s - time.time()))
        at_s = time.time() - began
        metadata = callers[arrival.tenant]
        request_id = await submit(bench, metadata, steps=steps[arrival.flow], low=arrival.priority == "low")
        timings, status = await made(bench, metadata, request_id)
        really = replace(arrival, at_s=at_s, on_device_s=on_device_s(timings), after_device_s=after_device_s(timings))
        waited_s = seconds_of(status.started_time) - began - at_s
        return Made(really, status.worker, waited_s, seconds_of(status.finished_time) - began)

    return await asyncio.gather(*(one(arrival) for arrival in coming))


def between(found: Sequence[Made]) -> float:
    """From the end of a request on a device until the next one was claimed for it, in the mean, where one waited."""
    gaps = []
    for worker in {one.worker for one in found}:
        mine = sorted((one for one in found if one.worker == worker), key=lambda one: one.started_s)
        for earlier, later in itertools.pairwise(mine):
            free_s = earlier.started_s + earlier.arrival.on_device_s
            if later.arrival.at_s < free_s and later.arrival.tenant not in LIMITED:  # else it may have been held
                gaps.append(later.started_s - free_s)
    return statistics.fmean(gaps)


@dataclass(frozen=True)
class Column:
    """What one way of finding out says: waiting by flow, and how busy the devices were."""

    name: str
    waited: dict[str, Spread]
    busy_share: float
    device_hours: float
    starts: int


def of_run(name: str, run: Run) -> Column:
    """What a simulated run says."""
    [pool] = run.pools
    flows = {request.arrival.flow for request in run.requests}
    waits = {
        flow: [r.waited_s for r in run.requests if r.arrival.flow == flow and r.waited_s is not None] for flow in flows
    }
    lives = [Life(w.wished_s, w.ready_s, w.gone_s) for w in pool.workers]
    busy_s = sum(worker.busy_s for worker in pool.workers)
    return _column(name, waits, lives, busy_s=busy_s, until_s=run.until_s, starts=pool.starts)


def of_real(found: Sequence[Made], lives: Sequence[Life], *, starts: int) -> Column:
    """What really happened. What was handed back half made is not in the stage times of the result."""
    waits: dict[str, list[float]] = {}
    for one in found:
        waits.setdefault(one.arrival.flow, []).append(one.waited_s)
    busy_s = sum(one.arrival.on_device_s for one in found)
    until_s = max(one.ended_s for one in found)
    return _column("real", waits, lives, busy_s=busy_s, until_s=until_s, starts=starts)


def _column(
    name: str, waits: dict[str, list[float]], lives: Sequence[Life], *, busy_s: float, until_s: float, starts: int
) -> Column:
    ready_s = sum(min(life.gone_s or until_s, until_s) - life.ready_s for life in lives if life.ready_s is not None)
    held_s = sum(min(life.gone_s or until_s, until_s) - life.wished_s for life in lives)
    spreads = {flow: Spread.of(waits[flow]) for flow in sorted(waits)}
    return Column(name, spreads, busy_s / ready_s, held_s / 3600, starts)


def rows(columns: Sequence[Column]) -> list[list[str]]:
    """The columns side by side."""
    found = []
    for flow in columns[0].waited:
        for what, label in (("mean_s", "mean"), ("median_s", "median"), ("p95_s", "p95")):
            values = [f"{getattr(column.waited[flow], what):.2f} s" for column in columns]
            found.append([f"{flow}, {label} wait", *values])
    found.append(["busy share", *(f"{column.busy_share:.3f}" for column in columns)])
    found.append(["device seconds held", *(f"{column.device_hours * 3600:.0f}" for column in columns)])
    found.append(["starts", *(str(column.starts) for column in columns)])
    return found


async def check(*, scaled: bool, seconds: float, seed: int, calls: int) -> tuple[list[Column], Times, float]:
    """Measure, simulate; the columns, the stage times of requests made alone, and the mean start of a worker."""
    flows = BURSTS if scaled else STEADY
    ports = choose_ports(["scaler"])
    scaler = f"127.0.0.1:{ports['scaler']}"
    async with running(1, scaler_listen=scaler, worker_grace_s=GRACE_S) as bench:
        times = await calibrate(bench, calls)
        scenario = Scenario(times=times, flows=flows, tenants=LIMITED, groups=(group(scaled=scaled),))
        coming = arrivals_of(scenario, seconds, seed)
        if scaled:
            async with Keda(bench, scaler, SCALED, step_s=STEP_S) as keda:
                found = await real_run(bench, flows, coming)
            lives, starts = keda.lives(), keda.starts
            start_s = statistics.fmean(life.ready_s - life.wished_s for life in lives if life.ready_s is not None)
        else:
            async with bench.workers(step_s=STEP_S, number=WORKERS):
                found = await real_run(bench, flows, coming)
            lives, starts, start_s = [Life(0.0, 0.0, None)] * WORKERS, 0, 0.0
    scenario = scenario.model_copy(update={"groups": (group(scaled=scaled, start_s=start_s),)})
    real = sorted((one.arrival for one in found), key=lambda arrival: arrival.at_s)
    by_flow = {flow.name: times.on_device_s(flow.steps) for flow in flows}
    predicted = [
        replace(arrival, on_device_s=by_flow[arrival.flow], after_device_s=times.after_device_s()) for arrival in real
    ]
    exact = scenario
    if not scaled:  # there a name is not one worker's alone
        exact = scenario.model_copy(update={"broker": Broker(between_s=max(0.0, between(found)))})
        print(f"between two requests on a device {exact.broker.between_s * 1000:.1f} ms in the mean")
    columns = [
        of_real(found, lives, starts=starts),
        of_run("predicted", simulate(scenario, seconds=seconds, arrivals=predicted, finish=True)),
        of_run("with its own times", simulate(exact, seconds=seconds, arrivals=real, finish=True)),
    ]
    return columns, times, start_s


def group(*, scaled: bool, start_s: float = 0.0) -> Group:
    """The workers, as they are simulated."""
    return Group(
        endpoints=(ENDPOINT,),
        replicas=WORKERS,
        scaling=SCALED if scaled else None,
        start_s=start_s,
        grace_s=GRACE_S,
    )


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scaled", action="store_true", help="workers come and go by KEDA's rules, from none")
    parser.add_argument("--seconds", type=float, default=400.0, help="for so long requests come")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calls", type=int, default=8, help="requests made alone beforehand")
    parser.add_argument("--json", type=Path, help="where the numbers go as well")
    wanted = parser.parse_args()
    busy_before = os.getloadavg()
    columns, times, start_s = asyncio.run(
        check(scaled=wanted.scaled, seconds=wanted.seconds, seed=wanted.seed, calls=wanted.calls)
    )
    number = sum(spread.number for spread in columns[0].waited.values())
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; load average ", end="")
    print(f"{busy_before[0]:.1f} before and {os.getloadavg()[0]:.1f} after; {number} requests in {wanted.seconds:g} s")
    print(
        f"alone, 3 steps: {times.on_device_s(3):.3f} s on the device, {times.after_device_s():.3f} s after it", end=""
    )
    print(f"; a worker starts in {start_s:.1f} s\n" if wanted.scaled else "\n")
    print(table(["", *(column.name for column in columns)], rows(columns)))
    if wanted.json:
        content = {"times": times.model_dump(), "start_s": start_s, "columns": [asdict(column) for column in columns]}
        wanted.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
