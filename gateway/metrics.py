"""What one gateway shows to Prometheus: the calls of its own callers, and how it fares with the two that it calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.answers import Upstream

Kind = Literal["stream", "run"]

NO_ROUTE = "none"
_ROUTE = "route"
CALL_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "OPTIONS"})


class GatewayMetrics:
    """The metrics of one gateway. Left out, the registry is one that nobody reads.

    No label comes from a caller as it is: a route is a pattern of ours, and a method one of those that are served.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry if registry is not None else CollectorRegistry()
        self._calls = Counter(
            "cogreel_http_calls_total",
            "HTTP calls that ended, by the status that was answered; 0 where none was.",
            ["route", "method", "code"],
            registry=registry,
        )
        self._call_seconds = Histogram(
            "cogreel_http_call_seconds",
            "How long HTTP calls took; a stream or a blocking run lasts as long as its request.",
            ["route"],
            buckets=CALL_BUCKETS_S,
            registry=registry,
        )
        self._open = Gauge(
            "cogreel_http_streams_open",
            "Callers that wait for the end of a request, by status stream or blocking run.",
            ["kind"],
            registry=registry,
        )
        self._broken_off = Counter(
            "cogreel_http_streams_broken_off_total",
            "Status streams that could not go on: the gateway stopped, or the service was away for too long.",
            registry=registry,
        )
        self._upstream = Counter(
            "cogreel_http_upstream_failures_total",
            "HTTP calls that failed since the service or the store was out of reach or failed itself.",
            ["upstream"],
            registry=registry,
        )
        kinds: tuple[Kind, ...] = ("stream", "run")
        for kind in kinds:
            self._open.labels(kind)
        upstreams: tuple[Upstream, ...] = ("service", "store")
        for upstream in upstreams:
            self._upstream.labels(upstream)

    def call_ended(self, scope: Scope, status: int, seconds: float) -> None:
        """A call ended; `status` is 0 where nothing was answered."""
        route = scope["state"].get(_ROUTE, NO_ROUTE)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._calls.labels(route, method, str(status)).inc()
        self._call_seconds.labels(route).observe(seconds)

    @contextmanager
    def waiting(self, kind: Kind) -> Iterator[None]:
        """A caller waits for the end of a request, for the length of the block."""
        waiting = self._open.labels(kind)
        waiting.inc()
        try:
            yield
        finally:
            waiting.dec()

    def broken_off(self) -> None:
        """A status stream was broken off."""
        self._broken_off.inc()

    def upstream_failed(self, upstream: Upstream) -> None:
        """A call failed by what the gateway calls itself."""
        self._upstream.labels(upstream).inc()


def noting_routes(app: ASGIApp) -> ASGIApp:
    """An application that notes by which of its routes a call was served, where `call_ended` finds it."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        finally:
            if isinstance(route := scope.get("route"), Route):
                scope["state"][_ROUTE] = route.path.replace(":path}", "}").replace(":int}", "}")

    return served
