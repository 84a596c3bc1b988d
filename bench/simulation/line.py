"""The queue: who is admitted, held or refused, who is next, and what an autoscaler is told.

The rules are those of `jobs.admission`, `jobs.promotion`, `jobs.deliveries` and `service.demand`: a tenant above its
running limit waits in a line of its own, its first one goes to the end of the common line when a slot falls free;
normal goes before low, each in its order; a worker with several endpoints takes them in turn; what was handed back goes
first.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.simulation.requests import Arrival, Request
from bench.simulation.scenario import Limits, Priority
from service.demand import Demand

PRIORITIES: tuple[Priority, ...] = ("normal", "low")
MINUTE_S = 60.0


@dataclass(slots=True)
class _Tenant:
    limits: Limits
    held: dict[Priority, deque[Request]] = field(default_factory=lambda: {"normal": deque(), "low": deque()})
    admitted: int = 0
    in_line: int = 0
    accepted_s: deque[float] = field(default_factory=deque)

    @property
    def held_count(self) -> int:
        return sum(map(len, self.held.values()))


class Queue:
    """All requests that have not ended."""

    def __init__(self, tenants: Mapping[str, Limits], max_waiting: int) -> None:
        self.refused: Counter[str] = Counter()
        """Submissions that were refused, by the limit that they were above."""
        self.waiting = 0
        self.most_waiting = 0
        self._limits = tenants
        self._max_waiting = max_waiting
        self._tenants: dict[str, _Tenant] = {}
        self._lines: defaultdict[tuple[str, Priority], deque[Request]] = defaultdict(deque)
        self._running: Counter[str] = Counter()
        self._held: Counter[str] = Counter()

    def submit(self, arrival: Arrival) -> Request | None:
        """Take in a submission; None if it is refused. It is in line, unless it is held."""
        tenant = self._tenant(arrival.tenant)
        refusal = self._refusal(tenant, arrival.at_s)
        if refusal:
            self.refused[refusal] += 1
            return None
        if tenant.limits.requests_per_minute is not None:
            tenant.accepted_s.append(arrival.at_s)
        limit = tenant.limits.running
        held = limit is not None and (tenant.held_count > 0 or tenant.admitted >= limit)
        request = Request(arrival, held=held)
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        if held:
            tenant.held[arrival.priority].append(request)
            self._held[arrival.endpoint] += 1
        else:
            self._admit(tenant, request)
        return request

    def _tenant(self, name: str) -> _Tenant:
        if name not in self._tenants:
            self._tenants[name] = _Tenant(self._limits.get(name, Limits()))
        return self._tenants[name]

    def _refusal(self, tenant: _Tenant, now: float) -> str:
        if self.waiting >= self._max_waiting:
            return "max_waiting"
        limits = tenant.limits
        if limits.queued is not None and tenant.in_line + tenant.held_count >= limits.queued:
            return "queued"
        if limits.requests_per_minute is not None:
            while tenant.accepted_s and tenant.accepted_s[0] <= now - MINUTE_S:
                tenant.accepted_s.popleft()
            if len(tenant.accepted_s) >= limits.requests_per_minute:
                return "requests_per_minute"
        return ""

    def _admit(self, tenant: _Tenant, request: Request) -> None:
        tenant.admitted += 1
        tenant.in_line += 1
        self._lines[request.arrival.endpoint, request.arrival.priority].append(request)

    def take(self, endpoints: Sequence[str]) -> Request | None:
        """The next one for a worker: normal before low, the endpoints in this order. It runs from now on."""
        for priority in PRIORITIES:
            for endpoint in endpoints:
                if line := self._lines.get((endpoint, priority)):
                    request = line.popleft()
                    self._tenant(request.arrival.tenant).in_line -= 1
                    self.waiting -= 1
                    self._running[endpoint] += 1
                    return request
        return None

    def hand_back(self, request: Request) -> None:
        """Put a running request in line again, before those that came after it."""
        arrival = request.arrival
        request.handed_back += 1
        request.started_s = None
        self._running[arrival.endpoint] -= 1
        self._tenant(arrival.tenant).in_line += 1
        self.waiting += 1
        self._lines[arrival.endpoint, arrival.priority].appendleft(request)

    def complete(self, request: Request) -> Request | None:
        """End a running request; the held one that is in line for it now, if there is one."""
        tenant = self._tenant(request.arrival.tenant)
        self._running[request.arrival.endpoint] -= 1
        tenant.admitted -= 1
        for priority in PRIORITIES:
            if tenant.held[priority]:
                promoted = tenant.held[priority].popleft()
                self._held[promoted.arrival.endpoint] -= 1
                self._admit(tenant, promoted)
                return promoted
        return None

    def demand(self, endpoints: Sequence[str], now: float) -> Demand:
        """What the service tells KEDA."""
        lines = [self._lines[endpoint, priority] for endpoint in endpoints for priority in PRIORITIES]
        return Demand(
            queued=sum(map(len, lines)),
            held=sum(self._held[endpoint] for endpoint in endpoints),
            running=sum(self._running[endpoint] for endpoint in endpoints),
            oldest_age_s=max((now - line[0].arrival.at_s for line in lines if line), default=0.0),
        )
