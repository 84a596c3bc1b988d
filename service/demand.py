"""How much work there is for the workers of some endpoints, as an autoscaler asks for it.

It comes from the projection, so it is what is really left to do: a cancelled request is gone at once, and one that runs
counts until it has ended, both of which the broker's own lag gets wrong.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from jobs.errors import EndpointNotFoundError, InvalidInputError, Violation
from jobs.overview import queue_counts
from jobs.pauses import PauseDirectory
from jobs.projection import Projection

METRICS = ("requests", "queued", "held", "running", "oldest-age")
"""What can be scaled on: `requests` is queued and running together, `oldest-age` the seconds that the first in line has
waited.
"""
DEFAULT_METRIC = "requests"


@dataclass(frozen=True, slots=True)
class ScaleRule:
    """What an autoscaler wants to know: a metric of these endpoints together, and how much of it is for one worker."""

    endpoints: tuple[str, ...]
    metric: str
    target: float

    @classmethod
    def parse(cls, metadata: Mapping[str, str], served: Collection[str]) -> ScaleRule:
        """From the metadata of a KEDA trigger: `endpoint` (several comma-separated), `target`, and perhaps `metric`.

        Raises:
            InvalidInputError: a field is missing or cannot be read; the message names it and the rule.
            EndpointNotFoundError: no such endpoint is served.
        """
        endpoints = tuple(
            dict.fromkeys(name.strip() for name in metadata.get("endpoint", "").split(",") if name.strip())
        )
        metric = metadata.get("metric", DEFAULT_METRIC)
        target = _number(metadata.get("target", ""))
        broken = []
        if not endpoints:
            broken.append(Violation("metadata.endpoint", "must name an endpoint, or several, comma-separated"))
        if not (math.isfinite(target) and target > 0):
            given = metadata.get("target")
            broken.append(Violation("metadata.target", f"must be a number above 0 for one worker, not {given!r}"))
        if metric not in METRICS:
            broken.append(Violation("metadata.metric", f"must be one of {', '.join(METRICS)}, not {metric!r}"))
        if broken:
            raise InvalidInputError(broken)
        for endpoint in endpoints:
            if endpoint not in served:
                raise EndpointNotFoundError(endpoint, sorted(served))
        return cls(endpoints, metric, target)


@dataclass(frozen=True, slots=True)
class Demand:
    """What some endpoints have to do now.

    `queued` requests are in line for a worker, `running` ones have it; `held` ones are above their tenant's running
    limit, so that no further worker could take them. `oldest_age_s` is for how long the first in line has waited.
    """

    queued: int = 0
    held: int = 0
    running: int = 0
    oldest_age_s: float = 0.0

    @property
    def any(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.queued or self.held or self.running)

    def value(self, metric: str) -> float:
        """One of `METRICS`."""
        match metric:
            case "queued":
                return self.queued
            case "held":
                return self.held
            case "running":
                return self.running
            case "oldest-age":
                return self.oldest_age_s
            case _:
                return self.queued + self.running


def demand_of(projection: Projection, pauses: PauseDirectory, endpoints: Collection[str]) -> Demand:
    """The demand of some endpoints together. What waits where an operator has paused the queue is none: no worker may
    take it, however many there are.
    """
    queued = held = running = 0
    oldest_age_s = 0.0
    for counts in queue_counts(projection):
        if counts.endpoint not in endpoints:
            continue
        running += counts.running
        if not pauses.paused(counts.endpoint, counts.priority):
            queued += counts.queued
            held += counts.held
            oldest_age_s = max(oldest_age_s, counts.oldest.ToNanoseconds() / 1e9)
    return Demand(queued, held, running, oldest_age_s)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
