"""The playground: one page that tries the endpoints out. It calls the same protocol as everybody else.

Its files lie in `gateway/playground` and are served as they are, but for the gRPC port, which the page shows callers.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.resources import files
from urllib.parse import quote, urlsplit

from httpx2 import HTTPError
from httpx2 import Response as Fetched
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from gateway.access import client_of
from gateway.answers import not_found, refusal
from gateway.context import context_of
from gateway.queue_routes import about, output_of, request_id_of
from gateway.store import store_out_of_reach

_PAGE = "page.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        # Pictures and videos are shown from the store, wherever that is.
        "img-src 'self' blob: http: https:",
        "media-src 'self' blob: http: https:",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class _Asset:
    """One file of the page."""

    content: bytes
    media_type: str
    etag: str


def playground_routes() -> list[BaseRoute]:
    """The routes."""
    return [
        Route("/", page, methods=["GET"]),
        Route("/playground/videos/{request_id}", video, methods=["GET"]),
        Route("/playground/{name}", asset, methods=["GET"]),
    ]


async def page(request: Request) -> Response:
    """The page itself."""
    service = context_of(request).settings.service
    port = urlsplit(service if "//" in service else f"//{service}").port or 443
    content = _ASSETS[_PAGE].content
    for name, value in (("grpc-port", str(port)), ("grpc-tls", "yes" if service.startswith("https:") else "no")):
        content = content.replace(f"{{{{{name}}}}}".encode(), value.encode())
    return Response(content, headers=_HEADERS, media_type=_TYPES[".html"])


async def asset(request: Request) -> Response:
    """A file that the page needs."""
    found = _ASSETS.get(request.path_params["name"])
    if found is None:
        raise refusal(404, "The playground has no such file.")
    headers = {**_HEADERS, "etag": found.etag}
    if request.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    return Response(found.content, headers=headers, media_type=found.media_type)


async def video(request: Request) -> Response:
    """A finished video as a download: a page may neither read the store's answers nor name what it saves from there."""
    request_id = request_id_of(request)
    client = client_of(request)
    found = (await output_of(client, (await client.status(request_id)).status)).video
    try:
        fetched = await context_of(request).store.get(found.url)
    except HTTPError as error:
        raise store_out_of_reach() from error
    if fetched.status_code != 200:
        await fetched.aclose()
        if fetched.status_code >= 500:
            raise store_out_of_reach()
        raise not_found("The video is no longer there.")
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{quote(found.file_name or 'video.mp4', safe='')}",
        "cache-control": "private, no-store",
        **({"content-length": length} if (length := fetched.headers.get("content-length")) else {}),
        **about(request_id),
    }
    return StreamingResponse(_content(fetched), headers=headers, media_type=found.content_type or "video/mp4")


async def _content(fetched: Fetched) -> AsyncIterator[bytes]:
    try:
        async for chunk in fetched.aiter_raw():
            yield chunk
    finally:
        await fetched.aclose()


def _read_assets() -> dict[str, _Asset]:
    found: dict[str, _Asset] = {}
    for file in files("gateway").joinpath("playground").iterdir():
        suffix = file.name[file.name.rfind(".") :]
        if suffix in _TYPES:
            content = file.read_bytes()
            found[file.name] = _Asset(content, _TYPES[suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
    return found


_ASSETS = _read_assets()
