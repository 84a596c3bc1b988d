"""Who may call, and what is open to anyone."""

from __future__ import annotations

import grpc
import pytest
from cogreel.v1 import queue_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from jobs.keys import create_key, revoke_key
from tests.deployment import Caller, Deployment, eventually
from tests.errors import refused


async def submit_with(caller: Caller, authorization: str | bytes | None) -> queue_pb2.SubmitResponse:
    metadata = () if authorization is None else (("authorization", authorization),)
    return await caller.stub.Submit(caller.submission(), metadata=metadata)


@pytest.mark.parametrize(
    ("authorization", "told"),
    [
        (None, "needs an API key"),
        ("", "must have the form"),
        ("Basic dXNlcjpwYXNz", "must have the form"),
        ("Bearer", "malformed"),
        ("Bearer nonsense", "malformed"),
        (f"Bearer {'0' * 16}:{'A' * 43}", "unknown or revoked"),
    ],
)
async def test_a_missing_malformed_or_unknown_key_is_refused(
    deployment: Deployment, authorization: str | None, told: str
) -> None:
    caller = await deployment.caller(await deployment.service())
    error = await refused(submit_with(caller, authorization))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert told in error.message


async def test_the_right_id_with_another_secret_is_refused_like_an_unknown_key(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    key_id = caller.api_key.partition(":")[0]
    error = await refused(submit_with(caller, f"Bearer {key_id}:{'A' * 43}"))
    assert "unknown or revoked" in error.message


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Key"])
async def test_both_schemes_of_authorization_are_taken(deployment: Deployment, scheme: str) -> None:
    caller = await deployment.caller(await deployment.service())
    assert (await submit_with(caller, f"{scheme} {caller.api_key}")).request_id


async def test_a_revoked_key_stops_working_on_running_replicas(deployment: Deployment) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    await caller.submit()
    await revoke_key(deployment.broker, caller.api_key.partition(":")[0])

    async def reason() -> str:
        try:
            await caller.submit()
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "accepted"

    await eventually(reason, lambda seen: seen == "UNAUTHENTICATED", within_s=2)
    error = await refused(anext(caller.watch("00000000-0000-4000-8000-000000000000")))
    assert error.reason == "UNAUTHENTICATED"


async def test_a_key_made_while_replicas_run_works_at_once(deployment: Deployment) -> None:
    port = await deployment.service()
    _, api_key = await create_key(deployment.broker, "newcomer")
    caller = await deployment.caller(port, tenant="newcomer", api_key=api_key)
    assert (await caller.submit()).request_id


async def test_two_keys_of_one_tenant_see_the_same_requests(deployment: Deployment) -> None:
    port = await deployment.service()
    one = await deployment.caller(port, tenant="shared")
    other = await deployment.caller(port, tenant="shared")
    submitted = await one.submit()
    assert (await other.status(submitted.request_id)).status.request_id == submitted.request_id


async def test_health_tells_of_the_process_and_of_the_queue_without_a_key(deployment: Deployment) -> None:
    port = await deployment.service()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        for service in ("", "cogreel.v1.QueueService"):

            async def status(name: str = service) -> int:
                answer = await check(health_pb2.HealthCheckRequest(service=name))
                return int(answer.status)

            await eventually(status, lambda seen: seen == health_pb2.HealthCheckResponse.SERVING, within_s=5)


async def test_reflection_lists_the_services(deployment: Deployment) -> None:
    port = await deployment.service()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        ask = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        async for answer in ask(iter([question])):
            names = {service.name for service in answer.list_services_response.service}
            assert {"cogreel.v1.QueueService", "cogreel.v1.StorageService", "cogreel.v1.AdminService"} <= names
            break
