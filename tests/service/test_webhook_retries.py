"""Webhooks that are not taken: when they come again, and that nobody hears twice, whoever is stopped or killed."""

from __future__ import annotations

import asyncio
import time
from typing import cast

import structlog.testing
from cogreel.v1.queue_pb2 import ListRequestsRequest

from files import ObjectStore
from files.fetch_guard import AllowedPlace, FetchSettings
from jobs.subjects import REQ, WEBHOOKS_CONSUMER, RequestKey, request_subject
from service.webhook_turns import AT_ONCE_A_HOST
from service.webhooks import WebhookSettings
from tests.brokers import NatsServers
from tests.deployment import Deployment, eventually
from tests.hostile_server import HostileServer, answer, silent
from tests.service.webhook_calls import LONG, call_loopback, cancelled, keys_of, settled, tried
from tests.waiting import until
from tests.webhook_receiver import Receiver


async def test_a_receiver_that_fails_is_tried_again_with_the_same_id(deployed: Deployment, receiver: Receiver) -> None:
    receiver.server.answers["/hook"] = answer(status="500 Oops")
    caller = await deployed.caller(await deployed.service())
    request_id = await cancelled(caller, receiver.url)
    await receiver.got(2)
    receiver.server.answers["/hook"] = answer(status="204 No Content")
    delivery = await settled(caller, request_id)
    assert (delivery.delivered, delivery.last_status, delivery.problem) == (True, 204, "")
    assert delivery.attempts == receiver.count >= 3
    assert {receiver.headers(number)["webhook-id"] for number in range(receiver.count)} == {delivery.delivery_id}
    keys = await keys_of(caller)
    assert all(receiver.hosted_signature_holds(number, keys.jwks) for number in range(receiver.count))


async def test_after_the_last_try_it_is_given_up(deployed: Deployment, receiver: Receiver) -> None:
    receiver.server.answers["/hook"] = answer(status="503 Busy")
    caller = await deployed.caller(await deployed.service())
    request_id = await cancelled(caller, f"{receiver.url}?secret")
    delivery = await settled(caller, request_id)
    assert (delivery.given_up, delivery.attempts, delivery.last_status) == (True, 4, 503)
    assert delivery.problem == f"{receiver.url} answered 503; given up after 4 tries"
    assert receiver.count == 4


async def test_until_the_next_try_the_status_says_when_it_is(deployed: Deployment, receiver: Receiver) -> None:
    deployed.webhooks = WebhookSettings(retry_after_s=(LONG,))
    receiver.server.answers["/hook"] = answer(status="500 Oops")
    caller = await deployed.caller(await deployed.service())
    request_id = await cancelled(caller, receiver.url)
    delivery = await tried(caller, request_id)
    assert (delivery.attempts, delivery.last_status, delivery.given_up) == (1, 500, False)
    assert 0.8 * LONG < delivery.next_time.ToNanoseconds() / 1e9 - time.time() < 1.2 * LONG
    listed = await caller.stub.ListRequests(ListRequestsRequest(), metadata=caller.metadata)
    assert [status.webhook for status in listed.requests] == [delivery]


async def test_a_receiver_that_is_gone_is_not_tried_again(deployed: Deployment, receiver: Receiver) -> None:
    receiver.server.answers["/hook"] = answer(status="410 Gone")
    caller = await deployed.caller(await deployed.service())
    delivery = await settled(caller, await cancelled(caller, receiver.url))
    assert (delivery.given_up, delivery.attempts, delivery.last_status) == (True, 1, 410)
    assert "answered 410" in delivery.problem


async def test_a_receiver_that_does_not_answer_costs_one_try(deployed: Deployment, receiver: Receiver) -> None:
    deployed.webhooks = WebhookSettings(retry_after_s=(LONG,), timeout_s=0.2)
    receiver.server.answers["/hook"] = silent
    caller = await deployed.caller(await deployed.service())
    delivery = await tried(caller, await cancelled(caller, receiver.url))
    assert (delivery.attempts, delivery.last_status, delivery.given_up) == (1, 0, False)
    assert delivery.problem == f"{receiver.url} did not answer within 0.2 s"


async def test_what_is_due_survives_a_restart_of_the_service(deployed: Deployment, receiver: Receiver) -> None:
    deployed.webhooks = WebhookSettings(retry_after_s=(1.5,))
    receiver.server.answers["/hook"] = answer(status="500 Oops")
    async with deployed.service_running() as port:
        caller = await deployed.caller(port)
        request_id = await cancelled(caller, receiver.url)
        before = await tried(caller, request_id)
    receiver.server.answers["/hook"] = answer()
    caller = await deployed.caller(await deployed.service(), tenant=caller.tenant)
    delivery = await settled(caller, request_id)
    assert (delivery.delivered, delivery.attempts, receiver.count) == (True, 2, 2)
    assert delivery.delivery_id == before.delivery_id == receiver.headers(0)["webhook-id"]


async def test_a_post_that_a_stopping_replica_breaks_off_is_sent_again_by_another(
    deployed: Deployment, receiver: Receiver
) -> None:
    receiver.server.answers["/hook"] = silent
    deployed.webhooks = WebhookSettings(retry_after_s=(LONG,), timeout_s=60)
    async with deployed.service_running() as port:
        caller = await deployed.caller(port)
        request_id = await cancelled(caller, receiver.url)
        await receiver.got(1)
    receiver.server.answers["/hook"] = answer()
    caller = await deployed.caller(await deployed.service(), tenant=caller.tenant)
    delivery = await settled(caller, request_id)
    assert (delivery.delivered, receiver.count) == (True, 2)
    assert receiver.headers(0)["webhook-id"] == receiver.headers(1)["webhook-id"]


async def test_a_broker_that_forgets_what_it_handed_out_makes_nobody_hear_twice_or_early(
    deployed: Deployment, receiver: Receiver
) -> None:
    deployed.webhooks = WebhookSettings(retry_after_s=(2.0,))
    async with deployed.service_running() as port:
        caller = await deployed.caller(port)
        done = await cancelled(caller, receiver.url)
        await settled(caller, done)
        receiver.server.answers["/hook"] = answer(status="500 Oops")
        waiting = await cancelled(caller, receiver.url)
        due_at = (await tried(caller, waiting)).next_time.ToNanoseconds() / 1e9
    receiver.server.answers["/hook"] = answer()
    await deployed.broker.api(f"CONSUMER.DELETE.{REQ}.{WEBHOOKS_CONSUMER}", {})
    caller = await deployed.caller(await deployed.service(), tenant=caller.tenant)
    assert (await settled(caller, waiting)).attempts == 2
    assert time.time() > due_at - 0.5
    assert (len(receiver.of(done)), len(receiver.of(waiting))) == (1, 2)


async def test_a_broker_that_is_killed_in_the_middle_of_a_post_makes_nobody_hear_twice(
    own_nats: NatsServers, store: ObjectStore, receiver: Receiver
) -> None:
    open_now, let_go = asyncio.Event(), asyncio.Event()

    async def hold(writer: asyncio.StreamWriter) -> None:
        open_now.set()
        await let_go.wait()
        writer.write(answer())

    receiver.server.answers["/hook"] = hold
    async with Deployment(own_nats.settings(), store) as deployment:
        call_loopback(deployment)
        deployment.webhooks = WebhookSettings(retry_after_s=(LONG,), timeout_s=30)
        caller = await deployment.caller(await deployment.service())
        request_id = await cancelled(caller, receiver.url)
        await open_now.wait()
        await own_nats.kill()
        let_go.set()  # what is said now can be kept only once the broker is back
        await own_nats.wait_ready()
        assert (await settled(caller, request_id)).delivered
        assert receiver.count == 1


async def test_what_cannot_be_kept_for_lack_of_space_is_not_sent_again(
    own_nats: NatsServers, store: ObjectStore, receiver: Receiver
) -> None:
    async with Deployment(own_nats.settings(), store) as deployment:
        call_loopback(deployment)
        open_now, let_go = asyncio.Event(), asyncio.Event()

        async def hold(writer: asyncio.StreamWriter) -> None:
            open_now.set()
            await let_go.wait()
            writer.write(answer())

        receiver.server.answers["/hook"] = hold
        caller = await deployment.caller(await deployment.service())
        request_id = await cancelled(caller, receiver.url)
        await open_now.wait()
        info = await deployment.broker.api(f"STREAM.INFO.{REQ}", {})
        config, state = cast("dict[str, object]", info["config"]), cast("dict[str, int]", info["state"])
        await deployment.broker.api(f"STREAM.UPDATE.{REQ}", config | {"max_bytes": state["bytes"]})
        with structlog.testing.capture_logs() as logs:
            let_go.set()
            await until(lambda: any(line["event"] == "webhook.postponed" for line in logs))
        await deployment.broker.api(f"STREAM.UPDATE.{REQ}", config)
        assert (await settled(caller, request_id)).attempts == 1
        assert receiver.count == 1


async def test_two_replicas_deliver_each_once(deployed: Deployment, receiver: Receiver) -> None:
    caller = await deployed.caller(await deployed.service())
    await deployed.service()
    ids = [await cancelled(caller, receiver.url) for _ in range(30)]
    for request_id in ids:
        assert (await settled(caller, request_id)).attempts == 1
    assert sorted(receiver.told(number)["request_id"] for number in range(receiver.count)) == sorted(ids)


async def test_a_slow_receiver_gets_eight_at_once_and_holds_up_nobody(deployed: Deployment, receiver: Receiver) -> None:
    deployed.fetching = FetchSettings(allow=tuple(map(AllowedPlace.parse, ("127.0.0.1", "localhost"))))
    deployed.webhooks = WebhookSettings(retry_after_s=(LONG,), timeout_s=60)
    caller = await deployed.caller(await deployed.service())
    async with HostileServer() as slow:
        open_now = most = 0
        let_go = asyncio.Event()

        async def hold(writer: asyncio.StreamWriter) -> None:
            nonlocal open_now, most
            open_now += 1
            most = max(most, open_now)
            await let_go.wait()
            open_now -= 1
            writer.write(answer())

        slow.answers["/"] = hold
        ids = [await cancelled(caller, slow.url("/")) for _ in range(40)]
        await until(lambda: open_now == AT_ONCE_A_HOST)
        quick = receiver.server.url("/hook", "localhost")
        assert (await settled(caller, await cancelled(caller, quick))).delivered
        let_go.set()
        for request_id in ids:
            assert (await settled(caller, request_id)).delivered
        assert (most, len(slow.bodies)) == (AT_ONCE_A_HOST, len(ids))


async def test_slow_receivers_of_one_tenant_hold_up_no_other_tenant(deployed: Deployment, receiver: Receiver) -> None:
    deployed.fetching = FetchSettings(allow=tuple(map(AllowedPlace.parse, ("127.0.0.1", "localhost"))))
    deployed.webhooks = WebhookSettings(retry_after_s=(LONG,), timeout_s=60, most_held=16)
    port = await deployed.service()
    caller, other = await deployed.caller(port), await deployed.caller(port, tenant="another")
    let_go = asyncio.Event()

    async def hold(writer: asyncio.StreamWriter) -> None:
        await let_go.wait()
        writer.write(answer())

    async with HostileServer() as slow:
        slow.answers["/"] = hold
        ids = [await cancelled(caller, slow.url("/")) for _ in range(20)]  # as many as a replica takes on, and more
        await until(lambda: len(slow.bodies) > 0)
        quick = receiver.server.url("/hook", "localhost")
        for _ in range(3):
            assert (await settled(other, await cancelled(other, quick))).delivered
        assert len(slow.bodies) < len(ids)
        let_go.set()
        for request_id in ids:
            assert (await settled(caller, request_id)).delivered


async def test_a_receiver_that_is_busy_is_left_alone_for_as_long_as_it_asks_and_no_longer_than_the_longest_pause(
    deployed: Deployment, receiver: Receiver
) -> None:
    deployed.webhooks = WebhookSettings(retry_after_s=(1, LONG, 1, 1))
    caller = await deployed.caller(await deployed.service())
    for asked, granted in (("1200", 1200), ("864000", LONG)):
        receiver.server.answers["/hook"] = answer(b"", f"Retry-After: {asked}", status="429 Too Many")
        delivery = await tried(caller, await cancelled(caller, receiver.url))
        assert delivery.last_status == 429
        assert granted - 30 < delivery.next_time.ToNanoseconds() / 1e9 - time.time() <= granted


async def test_nothing_is_left_of_a_delivery_whose_request_is_erased(deployed: Deployment, receiver: Receiver) -> None:
    deployed.webhooks = WebhookSettings(retry_after_s=(LONG,))
    receiver.server.answers["/hook"] = answer(status="500 Oops")
    caller = await deployed.caller(await deployed.service(retention_s=1))
    request_id = await cancelled(caller, receiver.url, idempotency_key="again")
    first = await tried(caller, request_id)
    everything = f"{request_subject(RequestKey(caller.tenant, request_id))}.>"
    await eventually(lambda: deployed.broker.last(REQ, everything), lambda stored: stored is None)
    receiver.server.answers["/hook"] = answer()
    assert await cancelled(caller, receiver.url, idempotency_key="again") == request_id
    await receiver.got(2)
    assert receiver.headers(1)["webhook-id"] not in {"", first.delivery_id}
