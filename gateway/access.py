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


def sealed_key(request: Request, purpose: str, validity_s: float) -> str:
    """A token that stands for a call's API key, for one purpose."""
    return context_of(request).seals.sealed(purpose, validity_s, {"api_key": api_key_of(request)})


def client_of_token(request: Request, token: str, purpose: str) -> AsyncCogReel:
    """The client of whoever had a token made.

    Raises:
        RefusalError: it is none of ours, is for another purpose, or has expired.
    """
    context = context_of(request)
    try:
        return context.backend.client_for(context.seals.opened(token, purpose)["api_key"])
    except SealError as error:
        raise refusal(401, f"The token cannot be used: {error}.") from error
