"""Whether a new request may come in: at once, held back, or not at all.

A tenant has `running` slots, one for each request that waits in line or runs. A request that finds none free is held:
it is stored, and `promotion` puts it in line when a slot falls free. So one tenant's thousand requests stand in its
own line, and not in front of another's one.

Each replica counts by its own projection, and exactly what passes through itself; submissions that come in at several
replicas at the same moment may exceed a limit by as many.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cogreel.v1.admin_pb2 import Limits

from jobs.errors import LimitExceededError, QueueFullError
from jobs.view import LiveView

MINUTE_NS = 60 * 1_000_000_000
WAITING_RETRY_S = 5.0
STORED_RETRY_S = 60.0

LimitsOf = Callable[[str], Limits]
"""The limits of a tenant, by name; what is not set is not limited."""


def unlimited(_tenant: str) -> Limits:
    """No limits."""
    return Limits()


class Admission:
    """Decides for one replica. `max_waiting` bounds the requests that wait, of all tenants together."""

    def __init__(self, view: LiveView, limits_of: LimitsOf = unlimited, *, max_waiting: int | None = None) -> None:
        self._view = view
        self._limits_of = limits_of
        self._max_waiting = max_waiting
        self._coming: Counter[str] = Counter()
        self._coming_held: Counter[str] = Counter()

    @contextmanager
    def admitting(self, tenant: str) -> Iterator[bool]:
        """Give whether a new request of a tenant is to be held; it is counted in while the block lasts.

        Raises:
            QueueFullError: the queue takes no more.
            LimitExceededError: a limit of the tenant is reached.
        """
        if self._view.full:
            raise QueueFullError("its storage is nearly full")
        waiting = self._view.projection.waiting + self._coming.total()
        if self._max_waiting is not None and waiting >= self._max_waiting:
            raise QueueFullError(f"{waiting} requests wait, and no more may")
        limits = self._limits_of(tenant)
        self._check(tenant, limits)
        hold = self._is_to_be_held(tenant, limits)
        self._coming[tenant] += 1
        self._coming_held[tenant] += hold
        try:
            yield hold
        finally:
            self._coming[tenant] -= 1
            self._coming_held[tenant] -= hold
            if not self._coming[tenant]:
                del self._coming[tenant], self._coming_held[tenant]

    def _check(self, tenant: str, limits: Limits) -> None:
        usage = self._view.projection.usage(tenant)
        if limits.HasField("queued") and usage.waiting + self._coming[tenant] >= limits.queued:
            raise LimitExceededError("queued", limits.queued, WAITING_RETRY_S)
        if limits.HasField("stored_bytes") and usage.stored_bytes >= limits.stored_bytes:
            raise LimitExceededError("stored_bytes", limits.stored_bytes, STORED_RETRY_S)
        if limits.HasField("requests_per_minute"):
            self._check_rate(tenant, limits.requests_per_minute)

    def _check_rate(self, tenant: str, allowed: int) -> None:
        """Look at the request that came `allowed` requests ago: it must be older than a minute."""
        projection = self._view.projection
        nth = allowed - self._coming[tenant]
        accepted = projection.by_tenant.get(tenant, {})
        if nth <= 0:
            raise LimitExceededError("requests_per_minute", allowed, 1.0)
        if len(accepted) < nth:
            return
        free_ns = projection.entries[accepted.peekitem(-nth)[1]].accepted_ns + MINUTE_NS - time.time_ns()
        if free_ns > 0:
            raise LimitExceededError("requests_per_minute", allowed, free_ns / 1e9)

    def _is_to_be_held(self, tenant: str, limits: Limits) -> bool:
        if not limits.HasField("running"):
            return False
        usage = self._view.projection.usage(tenant)
        held = usage.held + self._coming_held[tenant]
        admitted = usage.admitted + self._coming[tenant] - self._coming_held[tenant]
        return bool(held) or admitted >= limits.running  # the new one must not overtake those that are held
