"""What the tests of webhooks do again and again."""

from __future__ import annotations

from functools import partial

from cogreel.v1.queue_pb2 import GetWebhookKeysRequest, GetWebhookKeysResponse, WebhookDelivery

from files.fetch_guard import AllowedPlace, FetchSettings
from service.webhooks import WebhookSettings
from tests.deployment import Caller, Deployment, eventually

LONG = 3600.0


def call_loopback(deployment: Deployment) -> None:
    """Let services that are started later call receivers on loopback, and try again at once."""
    deployment.fetching = FetchSettings(allow=(AllowedPlace.parse("127.0.0.1"),))
    deployment.webhooks = WebhookSettings(retry_after_s=(0.05, 0.05, 0.05), timeout_s=5)


async def delivery_of(caller: Caller, request_id: str) -> WebhookDelivery:
    """How far a delivery is, as its caller sees it."""
    return (await caller.status(request_id)).status.webhook


async def settled(caller: Caller, request_id: str) -> WebhookDelivery:
    """How a delivery ended."""
    look = partial(delivery_of, caller, request_id)
    return await eventually(look, lambda delivery: delivery.delivered or delivery.given_up)


async def tried(caller: Caller, request_id: str, attempts: int = 1) -> WebhookDelivery:
    """How far a delivery is once it was tried so often."""
    return await eventually(partial(delivery_of, caller, request_id), lambda delivery: delivery.attempts >= attempts)


async def keys_of(caller: Caller) -> GetWebhookKeysResponse:
    """The keys, as anybody gets them: without an API key."""
    return await caller.stub.GetWebhookKeys(GetWebhookKeysRequest())


async def cancelled(caller: Caller, webhook_url: str, *, idempotency_key: str | None = None) -> str:
    """A request that ends at once, and whose webhook is due."""
    request_id = (await caller.submit(webhook_url=webhook_url, idempotency_key=idempotency_key)).request_id
    await caller.cancel(request_id)
    return request_id
