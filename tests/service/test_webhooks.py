"""Webhooks: what receivers are told of each terminal state, how it is signed, and what comes of those that fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import grpc
import pytest
import pytest_asyncio
from cogreel.v1.queue_pb2 import (
    GetWebhookKeysRequest,
    GetWebhookKeysResponse,
    ListRequestsRequest,
    WebhookDelivery,
)
from google.protobuf.duration_pb2 import Duration

from files.fetch_guard import AllowedPlace, FetchSettings
from jobs.subjects import REQ, WEBHOOKS_CONSUMER, RequestKey, request_subject
from jobs.webhook_keys import rotate_webhook_keys
from service.webhooks import AT_ONCE_A_HOST, WebhookSettings
from tests.deployment import Caller, Deployment, eventually, fetch
from tests.errors import refused
from tests.hostile_server import HostileServer, answer, redirect, silent
from tests.waiting import until
from tests.webhook_receiver import Receiver

LONG = 3600.0


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Somebody who wants to be told."""
    async with Receiver() as running:
        yield running


@pytest_asyncio.fixture
async def deployed(deployment: Deployment) -> Deployment:
    """A place for services that may call receivers on loopback, and that try again at once."""
    deployment.fetching = FetchSettings(allow=(AllowedPlace.parse("127.0.0.1"),))
    deployment.webhooks = WebhookSettings(retry_after_s=(0.05, 0.05, 0.05), timeout_s=5)
    return deployment


async def delivery_of(caller: Caller, request_id: str) -> WebhookDelivery:
    return (await caller.status(request_id)).status.webhook


async def settled(caller: Caller, request_id: str) -> WebhookDelivery:
    """How a delivery ended."""
    look = partial(delivery_of, caller, request_id)
    return await eventually(look, lambda delivery: delivery.delivered or delivery.given_up)


async def tried(caller: Caller, request_id: str, attempts: int = 1) -> WebhookDelivery:
    return await eventually(partial(delivery_of, caller, request_id), lambda delivery: delivery.attempts >= attempts)


async def keys_of(caller: Caller) -> GetWebhookKeysResponse:
    """The keys, as anybody gets them: without an API key."""
    return await caller.stub.GetWebhookKeys(GetWebhookKeysRequest())


async def cancelled(caller: Caller, webhook_url: str, *, idempotency_key: str | None = None) -> str:
    """A request that ends at once, and whose webhook is due."""
    request_id = (await caller.submit(webhook_url=webhook_url, idempotency_key=idempotency_key)).request_id
    await caller.cancel(request_id)
    return request_id


async def test_a_result_is_delivered_in_the_words_of_the_hosted_service(
    deployed: Deployment, receiver: Receiver
) -> None:
    caller = await deployed.caller(await deployed.service())
    await deployed.worker()
    submitted = await caller.submit("a lighthouse", webhook_url=receiver.url)
    assert submitted.status.webhook == WebhookDelivery()
    delivery = await settled(caller, submitted.request_id)
    assert (delivery.delivered, delivery.attempts, delivery.last_status, delivery.problem) == (True, 1, 200, "")
    assert not delivery.HasField("next_time")
    told = receiver.told(0)
    assert (told["request_id"], told["gateway_request_id"]) == (submitted.request_id,) * 2
    assert (told["status"], "error" in told) == ("OK", False)
    payload = told["payload"]
    result = (await caller.result(submitted.request_id)).video
    assert (payload["prompt"], payload["seed"]) == ("a lighthouse", result.seed)
    video = payload["video"]
    assert (video["content_type"], video["file_size"]) == ("video/mp4", result.video.file_size)
    assert video["file_name"] == result.video.file_name
    assert len(fetch(video["url"])) == video["file_size"]
    assert payload["timings"]["inference"] == payload["timings"]["denoise"]
    headers = receiver.headers(0)
    assert headers["content-type"] == "application/json"
    assert receiver.server.heads[0].startswith("POST /hook HTTP/1.1")


async def test_a_failure_is_delivered_with_its_status_and_reason(deployed: Deployment, receiver: Receiver) -> None:
    deployed.serve_files()
    caller = await deployed.caller(await deployed.service())
    late = await caller.submit(webhook_url=receiver.url, start_timeout=Duration(seconds=1))
    await settled(caller, late.request_id)
    assert receiver.told(0)["status"] == "ERROR"
    assert receiver.told(0)["error"] == "Invalid status code: 504"
    assert receiver.told(0)["payload"]["error_type"] == "request_timeout"
    await deployed.worker()
    receiver.server.answers["/a.png"] = answer(b"no picture")
    bad = caller.submission(webhook_url=receiver.url)
    bad.ClearField("text_to_video")
    bad.endpoint = f"{caller.endpoint}/image"
    bad.image_to_video.text.prompt = "a picture"
    bad.image_to_video.image.url = receiver.server.url("/a.png")
    request_id = (await caller.stub.Submit(bad, metadata=caller.metadata)).request_id
    await settled(caller, request_id)
    told = receiver.told(receiver.count - 1)
    assert (told["status"], told["error"]) == ("ERROR", "Invalid status code: 422")
    [detail] = told["payload"]["detail"]
    assert (detail["loc"], detail["type"]) == (["body", "image_url"], "value_error")
    assert "no known kind" in detail["msg"]


async def test_a_cancellation_is_delivered(deployed: Deployment, receiver: Receiver) -> None:
    caller = await deployed.caller(await deployed.service())
    request_id = await cancelled(caller, receiver.url)
    assert (await settled(caller, request_id)).delivered
    told = receiver.told(0)
    assert (told["status"], told["error"]) == ("ERROR", "Invalid status code: 499")
    assert told["payload"]["error_type"] == "client_cancelled"


async def test_signatures_hold_by_a_library_of_others(deployed: Deployment, receiver: Receiver) -> None:
    caller = await deployed.caller(await deployed.service(), tenant="Studio Übung\n100 %")
    request_id = await cancelled(caller, receiver.url)
    await settled(caller, request_id)
    keys = await keys_of(caller)
    headers = receiver.headers(0)
    assert headers["x-fal-webhook-request-id"] == request_id
    assert headers["x-fal-webhook-user-id"] == "Studio%20%C3%9Cbung%0A100%20%25"
    assert headers["x-fal-webhook-timestamp"] == headers["webhook-timestamp"]
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    assert receiver.hosted_signature_holds(0, keys.jwks)
    assert receiver.standard_signature_holds(0, keys.keys[0].public_key)
    receiver.server.bodies[0] += b" "
    assert not receiver.hosted_signature_holds(0, keys.jwks)
    assert not receiver.standard_signature_holds(0, keys.keys[0].public_key)


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


async def test_two_replicas_deliver_each_once(deployed: Deployment, receiver: Receiver) -> None:
    caller = await deployed.caller(await deployed.service())
    await deployed.service()
    ids = [await cancelled(caller, receiver.url) for _ in range(30)]
    for request_id in ids:
        assert (await settled(caller, request_id)).attempts == 1
    assert sorted(receiver.told(number)["request_id"] for number in range(receiver.count)) == sorted(ids)


async def test_a_receiver_that_is_gone_is_not_tried_again(deployed: Deployment, receiver: Receiver) -> None:
    receiver.server.answers["/hook"] = answer(status="410 Gone")
    caller = await deployed.caller(await deployed.service())
    delivery = await settled(caller, await cancelled(caller, receiver.url))
    assert (delivery.given_up, delivery.attempts, delivery.last_status) == (True, 1, 410)
    assert "answered 410" in delivery.problem


async def test_a_redirect_is_not_followed(deployed: Deployment, receiver: Receiver) -> None:
    receiver.server.answers |= {"/hook": redirect("/elsewhere", "307 Temporary Redirect"), "/elsewhere": answer()}
    caller = await deployed.caller(await deployed.service())
    delivery = await settled(caller, await cancelled(caller, receiver.url))
    assert (delivery.given_up, delivery.last_status) == (True, 307)
    assert "redirects are not followed" in delivery.problem
    assert not any("elsewhere" in head.partition("\r")[0] for head in receiver.server.heads)


async def test_a_receiver_that_does_not_answer_costs_one_try(deployed: Deployment, receiver: Receiver) -> None:
    deployed.webhooks = WebhookSettings(retry_after_s=(LONG,), timeout_s=0.2)
    receiver.server.answers["/hook"] = silent
    caller = await deployed.caller(await deployed.service())
    delivery = await tried(caller, await cancelled(caller, receiver.url))
    assert (delivery.attempts, delivery.last_status, delivery.given_up) == (1, 0, False)
    assert delivery.problem == f"{receiver.url} did not answer within 0.2 s"


async def test_a_name_that_leads_inside_is_not_called(deployment: Deployment, receiver: Receiver) -> None:
    caller = await deployment.caller(await deployment.service())
    url = receiver.server.url("/hook", "localhost")
    delivery = await settled(caller, await cancelled(caller, url))
    assert (delivery.given_up, delivery.attempts, delivery.last_status) == (True, 1, 0)
    assert delivery.problem == f"{url} is at no address that this installation may call"
    assert receiver.server.heads == []


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://169.254.169.254/latest/meta-data?secret", "no address that this installation may call"),
        ("http://127.0.0.1/?secret", "no address that this installation may call"),
        ("http://[::1]:8080/", "no address that this installation may call"),
        ("http://2130706433/?secret", "four decimal numbers"),
        ("https://user:secret@example.org/", "without user name"),
    ],
)
async def test_what_can_never_be_called_is_refused_at_once(deployment: Deployment, url: str, rule: str) -> None:
    caller = await deployment.caller(await deployment.service())
    error = await refused(caller.submit(webhook_url=url))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT")
    assert rule in error.violations["webhook_url"]
    assert "secret" not in str(error)


async def test_an_installation_that_calls_nobody_says_so(deployment: Deployment) -> None:
    deployment.fetching = FetchSettings(sources="none")
    caller = await deployment.caller(await deployment.service())
    error = await refused(caller.submit(webhook_url="https://example.org/hook"))
    assert (error.code, error.reason) == (grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED")
    assert "delivers no webhooks" in error.violations["webhook_url"]


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


async def test_keys_are_rotated_without_a_gap(deployed: Deployment, receiver: Receiver) -> None:
    async def told(number: int) -> GetWebhookKeysResponse:
        """Deliver something by a replica of its own, which knows the keys as they are now."""
        async with deployed.service_running() as port:
            caller = await deployed.caller(port)
            await settled(caller, await cancelled(caller, receiver.url))
            keys = await keys_of(caller)
        assert receiver.hosted_signature_holds(number, keys.jwks)
        return keys

    old = (await told(0)).keys[0]
    await rotate_webhook_keys(deployed.broker)
    ahead, before, *_ = (await told(1)).keys
    assert before.key_id == old.key_id
    assert before.withdrawn_time.ToSeconds() > ahead.signs_from.ToSeconds() > time.time() + LONG
    await rotate_webhook_keys(deployed.broker, sign_after=timedelta(), keep=timedelta(hours=1))
    new = (await told(2)).keys[0]
    # Receivers may not know yet the key that lies ahead; and those that are configured with the old one go on.
    for number, key, signs in ((1, old, True), (1, ahead, False), (2, new, True), (2, old, True)):
        assert receiver.standard_signature_holds(number, key.public_key) == signs


async def test_a_key_that_leaked_is_withdrawn_at_once(deployed: Deployment, receiver: Receiver) -> None:
    [leaked, *_] = (await keys_of(await deployed.caller(await deployed.service()))).keys
    await rotate_webhook_keys(deployed.broker, sign_after=timedelta(), keep=timedelta())
    caller = await deployed.caller(await deployed.service())
    keys = await keys_of(caller)
    assert leaked.key_id not in {key.key_id for key in keys.keys}
    assert len(keys.keys) == 1


async def test_replicas_sign_by_the_same_key(deployed: Deployment) -> None:
    callers = [await deployed.caller(await deployed.service()) for _ in range(2)]
    first, second = [await keys_of(caller) for caller in callers]
    assert first == second
