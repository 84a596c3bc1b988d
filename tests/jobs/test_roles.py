"""What each role may do on a server with the permissions of deploy/nats/roles.conf, and that it is told what not."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from cogreel.v1.queue_pb2 import PRIORITY_NORMAL

from jobs.broker import REQUEST_TIMEOUT_S, Broker
from jobs.bucket import put_entry
from jobs.errors import BrokerUnavailableError, NotAllowedError
from jobs.nats_tls import NatsTls
from jobs.record_pb2 import State
from jobs.streams import ensure_consumers, ensure_streams, ensure_webhooks_consumer
from jobs.subjects import (
    KEYS,
    KEYS_BUCKET,
    PAUSES_BUCKET,
    PING,
    REQ,
    WEBHOOK_KEYS,
    WEBHOOK_KEYS_BUCKET,
    RequestKey,
    control_subject,
    log_subject,
    state_subject,
    webhook_subject,
)
from jobs.webhook_keys import ensure_keyring, read_keyring
from tests.roles import ROLES, Authority, Role, RoleNats, role_nats
from tests.waiting import seen, until

KEY = RequestKey("studio", str(uuid.UUID(int=7)))
ENDPOINT = "test/roles"
STATES = {
    State.Name(value).removeprefix("STATE_"): state_subject(KEY, value, ENDPOINT, PRIORITY_NORMAL)
    for value in State.values()
    if value
}
PUBLISHES: dict[Role, set[str]] = {
    "service": {"QUEUED", "HELD", "CANCELLED", "FAILED"},
    "worker": {"RUNNING", "RELEASED", "COMPLETED", "FAILED"},
    "operator": {"CANCELLED"},
}
FORBIDDEN: dict[Role, dict[str, str]] = {
    "worker": {
        "make an API key": f"$KV.{KEYS_BUCKET}.0123456789abcdef",
        "pause or resume": f"$KV.{PAUSES_BUCKET}.x-normal",
        "replace the webhook keys": f"$KV.{WEBHOOK_KEYS_BUCKET}.keyring",
        "read the webhook keys": f"$JS.API.STREAM.MSG.GET.{WEBHOOK_KEYS}",
        "read the webhook keys from a follower": f"$JS.API.DIRECT.GET.{WEBHOOK_KEYS}",
        "read the last webhook keys": f"$JS.API.DIRECT.GET.{WEBHOOK_KEYS}.$KV.webhook_keys.keyring",
        "consume the webhook keys": f"$JS.API.CONSUMER.CREATE.{WEBHOOK_KEYS}.mine",
        "read the API keys": f"$JS.API.STREAM.MSG.GET.{KEYS}",
        "read the API keys from a follower": f"$JS.API.DIRECT.GET.{KEYS}",
        "make a stream": f"$JS.API.STREAM.CREATE.{REQ}",
        "change a stream": f"$JS.API.STREAM.UPDATE.{REQ}",
        "delete a stream": f"$JS.API.STREAM.DELETE.{REQ}",
        "erase requests": f"$JS.API.STREAM.PURGE.{REQ}",
        "erase one message": f"$JS.API.STREAM.MSG.DELETE.{REQ}",
        "make a consumer": f"$JS.API.CONSUMER.CREATE.{REQ}.mine",
        "make a consumer in the old way": f"$JS.API.CONSUMER.DURABLE.CREATE.{REQ}.mine",
        "delete a consumer": f"$JS.API.CONSUMER.DELETE.{REQ}.mine",
        "take webhooks": f"$JS.API.CONSUMER.MSG.NEXT.{REQ}.webhooks",
        "answer for webhooks": f"$JS.ACK.{REQ}.webhooks.1.1.1.1.1",
        "say how far a webhook is": webhook_subject(KEY),
        "ask all workers what they are": PING,
        "back up a stream": f"$JS.API.STREAM.SNAPSHOT.{REQ}",
        "answer in JetStream's place": "_INBOX_service.AAAAAAAAAAAAAAAAAAAAAA.x",
    },
    "service": {
        "say how far an attempt is": log_subject(KEY),
        "take requests": f"$JS.API.CONSUMER.MSG.NEXT.{REQ}.x-normal",
        "answer for requests": f"$JS.ACK.{REQ}.x-normal.1.1.1.1.1",
        "delete a stream": f"$JS.API.STREAM.DELETE.{REQ}",
        "erase API keys": f"$JS.API.STREAM.PURGE.{KEYS}",
        "make a consumer of what is completed": f"$JS.API.CONSUMER.CREATE.{REQ}.mine.req.*.*.st.COMPLETED",
        "back up a stream": f"$JS.API.STREAM.SNAPSHOT.{REQ}",
    },
    "operator": {
        "say how far an attempt is": log_subject(KEY),
        "take requests": f"$JS.API.CONSUMER.MSG.NEXT.{REQ}.x-normal",
        "make the queue": f"$JS.API.STREAM.CREATE.{REQ}",
        "delete a stream": f"$JS.API.STREAM.DELETE.{REQ}",
        "make a consumer": f"$JS.API.CONSUMER.CREATE.{REQ}.mine",
        "take webhooks": f"$JS.API.CONSUMER.MSG.NEXT.{REQ}.webhooks",
    },
}
DEAF: dict[Role, list[str]] = {
    "worker": [
        "_INBOX.x",
        "_INBOX_service.>",
        "_INBOX_operator.>",
        "live.>",
        "live.req.>",
        "live.keys.>",
        "live.log.>",
        "$KV.>",
        "req.>",
        ">",
    ],
    "service": ["_INBOX.x", "_INBOX_worker.>", "_INBOX_operator.>", "$KV.>", "ctl.*", "req.>", ">"],
    "operator": ["_INBOX.x", "_INBOX_worker.>", "_INBOX_service.>", "$KV.>", "ctl.*", "req.>", ">"],
}


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RoleNats]:
    """The server, with all that a service makes at its start."""
    async with role_nats(tmp_path_factory.mktemp("roles")) as running:
        async with Broker(running.settings("service")) as service:
            await ensure_streams(service)
            await ensure_consumers(service, [ENDPOINT])
            await ensure_webhooks_consumer(service)
            await ensure_keyring(service)
        yield running


@pytest_asyncio.fixture
async def connections(server: RoleNats) -> AsyncIterator[dict[Role, Broker]]:
    """One for each role."""
    async with (
        Broker(server.settings("service")) as service,
        Broker(server.settings("worker")) as worker,
        Broker(server.settings("operator")) as operator,
    ):
        yield {"service": service, "worker": worker, "operator": operator}


async def denied(broker: Broker, subject: str) -> None:
    """Fail the test unless a publish is denied, and that much sooner than by silence."""
    before = asyncio.get_running_loop().time()
    with pytest.raises(NotAllowedError) as error:
        await broker.request(subject, b"{}", timeout_s=10 * REQUEST_TIMEOUT_S)
    assert str(error.value) == f"NATS does not allow this user to publish to {subject}"
    assert asyncio.get_running_loop().time() - before < REQUEST_TIMEOUT_S


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_publishes_the_states_that_it_decides_and_no_others(
    connections: dict[Role, Broker], role: Role
) -> None:
    assert set(STATES) == {"HELD", "QUEUED", "RUNNING", "RELEASED", "COMPLETED", "FAILED", "CANCELLED"}
    for state, subject in STATES.items():
        if state in PUBLISHES[role]:
            # Refused by the stream, and not by the server: the guard expects what is not there.
            headers = {"Nats-Expected-Last-Subject-Sequence": "999999"}
            reply = await connections[role].request(subject, b"", headers=headers)
            assert b"wrong last sequence" in reply.data, state
        else:
            await denied(connections[role], subject)


@pytest.mark.parametrize(("role", "what"), [(role, what) for role, subjects in FORBIDDEN.items() for what in subjects])
async def test_a_role_may_not(connections: dict[Role, Broker], role: Role, what: str) -> None:
    await denied(connections[role], FORBIDDEN[role][what])


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_hears_nothing_that_is_meant_for_others(connections: dict[Role, Broker], role: Role) -> None:
    for subject in DEAF[role]:
        connection = connections[role]
        subscription = await connection.nc.subscribe(subject)
        with pytest.raises(NotAllowedError) as error:
            await connection.check_subscriptions()
        assert f"subscribe to {subject.lower()}" in str(error.value)
        await subscription.unsubscribe()
        connection._denials.forget()


async def test_a_worker_cannot_read_the_private_keys_of_webhooks_and_the_service_can(
    connections: dict[Role, Broker],
) -> None:
    assert (await read_keyring(connections["service"])).keys[0].private
    with pytest.raises(NotAllowedError):
        await read_keyring(connections["worker"])


async def test_what_a_program_writes_where_it_may_not_is_an_error_of_its_own(connections: dict[Role, Broker]) -> None:
    with pytest.raises(NotAllowedError, match=r"publish to \$KV\.pauses\.x-normal"):
        await put_entry(connections["worker"], PAUSES_BUCKET, "x-normal", b"")


async def test_a_wrong_inbox_prefix_is_told_at_the_start(server: RoleNats) -> None:
    with pytest.raises(NotAllowedError, match="COGREEL_NATS_INBOX_PREFIX must be the prefix that the server allows"):
        async with Broker(server.settings("worker", inbox_prefix="_INBOX_service")):
            pass


async def test_one_that_shows_no_certificate_is_not_served(server: RoleNats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.broker.CONNECT_WITHIN_S", 1.0)
    settings = server.settings("worker")
    nameless = replace(settings, tls=NatsTls(authorities=settings.tls.authorities, first=True))
    with pytest.raises(BrokerUnavailableError):
        async with Broker(nameless):
            pass


async def test_a_worker_cannot_answer_where_it_likes(connections: dict[Role, Broker]) -> None:
    """It asks itself, and names an API key as the place for its answer."""
    worker = connections["worker"]
    key = f"$KV.{KEYS_BUCKET}.0123456789abcdef"
    asked = await worker.nc.subscribe(control_subject("feed"))
    await worker.nc.publish(control_subject("feed"), b"", reply=key)
    message = await asked.next_msg(timeout=REQUEST_TIMEOUT_S)

    async def answer() -> None:
        async with worker.heeding_denials(key):
            await message.respond(b"forged")
            await asyncio.Event().wait()

    with pytest.raises(NotAllowedError):
        await asyncio.wait_for(answer(), REQUEST_TIMEOUT_S)
    assert await connections["service"].last(KEYS, key) is None


async def test_the_server_stores_its_own_answers_where_a_worker_tells_it_to(connections: dict[Role, Broker]) -> None:
    """A limit of this: the server looks at what is published, and not at where an answer is asked for."""
    where = f"$KV.{KEYS_BUCKET}.detour"
    await connections["worker"].nc.publish(f"$JS.API.STREAM.INFO.{REQ}", b"", reply=where)
    stored = await seen(lambda: connections["service"].last(KEYS, where), lambda found: found is not None)
    assert stored is not None
    assert stored.data.startswith(b'{"type":"io.nats.jetstream.api.v1.stream_info_response"')


async def test_certificates_are_read_again_before_each_connection(server: RoleNats, tmp_path: Path) -> None:
    settings = server.settings("worker")
    async with Broker(settings) as broker:
        replaced = settings.tls.certificate, settings.tls.private_key
        for path, foreign in zip(replaced, Authority(tmp_path).issue("worker"), strict=True):
            assert path is not None
            shutil.copy(foreign, path)
        await broker.nc.force_reconnect()
        await until(lambda: "unknown ca" in broker._last_error)
        server.authority.issue("worker")
        await until(lambda: broker.connected)
        assert await broker.api("STREAM.INFO.REQ", {})
