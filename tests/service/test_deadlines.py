"""Requests that no worker ends are ended by their deadlines."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from cogreel.v1.queue_pb2 import FailureReason, RequestState
from google.protobuf.duration_pb2 import Duration

from jobs import deadlines
from tests.deployment import Deployment
from tests.errors import refused

ONE_SECOND = Duration(seconds=1)


async def test_a_request_that_does_not_start_in_time_fails_with_the_reason(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    submitted = await caller.submit(start_timeout=ONE_SECOND)
    assert await caller.ended(submitted.request_id) == RequestState.REQUEST_STATE_FAILED
    status = (await caller.status(submitted.request_id)).status
    assert status.failure.reason == FailureReason.FAILURE_REASON_START_TIMEOUT
    assert "1 s" in status.failure.message
    assert status.attempt == 0
    error = await refused(caller.result(submitted.request_id))
    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "REQUEST_FAILED")
    assert error.metadata["failure"] == "START_TIMEOUT"


async def test_a_request_that_has_started_is_not_ended_by_its_start_timeout(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    await deployment.worker(step_s=0.05)
    submitted = await caller.submit(steps=40, start_timeout=ONE_SECOND)
    assert await caller.ended(submitted.request_id) == RequestState.REQUEST_STATE_COMPLETED


async def test_a_start_timeout_outlives_the_replica_that_took_the_request(deployment: Deployment) -> None:
    async with deployment.service_running() as port:
        caller = await deployment.caller(port)
        submitted = await caller.submit(start_timeout=ONE_SECOND)
    successor = await deployment.caller(await deployment.service(), tenant=caller.tenant)
    assert await successor.ended(submitted.request_id) == RequestState.REQUEST_STATE_FAILED


async def test_a_last_attempt_whose_worker_is_gone_fails_although_no_worker_is_left(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "LOOK_AFTER_HOLDER_S", 0.5)
    monkeypatch.setattr(deadlines, "SILENCE_S", 1.0)
    caller = await deployment.caller(await deployment.service())
    async with asyncio.timeout(30):
        await deployment.dead_worker()
        submitted = await caller.submit(max_attempts=1)
        await caller.reaches(submitted.request_id, RequestState.REQUEST_STATE_FAILED)
    status = (await caller.status(submitted.request_id)).status
    assert status.failure.reason == FailureReason.FAILURE_REASON_LEASE_LOST
    assert [failure.attempt for failure in status.failed_attempts] == [1]
