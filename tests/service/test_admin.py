"""What operators see and do: keys, workers, models and queues; `test_deletion` has the deletion of a request."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime

import grpc
import pytest
from cogreel.v1 import admin_pb2, admin_pb2_grpc
from cogreel.v1.admin_pb2 import (
    ROLE_ADMIN,
    ROLE_CALLER,
    ApiKey,
    CreateApiKeyRequest,
    Limits,
    ListApiKeysRequest,
    ListModelsRequest,
    ListWorkersRequest,
    RevokeApiKeyRequest,
    RotateApiKeyRequest,
)
from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL, RequestState
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from files import ObjectStore
from jobs.keys import create_key
from service.authentication import authorize
from service.errors import CallError
from tests.brokers import NatsServers
from tests.deployment import Deployment, eventually
from tests.errors import Refusal, refused
from tests.service.operators import Operator, operator_of, status_code, with_key


async def test_no_call_is_open_to_a_caller(deployment: Deployment) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    methods = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].methods
    assert len(methods) >= 8
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for method in methods:
            request: Message = getattr(admin_pb2, method.input_type.name)()
            call = getattr(admin_pb2_grpc.AdminServiceStub(channel), method.name)
            error = await refused(call(request, metadata=caller.metadata))
            assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
            assert error.metadata == {"role": "caller"}
            error = await refused(call(request))
            assert error.reason == "UNAUTHENTICATED"


async def test_an_operator_may_do_what_callers_do(deployment: Deployment) -> None:
    port = await deployment.service()
    _, api_key = await create_key(deployment.broker, "operators", role=ROLE_ADMIN)
    assert (await (await deployment.caller(port, tenant="operators", api_key=api_key)).submit()).request_id


def test_a_service_that_no_role_was_given_is_closed_to_all() -> None:
    for role in (0, ROLE_CALLER, ROLE_ADMIN, 99):
        with pytest.raises(CallError, match="is not open"):
            authorize(ApiKey(role=role), "/cogreel.v1.NewService/Call")  # type: ignore[arg-type]
    with pytest.raises(CallError, match="role 99"):
        authorize(ApiKey(role=99), "/cogreel.v1.QueueService/Submit")  # type: ignore[arg-type]


async def test_a_key_made_by_an_operator_works_and_is_listed_without_its_secret(deployment: Deployment) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    async with operator_of(deployment, port) as operator:
        limits = Limits(running=2, requests_per_minute=60, queued=100, stored_bytes=10**12)
        request = CreateApiKeyRequest(tenant="a studio", limits=limits)
        made = await operator.stub.CreateApiKey(request, metadata=operator.metadata)
        assert (made.key.tenant, made.key.role, made.key.limits) == ("a studio", ROLE_CALLER, limits)
        assert abs(datetime.now(UTC) - made.key.created.ToDatetime(UTC)).total_seconds() < 60
        assert (await with_key(caller, "a studio", made.secret).submit()).request_id
        assert await operator.keys("a studio") == [made.key]
        assert await operator.keys("nobody") == []
        everyone = await operator.stub.ListApiKeys(ListApiKeysRequest(), metadata=operator.metadata)
        assert made.key in everyone.keys
        assert made.secret.partition(":")[2] not in str(everyone)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (CreateApiKeyRequest(), "tenant"),
        (CreateApiKeyRequest(tenant="x" * 129), "tenant"),
        (CreateApiKeyRequest(tenant="a", role=7), "role"),  # type: ignore[arg-type]
        (CreateApiKeyRequest(tenant="a", limits=Limits(running=0)), "limits.running"),
        (CreateApiKeyRequest(tenant="a", limits=Limits(stored_bytes=-1)), "limits.stored_bytes"),
    ],
)
async def test_a_key_that_makes_no_sense_is_refused_by_field(
    deployment: Deployment, request_: CreateApiKeyRequest, field: str
) -> None:
    async with operator_of(deployment, await deployment.service()) as operator:
        error = await refused(operator.stub.CreateApiKey(request_, metadata=operator.metadata))
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT")
        assert list(error.violations) == [field]


async def test_a_revoked_key_stops_within_a_second_and_stays_listed(deployment: Deployment) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    submitted = await caller.submit()
    async with operator_of(deployment, port) as operator:
        [key] = await operator.keys(caller.tenant)
        request = RevokeApiKeyRequest(key_id=key.key_id)
        revoked = await operator.stub.RevokeApiKey(request, metadata=operator.metadata)
        assert revoked.key.HasField("revoked")
        await eventually(
            lambda: status_code(caller, submitted.request_id),
            lambda code: code == grpc.StatusCode.UNAUTHENTICATED,
            within_s=2,
        )
        assert await operator.stub.RevokeApiKey(request, metadata=operator.metadata) == revoked
        assert await operator.keys(caller.tenant) == [revoked.key]


async def test_a_rotated_key_works_until_its_grace_time_is_over(deployment: Deployment) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    submitted = await caller.submit()
    async with operator_of(deployment, port) as operator:
        [key] = await operator.keys(caller.tenant)
        request = RotateApiKeyRequest(key_id=key.key_id, grace=Duration(seconds=2))
        rotated = await operator.stub.RotateApiKey(request, metadata=operator.metadata)
        assert (rotated.key.tenant, rotated.key.role) == (key.tenant, key.role)
        assert await status_code(caller, submitted.request_id) == grpc.StatusCode.OK
        successor = with_key(caller, caller.tenant, rotated.secret)
        assert await status_code(successor, submitted.request_id) == grpc.StatusCode.OK
        await eventually(
            lambda: status_code(caller, submitted.request_id), lambda code: code == grpc.StatusCode.UNAUTHENTICATED
        )
        assert await status_code(successor, submitted.request_id) == grpc.StatusCode.OK


async def test_keys_that_are_not_there_or_have_stopped_are_named_by_field(deployment: Deployment) -> None:
    async with operator_of(deployment, await deployment.service()) as operator:

        def assert_names_the_key(error: Refusal) -> None:
            assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT")
            assert list(error.violations) == ["key_id"]

        for key_id in ("0" * 16, "*", ">", "nonsense"):
            revoke, rotate = RevokeApiKeyRequest(key_id=key_id), RotateApiKeyRequest(key_id=key_id)
            assert_names_the_key(await refused(operator.stub.RevokeApiKey(revoke, metadata=operator.metadata)))
            assert_names_the_key(await refused(operator.stub.RotateApiKey(rotate, metadata=operator.metadata)))
        made = await operator.stub.CreateApiKey(CreateApiKeyRequest(tenant="a"), metadata=operator.metadata)
        key_id = made.key.key_id
        too_long = RotateApiKeyRequest(key_id=key_id, grace=Duration(seconds=315_576_000_000))
        error = await refused(operator.stub.RotateApiKey(too_long, metadata=operator.metadata))
        assert list(error.violations) == ["grace"]
        await operator.stub.RevokeApiKey(RevokeApiKeyRequest(key_id=key_id), metadata=operator.metadata)
        error = await refused(
            operator.stub.RotateApiKey(RotateApiKeyRequest(key_id=key_id), metadata=operator.metadata)
        )
        assert_names_the_key(error)
        assert "is revoked" in error.message


async def test_workers_tell_what_they_are_and_what_their_device_works_on(deployment: Deployment) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    async with operator_of(deployment, port) as operator:
        assert await operator.workers(deployment.endpoint) == []
        worker = await deployment.worker(step_s=0.1, name="one")
        [idle] = await operator.workers(deployment.endpoint)
        assert (idle.name, idle.device, idle.device_memory_bytes, idle.request_id) == ("one", "simulated", 0, "")
        assert (idle.model.name, idle.model.revision) == (deployment.card.name, deployment.card.revision)
        assert idle.model.digest
        assert abs(datetime.now(UTC) - idle.started.ToDatetime(UTC)).total_seconds() < 60
        assert not idle.draining
        running = await caller.submit(steps=50)
        await caller.reaches(running.request_id, RequestState.REQUEST_STATE_RUNNING)

        async def at_work() -> list[tuple[str, bool]]:
            return [(found.request_id, found.draining) for found in await operator.workers(deployment.endpoint)]

        await eventually(at_work, lambda seen: seen == [(running.request_id, False)])
        worker.drain()
        await eventually(at_work, lambda seen: seen == [(running.request_id, True)])
        await caller.cancel(running.request_id)
        await eventually(at_work, lambda seen: seen == [])


async def test_models_are_listed_with_their_cards(deployment: Deployment) -> None:
    async with operator_of(deployment, await deployment.service()) as operator:
        answer = await operator.stub.ListModels(ListModelsRequest(), metadata=operator.metadata)
        assert [(model.endpoint, model.card) for model in answer.models] == [(deployment.endpoint, deployment.card)]


async def test_the_overview_counts_what_waits_and_what_runs_on_every_replica(deployment: Deployment) -> None:
    port, other_port = await deployment.service(), await deployment.service()
    caller = await deployment.caller(port)
    async with operator_of(deployment, port) as operator, operator_of(deployment, other_port) as other:
        empty = await operator.queues(deployment.endpoint)
        assert {priority: count.queued for priority, count in empty.items()} == {PRIORITY_NORMAL: 0, PRIORITY_LOW: 0}
        assert not empty[PRIORITY_NORMAL].HasField("oldest")
        await deployment.worker(step_s=0.1)
        running = await caller.submit(steps=50)
        await caller.reaches(running.request_id, RequestState.REQUEST_STATE_RUNNING)
        waiting = [await caller.submit(priority=PRIORITY_LOW) for _ in range(3)]
        for replica in (operator, other):

            async def counts(asked: Operator = replica) -> tuple[int, int, int, int]:
                queues = await asked.queues(deployment.endpoint)
                normal, low = queues[PRIORITY_NORMAL], queues[PRIORITY_LOW]
                return normal.queued, normal.running, low.queued, low.running

            await eventually(counts, lambda seen: seen == (0, 1, 3, 0))
        queues = await operator.queues(deployment.endpoint)
        assert 0 < queues[PRIORITY_LOW].oldest.ToMilliseconds() < 60_000
        for submitted in (running, *waiting):
            await caller.cancel(submitted.request_id)
        await eventually(counts, lambda seen: seen == (0, 0, 0, 0))


async def test_what_operators_see_is_unavailable_while_the_broker_is_away(
    own_nats: NatsServers, store: ObjectStore
) -> None:
    async with (
        Deployment(own_nats.settings(), store) as deployment,
        operator_of(deployment, await deployment.service()) as operator,
    ):
        assert (await operator.queues(deployment.endpoint))[PRIORITY_NORMAL].queued == 0
        with own_nats.silent():
            for call in (
                operator.stub.ListWorkers(ListWorkersRequest(), metadata=operator.metadata),
                operator.stub.ListApiKeys(ListApiKeysRequest(), metadata=operator.metadata),
            ):
                error = await refused(call)
                assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "QUEUE_UNAVAILABLE")

            unavailable = grpc.StatusCode.UNAVAILABLE
            await eventually(lambda: _code(operator.queues(deployment.endpoint)), lambda code: code == unavailable)
        # A cluster of brokers is there again some time after its servers are.
        served = grpc.StatusCode.OK
        await eventually(lambda: _code(operator.workers(deployment.endpoint)), lambda code: code == served)


async def _code(call: Awaitable[object]) -> grpc.StatusCode:
    """How a call ends."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK
