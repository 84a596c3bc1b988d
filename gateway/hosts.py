"""Calls that are meant for the hosts of the hosted service, brought to the paths that stand for them here.

They come to the proxy path, which clients with a `proxyUrl` use, with their target in `x-fal-target-url`; or under a
host's own name, where a network sends those here. Nothing is ever called at another host: a target only names a path.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.answers import RefusalError, refusal

PROXY_PATH = "/api/fal/proxy"  # where the published proxies for web frameworks are mounted
TARGET_HEADER = "x-fal-target-url"
_RUN_HOST = "fal.run"
_HOSTS = frozenset({_RUN_HOST, "queue.fal.run", "rest.fal.ai", "rest.alpha.fal.ai", "v3.fal.media"})


class HostedNames:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, *, proxy_api_key: str) -> None:
        self._app = app
        self._proxy_api_key = proxy_api_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a call."""
        if scope["type"] == "http":
            try:
                scope = self._placed(scope)
            except RefusalError as error:
                await error.answer()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _placed(self, scope: Scope) -> Scope:
        headers = Headers(scope=scope)
        if scope["path"] == PROXY_PATH:
            return self._targeted(scope, headers)
        if headers.get("host", "").partition(":")[0] == _RUN_HOST:
            return _at(scope, f"/run{scope['path']}", scope["query_string"])
        return scope

    def _targeted(self, scope: Scope, headers: Headers) -> Scope:
        given = headers.get(TARGET_HEADER)
        if given is None:
            raise refusal(400, f"A call to {PROXY_PATH} needs the header {TARGET_HEADER}.", "bad_request")
        try:
            target = urlsplit(given)
            host = target.hostname
        except ValueError as error:
            raise refusal(412, f"{TARGET_HEADER} is not a URL.", "bad_request") from error
        if target.scheme not in {"http", "https"} or (host not in _HOSTS and target.netloc != headers.get("host")):
            raise refusal(412, f"{TARGET_HEADER} names a host that does not stand for this service.", "bad_request")
        prefix = "/run" if host == _RUN_HOST else ""
        placed = _at(scope, prefix + (target.path or "/"), target.query.encode())
        if self._proxy_api_key and "authorization" not in headers:
            MutableHeaders(scope=placed)["authorization"] = f"Key {self._proxy_api_key}"
        return placed


def _at(scope: Scope, path: str, query: bytes) -> Scope:
    headers = list(scope["headers"])
    return {**scope, "path": path, "raw_path": path.encode(), "query_string": query, "headers": headers}
