"""What every route shares."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from starlette.requests import Request

from gateway.backend import Backend
from gateway.metrics import GatewayMetrics
from gateway.seals import Seals
from gateway.settings import GatewaySettings
from gateway.store import Store


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of one running gateway."""

    settings: GatewaySettings
    backend: Backend
    seals: Seals
    store: Store
    metrics: GatewayMetrics = field(default_factory=GatewayMetrics)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once no call should go on for long."""


def context_of(request: Request) -> Context:
    """The gateway that a call has come to."""
    context: Context = request.app.state.context
    return context


def origin_of(request: Request) -> str:
    """What the caller puts before the paths: scheme, host and port, and the prefix of a proxy in between."""
    settings = context_of(request).settings
    return settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")
