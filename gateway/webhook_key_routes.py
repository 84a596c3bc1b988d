"""The public keys of webhooks, where receivers of the hosted service look for them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.context import context_of


def webhook_key_routes() -> list[BaseRoute]:
    """The routes."""
    return [Route("/.well-known/jwks.json", webhook_keys, methods=["GET"])]


async def webhook_keys(request: Request) -> Response:
    """The JWKS, for anyone."""
    found = await context_of(request).backend.anyone.webhook_keys()
    headers = {"cache-control": f"public, max-age={found.max_age.seconds}"}
    return Response(found.jwks, media_type="application/json", headers=headers)
