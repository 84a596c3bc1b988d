"""Putting held requests in line when a slot of their tenant falls free.

Every replica does it over its own projection. They agree on the request, the tenant's first held one, and its QUEUED
is published by compare-and-set: one of them wins, and the others find out by its state.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import structlog

from jobs import states
from jobs.admission import LimitsOf
from jobs.broker import Broker
from jobs.errors import BrokerUnavailableError, QueueFullError
from jobs.publisher import Applied, confirmed_state, publish_transition
from jobs.record_pb2 import Record, State
from jobs.tasks import end_task
from jobs.view import LiveView

LOOK_EVERY_S = 2.0  # limits may change, keys be revoked, a promotion fail: no state tells

_log = structlog.get_logger(__name__)


class Promoter:
    """The promoter of one replica, as an async context manager. Enter it before the view, which tells it of states."""

    def __init__(self, broker: Broker, view: LiveView, limits_of: LimitsOf) -> None:
        self._broker = broker
        self._view = view
        self._limits_of = limits_of
        self._due: dict[str, None] = {}  # in the order in which they became due
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        view.on_state.append(self._consider)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="promoter")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            await end_task(self._task)

    def _consider(self, record: Record) -> None:
        if self._view.projection.usage(record.tenant).held:
            self._due[record.tenant] = None
            self._woken.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        look_at = loop.time() + LOOK_EVERY_S
        while True:
            if not self._due:
                try:
                    async with asyncio.timeout_at(look_at):
                        await self._woken.wait()
                except TimeoutError:
                    pass
                self._woken.clear()
            if loop.time() >= look_at:
                self._due |= dict.fromkeys(self._view.projection.holding())
                look_at = loop.time() + LOOK_EVERY_S
            if self._due:
                tenant = next(iter(self._due))
                del self._due[tenant]
                if await self._promoted(tenant):
                    self._due[tenant] = None  # its next one after those of all others

    async def _promoted(self, tenant: str) -> bool:
        try:
            return await self._promote(tenant)
        except (BrokerUnavailableError, QueueFullError) as error:
            _log.warning("promotion.postponed", tenant=tenant, cause=str(error))
        except Exception as error:  # noqa: BLE001 - one tenant's trouble must not hold up all others
            _log.error("promotion.fault", tenant=tenant, exc_info=error)
        return False

    async def _promote(self, tenant: str) -> bool:
        """Put a tenant's first held request in line, if a slot is free; whether that is done and seen."""
        projection = self._view.projection
        key = projection.first_held(tenant)
        limits = self._limits_of(tenant)
        if key is None or (limits.HasField("running") and projection.usage(tenant).admitted >= limits.running):
            return False
        found = await confirmed_state(self._broker, key)
        if found is None or found[1].state != State.STATE_HELD:
            return False  # the projection will hear of it, and the tenant be due again
        outcome = await publish_transition(self._broker, states.admitted(found[1]), expected_seq=found[0])
        return isinstance(outcome, Applied) and await self._view.reached(outcome.seq)
