"""What the previous release left in the broker and the bucket, read and finished by this one.

The records, lines, keys and consumers are those that it wrote (`recording.json`); its schema is kept beside them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from cogreel.v1.queue_pb2 import ListRequestsRequest, RequestState
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from files import ObjectStore
from jobs.broker import Broker
from jobs.record_pb2 import Record, State
from jobs.subjects import REQ
from tests.brokers import NatsServers
from tests.chaos.evidence import read_states
from tests.chaos.request_rules import by_request, state_violations
from tests.deployment import Caller, Deployment, fetch
from tests.upgrade.recording import Recording
from tests.upgrade.releases import RECORDING, SCHEMA

FOR_EVER_S = timedelta(days=36500).total_seconds()  # the recording's requests ended when it was made
OF_A_NEWER_RELEASE = b"\xc2\x3e\x05later"  # field 1000, which no schema of ours has


@pytest.fixture(scope="module")
def recording() -> Recording:
    return Recording.load(RECORDING)


@asynccontextmanager
async def taken_over(recording: Recording, nats: NatsServers, store: ObjectStore) -> AsyncIterator[Deployment]:
    """A deployment of this release on what the previous one left, its endpoint served."""
    async with Broker(nats.settings()) as broker:
        await recording.play(broker, store)
    deployment = Deployment(nats.settings(), store)
    deployment.cards = {recording.endpoint: deployment.card}
    deployment.endpoint = recording.endpoint
    async with deployment:
        yield deployment
        for key in await store.list_keys(""):
            await store.remove(key)  # so that the bucket can go


async def the_same_caller(deployment: Deployment, recording: Recording) -> Caller:
    """The caller of the recording, with the key that the previous release made."""
    port = await deployment.service(retention_s=FOR_EVER_S)
    return await deployment.caller(port, tenant=recording.tenant, api_key=recording.api_key)


async def test_callers_find_everything_that_the_previous_release_left(
    recording: Recording, own_nats: NatsServers, store: ObjectStore
) -> None:
    async with taken_over(recording, own_nats, store) as deployment:
        caller = await the_same_caller(deployment, recording)
        ids = recording.requests
        listed = await caller.stub.ListRequests(ListRequestsRequest(page_size=100), metadata=caller.metadata)
        states = {status.request_id: RequestState.Name(status.state) for status in listed.requests}
        assert {name: states[ids[name]].removeprefix("REQUEST_STATE_") for name in ids if ids[name] in states} == {
            "cancelled": "CANCELLED",
            "failed": "FAILED",
            "completed": "COMPLETED",
            "running": "RUNNING",
            "released": "QUEUED",
            "queued": "QUEUED",
            "low": "QUEUED",
        }
        assert (await caller.status(ids["queued"])).status.position == 1  # behind the one that was handed back
        events = [event async for event in caller.watch(ids["completed"])]
        assert [RequestState.Name(event.state.state) for event in events if event.HasField("state")] == [
            "REQUEST_STATE_QUEUED",
            "REQUEST_STATE_RUNNING",
            "REQUEST_STATE_COMPLETED",
        ]
        assert [event.progress.step for event in events if event.progress.total == 5] == [0, 1, 2, 3, 4, 5]
        output = (await caller.result(ids["completed"])).video
        assert hashlib.sha256(fetch(output.video.url)).hexdigest() == output.sha256
        again = await caller.submit("butterflies, completed", steps=5, idempotency_key="completed")
        assert (again.request_id, again.existing) == (ids["completed"], True)


async def test_what_the_previous_release_left_unfinished_is_finished_once(
    recording: Recording, own_nats: NatsServers, store: ObjectStore
) -> None:
    async with taken_over(with_unknown_fields(recording), own_nats, store) as deployment:
        caller = await the_same_caller(deployment, recording)
        await deployment.worker()
        ids = recording.requests
        for name in ("released", "queued", "low", "running"):
            assert await caller.ended(ids[name]) == RequestState.REQUEST_STATE_COMPLETED
        states = await read_states(own_nats.url)
    requests = by_request(states)
    assert not list(state_violations(requests))
    assert {State.Name(requests[ids[name]][-1].record.state) for name in ("in line", "held")} == {"STATE_COMPLETED"}
    assert [len(requests[ids[name]][-1].record.failed_attempts) for name in ("released", "running")] == [0, 1]
    new = [state.record.SerializeToString() for state in states[len(recording.messages[REQ]) :]]
    assert len(new) >= 2 * 6
    assert all(OF_A_NEWER_RELEASE in data for data in new)
    previous = record_of_the_previous_release()
    for data in new:
        assert Record.FromString(previous.FromString(data).SerializeToString()) == Record.FromString(data)


def with_unknown_fields(recording: Recording) -> Recording:
    """The same with a field in each record that this release does not know: what a rollback finds."""
    marked = [
        replace(message, data=base64.b64encode(message.content + OF_A_NEWER_RELEASE).decode())
        for message in recording.messages[REQ]
    ]
    return replace(recording, messages=recording.messages | {REQ: marked})


def record_of_the_previous_release() -> type[Message]:
    """Its message class, made from the schema that was kept."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(SCHEMA.read_bytes()).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(Record.DESCRIPTOR.full_name))
