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
        assert told["payload"].keys() == (await door.result(told["request_id"])).json().keys()
        published = await door.http.get("/.well-known/jwks.json", headers={"authorization": ""})
        assert published.headers["cache-control"] == "public, max-age=3600"
        assert receiver.hosted_signature_holds(0, published.text)
