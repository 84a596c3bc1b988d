"""A webhook that was asked for over HTTP, checked by the keys that the gateway publishes."""

from __future__ import annotations

from tests.deployment import Deployment
from tests.gateway.door import door_of
from tests.service.webhook_calls import call_loopback
from tests.webhook_receiver import Receiver


async def test_a_receiver_of_the_hosted_service_finds_the_keys_without_a_key_of_its_own(
    deployment: Deployment,
) -> None:
    call_loopback(deployment)
    async with Receiver() as receiver, door_of(deployment) as door:
        await deployment.worker()
        submitted = await door.submit(query=f"?fal_webhook={receiver.url}")
        assert submitted.status_code == 200, submitted.text
        await receiver.got(1)
        told = receiver.told(0)
        assert (told["request_id"], told["status"]) == (submitted.json()["request_id"], "OK")
        result = (await door.result(told["request_id"])).json()
        for said in (told["payload"], result):
            assert said["video"].pop("url").startswith("http://")  # signed for each time that it is told
        assert told["payload"] == result
        published = await door.http.get("/.well-known/jwks.json", headers={"authorization": ""})
        assert published.headers["cache-control"] == "public, max-age=3600"
        assert receiver.hosted_signature_holds(0, published.text)


async def test_webhooks_and_answers_tell_of_an_end_without_a_result_in_the_same_words(deployment: Deployment) -> None:
    call_loopback(deployment)
    async with Receiver() as receiver, door_of(deployment) as door:
        hook = f"?fal_webhook={receiver.url}"
        cancelled = await door.submitted(query=hook)
        await door.cancel(cancelled)
        late = await door.submitted(query=hook, headers={"x-fal-request-timeout": "1"})
        await receiver.got(2)
        for request_id, status in ((cancelled, 499), (late, 504)):
            [number] = receiver.of(request_id)
            answer = await door.result(request_id)
            assert answer.status_code == status
            assert receiver.told(number)["error"] == f"Invalid status code: {status}"
            assert receiver.told(number)["payload"] == answer.json()
            assert (await door.status(request_id)).json()["error_type"] == answer.json()["error_type"]


async def test_a_finished_request_does_not_answer_for_a_repetition_that_wants_to_be_called(
    deployment: Deployment,
) -> None:
    call_loopback(deployment)
    async with Receiver() as receiver, door_of(deployment) as door:
        await deployment.worker()
        hook = f"?fal_webhook={receiver.url}"
        first = await door.submitted(seed=3, query=hook)
        await receiver.got(1)
        second = await door.submitted(seed=3, query=hook)
        assert second != first
        await receiver.got(2)
        assert [receiver.told(number)["request_id"] for number in range(2)] == [first, second]
