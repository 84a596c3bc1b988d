"""KEDA's external scaler: how many workers are needed, on a port of its own.

KEDA presents no API key, so this is not a service of the callers' port: whoever reaches it learns how much there is to
do, which the metrics tell as well, and nothing of tenants or requests. Listen where only KEDA gets to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import NoReturn, TypeVar

import grpc
import structlog

from jobs.broker import Broker
from jobs.errors import EndpointNotFoundError, InvalidInputError
from jobs.pauses import PauseDirectory
from jobs.view import LiveView
from service.demand import Demand, ScaleRule, demand_of
from service.externalscaler_pb2 import (
    GetMetricSpecResponse,
    GetMetricsRequest,
    GetMetricsResponse,
    IsActiveResponse,
    MetricSpec,
    MetricValue,
    ScaledObjectRef,
)
from service.externalscaler_pb2_grpc import ExternalScalerServicer, add_ExternalScalerServicer_to_server
from service.plain_port import plain_port

LOOK_EVERY_S = 0.5
CATCH_UP_WITHIN_S = 2.0  # after a start, say; KEDA asks again anyway
CATCH_UP_POLL_S = 0.02
GRACE_S = 1.0

_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def scaler_served(
    address: str, broker: Broker, view: LiveView, endpoints: Collection[str]
) -> AsyncIterator[None]:
    """Answer KEDA at host:port while the block lasts; nowhere, if the address is empty.

    Raises:
        OSError: the address cannot be listened on.
        BrokerUnavailableError: the pauses cannot be read.
    """
    if not address:
        yield
        return
    async with PauseDirectory(broker) as pauses:
        servicer = ScalerServicer(view, pauses, endpoints)

        def register(server: grpc.aio.Server) -> None:
            add_ExternalScalerServicer_to_server(servicer, server)

        async with plain_port(address, register, name="scaler", purpose="KEDA", grace_s=GRACE_S):
            yield


class ScalerServicer(ExternalScalerServicer):
    """Serves one replica. A replica that does not see everything says so, rather than that there is nothing to do, for
    which KEDA would end the workers.
    """

    def __init__(self, view: LiveView, pauses: PauseDirectory, endpoints: Collection[str]) -> None:
        self._view = view
        self._pauses = pauses
        self._endpoints = endpoints

    async def IsActive(  # noqa: N802 - KEDA's name, as those below
        self, request: ScaledObjectRef, context: grpc.aio.ServicerContext[ScaledObjectRef, IsActiveResponse]
    ) -> IsActiveResponse:
        """Whether there is anything to do."""
        rule = await self._rule(request, context)
        return IsActiveResponse(result=(await self._demand(rule, context)).any)

    async def StreamIsActive(  # noqa: N802
        self, request: ScaledObjectRef, context: grpc.aio.ServicerContext[ScaledObjectRef, IsActiveResponse]
    ) -> AsyncIterator[IsActiveResponse]:
        """Whether there is anything to do: now, and whenever that changes."""
        rule = await self._rule(request, context)
        told: bool | None = None
        while not self._view.closing.is_set():
            if self._view.caught_up and (active := self._now(rule).any) != told:
                told = active
                yield IsActiveResponse(result=active)
            await asyncio.sleep(LOOK_EVERY_S)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "This replica stops; ask another one.")

    async def GetMetricSpec(  # noqa: N802
        self, request: ScaledObjectRef, context: grpc.aio.ServicerContext[ScaledObjectRef, GetMetricSpecResponse]
    ) -> GetMetricSpecResponse:
        """The one metric of the trigger, and how much of it is for one worker."""
        rule = await self._rule(request, context)
        whole = max(1, round(rule.target))
        spec = MetricSpec(metricName=rule.metric, targetSize=whole, targetSizeFloat=rule.target)
        return GetMetricSpecResponse(metricSpecs=[spec])

    async def GetMetrics(  # noqa: N802
        self, request: GetMetricsRequest, context: grpc.aio.ServicerContext[GetMetricsRequest, GetMetricsResponse]
    ) -> GetMetricsResponse:
        """How much of it there is."""
        rule = await self._rule(request.scaledObjectRef, context)
        if request.metricName != rule.metric:
            await _refuse(
                context,
                grpc.StatusCode.INVALID_ARGUMENT,
                f"metricName: must be {rule.metric!r}, the metric of this trigger, not {request.metricName!r}",
            )
        value = (await self._demand(rule, context)).value(rule.metric)
        return GetMetricsResponse(
            metricValues=[MetricValue(metricName=rule.metric, metricValue=round(value), metricValueFloat=value)]
        )

    async def _rule(self, asked: ScaledObjectRef, context: grpc.aio.ServicerContext[_Question, _Answer]) -> ScaleRule:
        try:
            return ScaleRule.parse(asked.scalerMetadata, self._endpoints)
        except InvalidInputError as error:
            await _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, str(error), asked)
        except EndpointNotFoundError as error:
            await _refuse(context, grpc.StatusCode.NOT_FOUND, f"metadata.endpoint: {error}", asked)

    async def _demand(self, rule: ScaleRule, context: grpc.aio.ServicerContext[_Question, _Answer]) -> Demand:
        deadline = asyncio.get_running_loop().time() + CATCH_UP_WITHIN_S
        while not self._view.caught_up:
            if asyncio.get_running_loop().time() >= deadline:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "This replica does not see the whole queue now.")
            await asyncio.sleep(CATCH_UP_POLL_S)
        return self._now(rule)

    def _now(self, rule: ScaleRule) -> Demand:
        return demand_of(self._view.projection, self._pauses, rule.endpoints)


async def _refuse(
    context: grpc.aio.ServicerContext[_Question, _Answer],
    code: grpc.StatusCode,
    message: str,
    asked: ScaledObjectRef | None = None,
) -> NoReturn:
    _log.warning("scaler.refused", message=message, scaled_object=asked.name if asked else None)
    await context.abort(code, message)
    raise AssertionError("unreachable: abort raises")
