"""What the simulated queue and workers do, each by a story short enough to follow by hand."""

from __future__ import annotations

from bench.simulation.run import Run, simulate
from bench.simulation.scenario import ENDPOINT, Broker, Flow, Group, Limits, Scenario, Times
from tests.bench.queues import coming, queue, scaled, waits

VIDEO_TO_VIDEO = f"{ENDPOINT}/video-to-video"


def told(scenario: Scenario, *arrivals: object) -> Run:
    return simulate(scenario, seconds=0, arrivals=arrivals, finish=True)  # type: ignore[arg-type]


def started(run: Run) -> list[str]:
    """The flows of the requests in the order in which their attempts began."""
    return [r.arrival.flow for r in sorted(run.requests, key=lambda request: request.started_s or 0.0)]


def test_normal_goes_before_low_and_each_in_its_order() -> None:
    run = told(
        queue(),
        coming(0, "first"),
        coming(1, "low 1", priority="low"),
        coming(2, "low 2", priority="low"),
        coming(3, "normal 1"),
        coming(4, "normal 2"),
    )
    assert started(run) == ["first", "normal 1", "normal 2", "low 1", "low 2"]


def test_a_tenant_above_its_running_limit_does_not_stand_before_others() -> None:
    limits = {"many": Limits(running=1)}
    run = told(
        queue(tenants=limits),
        *(coming(0, f"many {number}", tenant="many") for number in range(3)),
        coming(1, "other 1", tenant="other"),
        coming(2, "other 2", tenant="other"),
    )
    assert started(run) == ["many 0", "other 1", "other 2", "many 1", "many 2"]
    assert [request.held for request in run.requests] == [False, True, True, False, False]


def test_a_new_request_does_not_overtake_the_held_ones_of_its_tenant_but_normal_goes_before_low() -> None:
    run = told(
        queue(Group(replicas=2), tenants={"tenant": Limits(running=1)}),
        coming(0, "first"),
        coming(1, "held low", priority="low"),
        coming(2, "held normal"),
        coming(10, "later"),
    )
    assert started(run) == ["first", "held normal", "later", "held low"]


def test_what_is_above_a_limit_is_refused_and_counted() -> None:
    limits = {"waits": Limits(queued=1), "hurries": Limits(requests_per_minute=2)}
    run = told(
        queue(tenants=limits),
        coming(0, tenant="waits"),
        *(coming(1, tenant="waits") for _ in range(3)),
        *(coming(second, tenant="hurries") for second in (2, 3, 4, 62.5)),
    )
    assert run.refused == {"queued": 2, "requests_per_minute": 1}
    assert len(run.requests) == 5


def test_the_next_request_has_the_device_while_the_last_one_is_stored() -> None:
    run = told(queue(), *(coming(0, after_device_s=8) for _ in range(3)))
    assert waits(run) == [0, 10, 20]
    assert [request.turnaround_s for request in run.requests] == [18, 28, 38]


def test_a_device_waits_where_storing_is_slower_than_making() -> None:
    """Three requests are under way at most: one on the device, two that are stored."""
    run = told(queue(), *(coming(0, on_device_s=1, after_device_s=10) for _ in range(5)))
    assert waits(run) == [0, 1, 2, 11, 12]


def test_a_worker_with_two_endpoints_takes_them_in_turn() -> None:
    run = told(
        queue(Group(endpoints=(ENDPOINT, VIDEO_TO_VIDEO))),
        coming(0, "a 0"),
        *(coming(1, f"a {number}") for number in (1, 2)),
        *(coming(2, f"b {number}", endpoint=VIDEO_TO_VIDEO) for number in (1, 2)),
    )
    assert started(run) == ["a 0", "b 1", "a 1", "b 2", "a 2"]


def test_workers_of_another_endpoint_take_nothing_of_this_one() -> None:
    run = told(
        queue(Group(), Group(name="others", endpoints=(VIDEO_TO_VIDEO,), replicas=3)), coming(0, "a"), coming(0, "b")
    )
    assert waits(run, "b") == [10]
    assert sum(worker.busy_s for worker in run.pools[1].workers) == 0


def test_from_zero_a_request_waits_for_a_worker_to_start_and_the_next_does_not() -> None:
    run = told(queue(Group(scaling=scaled(), start_s=100)), coming(0), coming(115))
    first, second = waits(run)
    assert 100 <= first < 101
    assert second == 0


def test_after_the_cooldown_the_next_request_waits_for_a_start_again() -> None:
    run = told(queue(Group(scaling=scaled(cooldown_s=60), start_s=100)), coming(0), coming(300))
    assert all(100 <= wait < 101 for wait in waits(run))
    [pool] = run.pools
    assert pool.starts == 2
    held_s = sum((worker.gone_s or run.until_s) - worker.wished_s for worker in pool.workers)
    assert held_s < 300  # nothing is paid for between them


def test_a_least_worker_saves_the_start_and_costs_its_hours() -> None:
    run = told(queue(Group(scaling=scaled(minimum=1), start_s=100)), coming(0), coming(300))
    assert waits(run) == [0, 0]
    [pool] = run.pools
    assert pool.starts == 0


def test_more_workers_come_for_more_requests_and_no_more_than_the_most() -> None:
    burst = [coming(0, on_device_s=100) for _ in range(12)]
    run = told(queue(Group(scaling=scaled(maximum=3), start_s=5)), *burst)
    [pool] = run.pools
    assert pool.most == 3
    assert run.until_s < 12 * 100 / 2


def test_a_worker_that_is_stopped_at_work_finishes_within_its_grace_or_hands_back() -> None:
    """From two workers to one while both work: a target of 10 has one worker for two requests."""
    for grace_s, times_handed_back in ((1000.0, 0), (5.0, 1)):
        rules = scaled(minimum=1, maximum=2, target=10)
        group = Group(scaling=rules, start_s=1, grace_s=grace_s)
        burst = [coming(0, on_device_s=60) for _ in range(11)]
        long_ones = [coming(350, on_device_s=900), coming(351, on_device_s=900)]
        run = told(queue(group), *burst, *long_ones)
        handed_back = [request.handed_back for request in run.requests if request.arrival.at_s >= 350]
        assert sum(handed_back) == times_handed_back
        assert all(request.ended_s is not None for request in run.requests)


def test_one_stream_is_enough_until_its_writes_are_more_than_it_takes() -> None:
    """Each request is three writes: submitted, claimed, stored."""
    flows = tuple(Flow(name="requests", per_hour=3600 * 2.5, tenant=f"tenant {number}", steps=1) for number in range(8))

    def wait_s(streams: int) -> float:
        scenario = Scenario(
            times=Times(step_s=1.0),
            flows=flows,
            groups=(Group(replicas=40),),
            broker=Broker(writes_per_s=50, streams=streams),
        )
        found = waits(simulate(scenario, seconds=60))
        return found[-1]

    assert wait_s(1) > 10
    assert wait_s(4) < 1
