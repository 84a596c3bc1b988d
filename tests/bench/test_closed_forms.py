"""The simulation against queues whose mean waiting time is known in closed form.

Seeds are fixed, so that a run is the same each time; the tolerances are a few standard errors of runs of this length.
"""

from __future__ import annotations

import math

import pytest

from bench.simulation.run import simulate
from bench.simulation.scenario import Flow, Group
from tests.bench.queues import mean_wait, queue

REQUESTS = 20_000
SERVICE_S = 10.0


def erlang_c(servers: int, load: float) -> float:
    """The probability that a request of an M/M/c queue has to wait."""
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(load**k / math.factorial(k) for k in range(servers)) + last)


def flow(load: float, **more: object) -> Flow:
    """A flow that keeps so many devices busy."""
    return Flow.model_validate({"per_hour": 3600 * load / SERVICE_S, "steps": 1} | more)


def seconds(load: float) -> float:
    return REQUESTS * SERVICE_S / load


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_exponential_times_on_one_device_wait_as_in_m_m_1(load: float) -> None:
    run = simulate(queue(service_s=SERVICE_S, variation=1.0, flows=(flow(load),)), seconds=seconds(load))
    assert mean_wait(run) == pytest.approx(SERVICE_S * load / (1 - load), rel=0.1)


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_equal_times_on_one_device_wait_as_in_m_d_1(load: float) -> None:
    run = simulate(queue(service_s=SERVICE_S, flows=(flow(load),)), seconds=seconds(load))
    assert mean_wait(run) == pytest.approx(SERVICE_S * load / (2 * (1 - load)), rel=0.1)


@pytest.mark.parametrize(("devices", "load"), [(2, 1.4), (8, 6.4)])
def test_exponential_times_on_several_devices_wait_as_in_m_m_c(devices: int, load: float) -> None:
    scenario = queue(Group(replicas=devices), service_s=SERVICE_S, variation=1.0, flows=(flow(load),))
    run = simulate(scenario, seconds=seconds(load))
    expected_s = erlang_c(devices, load) * SERVICE_S / (devices - load)
    assert mean_wait(run) == pytest.approx(expected_s, rel=0.1)


def test_low_priority_waits_as_by_cobham() -> None:
    """Two priorities, nobody is interrupted (Cobham 1954): W1 = W0 / (1 - r1), W2 = W1 / (1 - r1 - r2)."""
    normal, low = 0.3, 0.4
    flows = (flow(normal), flow(low, name="later", priority="low"))
    run = simulate(queue(service_s=SERVICE_S, variation=1.0, flows=flows), seconds=seconds(normal + low))
    left_s = (normal + low) * SERVICE_S  # what the request on the device still takes, in the mean
    assert mean_wait(run) == pytest.approx(left_s / (1 - normal), rel=0.1)
    assert mean_wait(run, "later") == pytest.approx(left_s / (1 - normal) / (1 - normal - low), rel=0.1)


def test_a_device_is_busy_for_the_share_that_is_offered() -> None:
    run = simulate(queue(service_s=SERVICE_S, flows=(flow(0.7),)), seconds=seconds(0.7))
    [pool] = run.pools
    assert pool.workers[0].busy_s / run.until_s == pytest.approx(0.7, rel=0.02)
