"""Health by the standard gRPC service: of a machine's workers, told; of any process, asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
from cogreel.connection import Connection
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from jobs.tasks import end_task
from service.plain_port import health_served

WORKER = "cogreel.worker"
"""The name under which it is asked whether every device has its model and takes requests."""
REPORT_EVERY_S = 0.5


@asynccontextmanager
async def workers_health(address: str, ready: Callable[[], bool]) -> AsyncIterator[None]:
    """Tell at host:port while the block lasts; nowhere, if the address is empty.

    The empty name is SERVING as long as the supervisor runs, `cogreel.worker` while `ready`.

    Raises:
        OSError: the address cannot be listened on.
    """
    checks = health.aio.HealthServicer()
    await checks.set(WORKER, health_pb2.HealthCheckResponse.NOT_SERVING)
    async with health_served(address, checks):
        reporter = asyncio.create_task(_report(checks, ready), name="health of the workers")
        try:
            yield
        finally:
            await end_task(reporter)


async def check(connection: Connection, service: str, *, timeout_s: float) -> str:
    """What a process says of itself, or of one of its services: SERVING, NOT_SERVING, …

    Raises:
        UnreachableError: it does not answer, or does not know the service.
    """
    address = connection.target
    async with (
        grpc.aio.secure_channel(address, connection.tls_credentials())
        if connection.secure
        else grpc.aio.insecure_channel(address)
    ) as channel:
        question = health_pb2.HealthCheckRequest(service=service)
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]  # its stubs lack it
                question, timeout=timeout_s
            )
        except grpc.aio.AioRpcError as error:
            raise UnreachableError(f"{address} does not tell: {error.code().name}: {error.details()}") from error
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


class UnreachableError(Exception):
    """A process does not answer a question about its health."""


async def _report(checks: health.aio.HealthServicer, ready: Callable[[], bool]) -> None:
    response = health_pb2.HealthCheckResponse
    while True:
        await checks.set("", response.SERVING)
        await checks.set(WORKER, response.SERVING if ready() else response.NOT_SERVING)
        await asyncio.sleep(REPORT_EVERY_S)
