"""The rules of KEDA and of the autoscaler, decision by decision, and as the production overlay sets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.simulation.scaling import Autoscaler, Direction, Policy, Scaling, read_scaled_object
from tests.bench.queues import scaled

PRODUCTION = Path(__file__).parents[2] / "deploy/k8s/overlays/production/scaling.yaml"


def with_behaviour(rules: Scaling, *, up: Direction | None = None, down: Direction | None = None) -> Scaling:
    return rules.model_copy(update={"up": up or rules.up, "down": down or rules.down})


def test_the_rules_of_the_production_overlay_are_read() -> None:
    rules = read_scaled_object(PRODUCTION)
    assert (rules.minimum, rules.maximum, rules.polling_interval_s, rules.cooldown_s) == (0, 8, 10, 900)
    assert rules.pushed
    assert rules.up == Direction(policies=(Policy(type="Pods", value=4, period_s=60),))
    assert rules.down == Direction(stabilization_s=900, policies=(Policy(type="Pods", value=1, period_s=120),))
    [trigger] = rules.triggers
    assert (trigger.metric, trigger.target) == ("requests", 4)
    assert trigger.endpoints == ("fal-ai/cogvideox-5b", "fal-ai/cogvideox-5b/video-to-video")


def test_a_file_without_a_scaled_object_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("kind: Deployment\n")
    with pytest.raises(ValueError, match="has no ScaledObject"):
        read_scaled_object(file)


def test_the_first_request_brings_one_worker_and_the_cooldown_keeps_the_last_one() -> None:
    keda = Autoscaler(scaled(cooldown_s=60))
    assert keda.poll(0, active=False, replicas=0) == 0
    assert keda.poll(10, active=True, replicas=0) == 1
    assert keda.poll(20, active=False, replicas=1) == 1
    assert keda.poll(69, active=False, replicas=1) == 1
    assert keda.poll(70, active=False, replicas=1) == 0


def test_there_are_workers_for_what_is_there_within_least_and_most() -> None:
    hpa = Autoscaler(scaled(maximum=8, target=4))
    assert hpa.sync(0, [9], 1) == 3
    assert hpa.sync(15, [400], 3) == 7  # four more in 15 s
    assert hpa.sync(30, [400], 7) == 8
    assert hpa.sync(45, [400], 0) == 0  # none: that is the operator's


def test_near_enough_changes_nothing() -> None:
    hpa = Autoscaler(scaled(target=10))
    assert hpa.sync(0, [10.9], 1) == 1
    assert hpa.sync(15, [11.1], 1) == 2


def test_down_goes_by_the_greatest_wish_of_the_window() -> None:
    down = Direction(stabilization_s=100, policies=(Policy(type="Percent", value=100, period_s=15),))
    hpa = Autoscaler(with_behaviour(scaled(), down=down))
    assert hpa.sync(0, [5], 5) == 5
    assert hpa.sync(50, [3], 5) == 5
    assert hpa.sync(101, [1], 5) == 3
    assert hpa.sync(151, [1], 3) == 1


def test_policies_count_what_was_done_in_their_period() -> None:
    up = Direction(policies=(Policy(type="Pods", value=2, period_s=60),))
    down = Direction(policies=(Policy(type="Pods", value=1, period_s=120),))
    hpa = Autoscaler(with_behaviour(scaled(), up=up, down=down))
    assert hpa.sync(0, [8], 1) == 3
    assert hpa.sync(30, [8], 3) == 3
    assert hpa.sync(61, [8], 3) == 5
    assert hpa.sync(200, [1], 5) == 4
    assert hpa.sync(215, [1], 4) == 4
    assert hpa.sync(321, [1], 4) == 3
