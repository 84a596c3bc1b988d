"""How many workers there are: the rules of KEDA's operator and of the HorizontalPodAutoscaler that it makes.

The operator decides between none and some: on what it is told each `polling_interval_s` (and at once, by a trigger of
type external-push) it goes from zero to one, and from the last worker to none once nothing has been active for
`cooldown_s`. Above zero the autoscaler decides, every 15 s. `Autoscaler` holds no clock, so that it decides for
simulated workers and real ones alike.

Sources: KEDA 2.16, "Scaling Deployments" and "External scalers"; Kubernetes 1.33, "Horizontal Pod Autoscaling" (the
algorithm, tolerance, stabilization windows and policies).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from service.demand import ScaleRule

TOLERANCE = 0.1  # --horizontal-pod-autoscaler-tolerance
SYNC_S = 15.0  # --horizontal-pod-autoscaler-sync-period


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Policy(_Model):
    """How far the number of workers may move within a period."""

    type: Literal["Pods", "Percent"]
    value: PositiveInt
    period_s: PositiveFloat


class Direction(_Model):
    """How the autoscaler goes up, or down: by the policy that moves it furthest."""

    stabilization_s: float = Field(default=0.0, ge=0)
    policies: tuple[Policy, ...] = Field(min_length=1)


UP = Direction(policies=(Policy(type="Percent", value=100, period_s=15), Policy(type="Pods", value=4, period_s=15)))
"""Kubernetes' own, where nothing is said."""
DOWN = Direction(stabilization_s=300, policies=(Policy(type="Percent", value=100, period_s=15),))
"""Likewise."""


class Trigger(_Model):
    """What the service is asked: how much of a metric there is for some endpoints; `target` is for one worker."""

    endpoints: tuple[str, ...] = Field(min_length=1)
    metric: Literal["requests", "queued", "held", "running", "oldest-age"] = "requests"
    target: PositiveFloat


class Scaling(_Model):
    """One ScaledObject."""

    minimum: int = Field(default=0, ge=0)
    maximum: PositiveInt
    polling_interval_s: PositiveFloat = 30.0
    cooldown_s: float = Field(default=300.0, ge=0)
    pushed: bool = True
    """Whether the service tells at once that there is something to do (external-push)."""
    sync_s: PositiveFloat = SYNC_S
    up: Direction = UP
    down: Direction = DOWN
    triggers: tuple[Trigger, ...] = Field(min_length=1)


def read_scaled_object(path: Path) -> Scaling:
    """The rules of the first ScaledObject in a file of Kubernetes manifests.

    Raises:
        ValueError: there is none, or its triggers are not of KEDA's external scaler.
    """
    with path.open(encoding="utf-8") as file:
        documents = [document for document in yaml.safe_load_all(file) if document]
    found = next((document for document in documents if document.get("kind") == "ScaledObject"), None)
    if found is None:
        raise ValueError(f"{path}: has no ScaledObject")
    spec = found["spec"]
    behavior = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior", {})
    return Scaling(
        minimum=spec.get("minReplicaCount", 0),
        maximum=spec.get("maxReplicaCount", 100),
        polling_interval_s=spec.get("pollingInterval", 30),
        cooldown_s=spec.get("cooldownPeriod", 300),
        pushed=any(trigger["type"] == "external-push" for trigger in spec["triggers"]),
        up=_direction(behavior.get("scaleUp"), UP),
        down=_direction(behavior.get("scaleDown"), DOWN),
        triggers=tuple(_trigger(path, trigger) for trigger in spec["triggers"]),
    )


def _direction(given: Mapping[str, Any] | None, usual: Direction) -> Direction:
    if given is None:
        return usual
    policies = tuple(
        Policy(type=policy["type"], value=policy["value"], period_s=policy["periodSeconds"])
        for policy in given.get("policies", ())
    )
    window = given.get("stabilizationWindowSeconds", usual.stabilization_s)
    return Direction(stabilization_s=window, policies=policies or usual.policies)


def _trigger(path: Path, given: Mapping[str, Any]) -> Trigger:
    if given["type"] not in {"external", "external-push"}:
        raise ValueError(f"{path}: a trigger is of type {given['type']}, which the service does not answer")
    metadata = given["metadata"]
    named = {name.strip() for name in metadata.get("endpoint", "").split(",")}
    rule = ScaleRule.parse(metadata, named)  # as the service reads it
    return Trigger.model_validate({"endpoints": rule.endpoints, "metric": rule.metric, "target": rule.target})


class Autoscaler:
    """Decides for one group of workers. `now` is seconds on any clock that does not go back."""

    def __init__(self, rules: Scaling) -> None:
        self._rules = rules
        self._active_at: float | None = None
        self._wished: deque[tuple[float, int]] = deque()
        self._moves: deque[tuple[float, int]] = deque()
        self._longest_s = max(policy.period_s for policy in (*rules.up.policies, *rules.down.policies))

    def poll(self, now: float, *, active: bool, replicas: int) -> int:
        """What KEDA's operator makes of it that there is anything to do, or nothing."""
        least = self._rules.minimum
        if active:
            self._active_at = now
            return replicas or max(1, least)
        if replicas < least:
            return least
        if least or not replicas:
            return replicas
        since = self._active_at if self._active_at is not None else -math.inf
        return 0 if now - since >= self._rules.cooldown_s else replicas

    def sync(self, now: float, values: Sequence[float], replicas: int) -> int:
        """What the autoscaler makes of the value of each trigger's metric; nothing while there is no worker."""
        if not replicas:
            return 0
        pairs = zip(values, self._rules.triggers, strict=True)
        wish = max(_for(value, trigger.target, replicas) for value, trigger in pairs)
        wish = self._stable(now, wish, replicas)
        wish = min(max(wish, self._rules.minimum, 1), self._rules.maximum)
        while self._moves and self._moves[0][0] <= now - self._longest_s:
            self._moves.popleft()
        limited = self._limited(now, wish, replicas)
        if limited != replicas:
            self._moves.append((now, limited - replicas))
        return limited

    def _stable(self, now: float, wish: int, replicas: int) -> int:
        """Up by the least wish of the window for going up, down by the greatest of that for going down."""
        up_s, down_s = self._rules.up.stabilization_s, self._rules.down.stabilization_s
        self._wished.append((now, wish))
        while self._wished[0][0] < now - max(up_s, down_s):
            self._wished.popleft()
        up = min(wished for at, wished in self._wished if at >= now - up_s)
        down = max(wished for at, wished in self._wished if at >= now - down_s)
        return min(max(replicas, up), down)

    def _limited(self, now: float, wish: int, replicas: int) -> int:
        """Not further than the policies let it, each counted from the number at the beginning of its period."""
        if wish > replicas:
            return min(wish, max(self._reach(now, policy, replicas, up=True) for policy in self._rules.up.policies))
        if wish < replicas:
            return max(wish, min(self._reach(now, policy, replicas, up=False) for policy in self._rules.down.policies))
        return replicas

    def _reach(self, now: float, policy: Policy, replicas: int, *, up: bool) -> int:
        before = replicas - sum(move for at, move in self._moves if at > now - policy.period_s)
        if policy.type == "Pods":
            reach = before + (policy.value if up else -policy.value)
        elif up:
            reach = math.ceil(before * (1 + policy.value / 100))
        else:
            reach = math.floor(before * (1 - policy.value / 100))
        return max(reach, replicas) if up else min(reach, replicas)


def _for(value: float, target: float, replicas: int) -> int:
    """How many workers a metric asks for: as many as there are where it is near enough to what these are for."""
    if abs(1 - value / (target * replicas)) <= TOLERANCE:
        return replicas
    return math.ceil(value / target)
