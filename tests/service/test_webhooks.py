"""Webhooks: what receivers are told of each terminal state, how it is signed, and whom the service refuses to call."""

from __future__ import annotations

import time
from datetime import timedelta

import grpc
import pytest
from cogreel.v1.queue_pb2 import GetWebhookKeysResponse, WebhookDelivery
from google.protobuf.duration_pb2 import Duration

from files.fetch_guard import FetchSettings
from jobs.webhook_keys import rotate_webhook_keys
from tests.deployment import Deployment, fetch
from tests.errors import refused
from tests.hostile_server import answer, redirect
from tests.service.webhook_calls import LONG, cancelled, keys_of, settled
from tests.webhook_receiver import Receiver


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
    assert (detail["loc"], detail["type"]) == (["body", "image_url"], "image_load_error")
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


async def test_a_redirect_is_not_followed(deployed: Deployment, receiver: Receiver) -> None:
    receiver.server.answers |= {"/hook": redirect("/elsewhere", "307 Temporary Redirect"), "/elsewhere": answer()}
    caller = await deployed.caller(await deployed.service())
    delivery = await settled(caller, await cancelled(caller, receiver.url))
    assert (delivery.given_up, delivery.last_status) == (True, 307)
    assert "redirects are not followed" in delivery.problem
    assert not any("elsewhere" in head.partition("\r")[0] for head in receiver.server.heads)


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
