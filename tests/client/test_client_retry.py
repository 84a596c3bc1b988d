"""When the client tries again, and for how long."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

import grpc
import pytest
from cogreel import CogReelError, UnavailableError
from cogreel.errors import ErrorDetails, typed_error
from cogreel.retry import Retrying, RetryPolicy


class Clock:
    """A clock that waits only where it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def unavailable(retry_after_s: float | None = None) -> UnavailableError:
    retry_after = timedelta(seconds=retry_after_s) if retry_after_s is not None else None
    return UnavailableError(ErrorDetails("down", grpc.StatusCode.UNAVAILABLE, retry_after=retry_after))


def waits(retrying: Retrying, clock: Clock, error: CogReelError) -> Iterator[float]:
    """All waits until the error is raised."""
    while True:
        pause_s = retrying.delay_after(error)
        yield pause_s
        clock.now += pause_s


def test_waits_grow_up_to_a_limit_and_end_within_the_timeout() -> None:
    clock = Clock()
    retrying = Retrying(RetryPolicy(timeout_s=60), clock=clock, uniform=lambda _low, high: high)
    waited: list[float] = []
    with pytest.raises(UnavailableError):
        waited.extend(waits(retrying, clock, unavailable()))
    assert waited[:6] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2])
    assert set(waited[6:]) == {5.0}
    assert 50 < sum(waited) < 60


def test_waits_differ_from_client_to_client() -> None:
    firsts = {Retrying(RetryPolicy(), uniform=random.Random(n).uniform).delay_after(unavailable()) for n in range(20)}
    assert len(firsts) == 20
    assert all(0.05 <= first <= 0.1 for first in firsts)


def test_the_service_is_given_the_time_that_it_asks_for() -> None:
    assert Retrying(RetryPolicy()).delay_after(unavailable(retry_after_s=7)) >= 7


def test_a_wait_that_does_not_fit_is_not_begun() -> None:
    error = unavailable(retry_after_s=30)
    with pytest.raises(UnavailableError) as caught:
        Retrying(RetryPolicy(timeout_s=10)).delay_after(error)
    assert caught.value.retry_after == timedelta(seconds=30)


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_only_outages_and_unasked_cancellations_are_retried(code: grpc.StatusCode) -> None:
    error = typed_error(ErrorDetails("", code))
    retrying = Retrying(RetryPolicy())
    if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}:
        assert retrying.delay_after(error) > 0
    else:
        with pytest.raises(CogReelError):
            retrying.delay_after(error)


def test_retries_are_told() -> None:
    told: list[tuple[CogReelError, float]] = []
    policy = RetryPolicy(on_retry=lambda error, pause_s: told.append((error, pause_s)))
    error = unavailable()
    pause_s = Retrying(policy).delay_after(error)
    assert told == [(error, pause_s)]


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan")])
def test_a_timeout_without_time_is_refused(timeout_s: float) -> None:
    with pytest.raises(ValueError, match="retry timeout"):
        RetryPolicy(timeout_s)
