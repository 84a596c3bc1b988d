"""The simulation against a real service and workers, shortly; `python -m bench.capacity_check` does it at length."""

from __future__ import annotations

import pytest

from bench.capacity_check import check


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("scaled", [False, True])
async def test_the_simulation_says_what_really_happens(scaled: bool) -> None:
    columns, _, _ = await check(scaled=scaled, seconds=40, seed=1, calls=2)
    real, _, exact = columns
    assert real.waited
    for flow, found in real.waited.items():
        assert exact.waited[flow].number == found.number
        assert exact.waited[flow].mean_s == pytest.approx(found.mean_s, rel=0.3, abs=2.0)
    assert exact.busy_share == pytest.approx(real.busy_share, abs=0.1)
    assert abs(exact.starts - real.starts) <= 2
