"""Operators, for the tests of AdminService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from cogreel.v1 import admin_pb2_grpc
from cogreel.v1.admin_pb2 import (
    ROLE_ADMIN,
    ApiKey,
    DeleteRequestRequest,
    GetQueueOverviewRequest,
    ListApiKeysRequest,
    ListWorkersRequest,
    QueueCounts,
    Worker,
)

from files import request_prefix
from jobs.keys import create_key
from jobs.subjects import LOG, REQ, RequestKey, log_subject, request_subject
from tests.deployment import Caller, Deployment


class Operator:
    """Someone with a key with the role admin."""

    def __init__(self, stub: admin_pb2_grpc.AdminServiceAsyncStub, api_key: str) -> None:
        self.stub = stub
        self.metadata = (("authorization", f"Bearer {api_key}"),)

    async def keys(self, tenant: str) -> list[ApiKey]:
        answer = await self.stub.ListApiKeys(ListApiKeysRequest(tenant=tenant), metadata=self.metadata)
        return list(answer.keys)

    async def workers(self, endpoint: str) -> list[Worker]:
        answer = await self.stub.ListWorkers(ListWorkersRequest(), metadata=self.metadata)
        return [worker for worker in answer.workers if endpoint in worker.endpoints]

    async def queues(self, endpoint: str) -> dict[int, QueueCounts]:
        answer = await self.stub.GetQueueOverview(GetQueueOverviewRequest(), metadata=self.metadata)
        return {count.priority: count for count in answer.queues if count.endpoint == endpoint}

    async def delete(self, tenant: str, request_id: str) -> None:
        request = DeleteRequestRequest(tenant=tenant, request_id=request_id)
        await self.stub.DeleteRequest(request, metadata=self.metadata)


@asynccontextmanager
async def operator_of(deployment: Deployment, port: int) -> AsyncIterator[Operator]:
    _, api_key = await create_key(deployment.broker, "operators", role=ROLE_ADMIN)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Operator(admin_pb2_grpc.AdminServiceStub(channel), api_key)


def with_key(caller: Caller, tenant: str, api_key: str) -> Caller:
    """The same channel with another key."""
    return Caller(caller.stub, tenant, api_key, caller.endpoint)


async def status_code(caller: Caller, request_id: str) -> grpc.StatusCode:
    """How GetStatus ends."""
    try:
        await caller.status(request_id)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def traces_of(deployment: Deployment, key: RequestKey) -> list[str]:
    """What is left of a request, anywhere."""
    records = await deployment.broker.last(REQ, f"{request_subject(key)}.>")
    lines = await deployment.broker.last(LOG, log_subject(key))
    objects = await deployment.store.list_keys(request_prefix(key.tenant, key.request_id))
    return [found.subject for found in (records, lines) if found is not None] + objects
