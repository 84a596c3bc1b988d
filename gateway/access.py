"""With whose key a call is made: that of its Authorization header, or of a token that was made from one."""

from __future__ import annotations

from cogreel import AsyncCogReel
from starlette.requests import Request

from gateway.answers import refusal
from gateway.context import context_of
from gateway.seals import SealError

_SCHEMES = ("key", "bearer")
FOR_STREAMS = "stream"
"""Purpose of the tokens that browsers open a status stream with."""
ALLOWED_APPS = "apps"
"""Limit of such a token: names of apps without their owner, separated by spaces."""
FOR_UPLOADS = "upload"
"""Purpose of the tokens that the Python client uploads with."""


def client_of(request: Request) -> AsyncCogReel:
    """The client of whoever calls.

    Raises:
        RefusalError: there is no key, or none that could be one.
    """
    return context_of(request).backend.client_for(api_key_of(request))


def api_key_of(request: Request) -> str:
    """The API key of a call; whether it is a good one is for the service to say.

    Raises:
        RefusalError: there is none.
    """
    scheme, _, credentials = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() not in _SCHEMES or not credentials.strip():
        raise refusal(401, "This call needs an API key, in the header `Authorization: Key <API key>`.")
    return credentials.strip()


def sealed_key(request: Request, purpose: str, validity_s: float, **limits: str) -> str:
    """A token that stands for a call's API key, for one purpose and within these limits."""
    return context_of(request).seals.sealed(purpose, validity_s, {"api_key": api_key_of(request), **limits})


def client_of_stream_token(request: Request, token: str, app: str) -> AsyncCogReel:
    """The client of whoever had a token made for status streams; `app` is the name of the app whose stream it is.

    Raises:
        RefusalError: it is none of ours, is for something else or another app, or has expired.
    """
    context = context_of(request)
    try:
        content = context.seals.opened(token, FOR_STREAMS)
    except SealError as error:
        raise refusal(401, f"The token cannot be used: {error}.") from error
    if (allowed := content.get(ALLOWED_APPS)) is not None and app not in allowed.split():
        raise refusal(403, f"The token was not made for {app}.")
    return context.backend.client_for(content["api_key"])
