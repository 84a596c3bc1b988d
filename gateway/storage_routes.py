"""Storage: files that callers hand in, by the paths of the JavaScript clients and by those of the Python client.

Both name a file before its content is there and tell no size, so each upload is one in parts of the service. Its
content goes straight on into the store as it comes in. What a later call needs to know stands sealed in its URL.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import cogreel
from cogreel import AsyncCogReel
from cogreel.v1.storage_pb2 import CreateMultipartUploadResponse
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.access import ALLOWED_APPS, FOR_STREAMS, FOR_UPLOADS, api_key_of, client_of, sealed_key
from gateway.answers import Problem, answer, invalid, refusal
from gateway.bodies import json_object, read_body
from gateway.context import context_of, origin_of
from gateway.own_files import opened_file, sealed_file
from gateway.seals import SealError
from gateway.store import put_part

UPLOAD_VALIDITY_S = 3600.0
TOKEN_VALIDITY_S = 3600.0
STREAM_TOKEN_VALIDITY_S = 600.0
_MAX_CONTROL_BYTES = 1024**2
_UNKNOWN_TYPE = "application/octet-stream"
_UPLOAD = "upload"


def storage_routes() -> list[BaseRoute]:
    """The routes."""
    python_file = "/files/{file}/{name}"
    return [
        Route("/storage/upload/initiate", initiate, methods=["POST"]),
        Route("/storage/upload/initiate-multipart", initiate, methods=["POST"]),
        Route("/storage/upload/{ticket}", put_whole, methods=["PUT"]),
        Route("/storage/upload/{ticket}/complete", complete, methods=["POST"]),
        Route("/storage/upload/{ticket}/{number:int}", put_one, methods=["PUT"]),
        Route("/storage/auth/token", upload_token, methods=["POST"]),
        Route("/tokens/", stream_token, methods=["POST"]),
        Route("/files/upload", upload_at_once, methods=["POST"]),
        Route("/files/upload/multipart", begin_in_parts, methods=["POST"]),
        Route(f"{python_file}/multipart/{{ticket}}/complete", complete, methods=["POST"]),
        Route(f"{python_file}/multipart/{{ticket}}/{{number:int}}", put_one, methods=["PUT"]),
        Route(python_file, fetch, methods=["GET", "HEAD"]),
    ]


async def initiate(request: Request) -> Response:
    """Begin an upload from JavaScript: the URL to put it to, and the URL that names it afterwards."""
    body = json_object(await read_body(request, _MAX_CONTROL_BYTES))
    content_type, name = (_text(body, field) for field in ("content_type", "file_name"))
    begun = await _begin(client_of(request), content_type, name)
    url = f"{origin_of(request)}/storage/upload/{_ticket(request, begun, api_key_of(request))}"
    return answer({"upload_url": url, "file_url": begun.file.url})


async def put_whole(request: Request) -> Response:
    """Take a file in one piece."""
    client, upload_id = _opened_ticket(request)
    etag = await _put(request, client, upload_id, 1)
    await client.finish_upload(upload_id, {1: etag})
    return answer({})


async def put_one(request: Request) -> Response:
    """Take a part: JavaScript reads its ETag from the body, Python from the header."""
    client, upload_id = _opened_ticket(request)
    number: int = request.path_params["number"]
    etag = await _put(request, client, upload_id, number)
    return answer({"partNumber": number, "etag": etag}, headers={"etag": etag})


async def complete(request: Request) -> Response:
    """Make a file of the parts."""
    client, upload_id = _opened_ticket(request)
    body = json_object(await read_body(request, _MAX_CONTROL_BYTES))
    await client.finish_upload(upload_id, _etags(body))
    return answer({})


async def upload_token(request: Request) -> Response:
    """A token for uploads from Python, made from the API key."""
    await client_of(request).endpoints()  # so that a wrong key is told here, where clients report it
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=TOKEN_VALIDITY_S)
    return answer(
        {
            "token": sealed_key(request, FOR_UPLOADS, TOKEN_VALIDITY_S),
            "token_type": "Bearer",
            "base_url": origin_of(request),
            "expires_at": expires.isoformat(),
        }
    )


async def stream_token(request: Request) -> Response:
    """A token with which a browser opens status streams of the apps it names, made from the API key; nothing else."""
    body = json_object(await read_body(request, _MAX_CONTROL_BYTES))
    await client_of(request).endpoints()
    asked = body.get("token_expiration")
    validity_s = float(asked) if isinstance(asked, int | float) else STREAM_TOKEN_VALIDITY_S
    limits = {} if body.get("allowed_apps") is None else {ALLOWED_APPS: " ".join(_texts(body, "allowed_apps"))}
    return answer(sealed_key(request, FOR_STREAMS, min(max(validity_s, 1.0), STREAM_TOKEN_VALIDITY_S), **limits))


async def upload_at_once(request: Request) -> Response:
    """Take a file in one piece from Python."""
    client = _client_with_token(request)
    begun = await _begin(client, *_described(request))
    etag = await _put(request, client, begun.upload_id, 1)
    return answer({"access_url": (await client.finish_upload(begun.upload_id, {1: etag})).url})


async def begin_in_parts(request: Request) -> Response:
    """Begin an upload in parts from Python, which puts them below the file's own URL."""
    client = _client_with_token(request)
    begun = await _begin(client, *_described(request))
    name = quote(begun.file.file_name or "file", safe="")
    url = f"{origin_of(request)}/files/{sealed_file(request, begun.file.url)}/{name}"
    return answer({"access_url": url, "uploadId": _ticket(request, begun, _key_with_token(request))})


async def fetch(request: Request) -> Response:
    """Send whoever fetches a file on to the store, as long as the store's URL works."""
    try:
        url = opened_file(context_of(request).seals, request.path_params["file"])
    except SealError as error:
        raise refusal(404, f"There is no such file: {error}.") from error
    return RedirectResponse(url, 307)


async def _begin(client: AsyncCogReel, content_type: str | None, name: str | None) -> CreateMultipartUploadResponse:
    """Begin an upload; a type that is not taken is said to be unknown, as the hosted storage takes any."""
    try:
        return await client.begin_upload(content_type=content_type or _UNKNOWN_TYPE, file_name=name)
    except cogreel.InvalidInputError as error:
        if error.fields != ("content_type",):
            raise
        return await client.begin_upload(content_type=_UNKNOWN_TYPE, file_name=name)


async def _put(request: Request, client: AsyncCogReel, upload_id: str, number: int) -> str:
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        raise refusal(411, "An upload needs the header Content-Length.")
    if int(length) == 0:
        raise invalid([Problem(("body",), "must not be empty")])
    url = await client.sign_part(upload_id, number, int(length))
    return await put_part(context_of(request).store, url, int(length), request.stream())


def _ticket(request: Request, begun: CreateMultipartUploadResponse, api_key: str) -> str:
    content = {"api_key": api_key, "upload_id": begun.upload_id}
    return context_of(request).seals.sealed(_UPLOAD, UPLOAD_VALIDITY_S, content)


def _opened_ticket(request: Request) -> tuple[AsyncCogReel, str]:
    context = context_of(request)
    try:
        content = context.seals.opened(request.path_params["ticket"], _UPLOAD)
    except SealError as error:
        raise refusal(403, f"This URL takes no upload: {error}.") from error
    return context.backend.client_for(content["api_key"]), content["upload_id"]


def _client_with_token(request: Request) -> AsyncCogReel:
    return context_of(request).backend.client_for(_key_with_token(request))


def _key_with_token(request: Request) -> str:
    """The API key of a call that brings an upload token, or the key itself."""
    given = api_key_of(request)
    try:
        return context_of(request).seals.opened(given, FOR_UPLOADS)["api_key"]
    except SealError:
        return given


def _described(request: Request) -> tuple[str | None, str | None]:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip()
    return content_type or None, request.headers.get("x-fal-file-name") or None


def _text(body: Mapping[str, object], field: str) -> str | None:
    value = body.get(field)
    if value is not None and not isinstance(value, str):
        raise invalid([Problem(("body", field), "must be text", "string_type")])
    return value or None


def _texts(body: Mapping[str, object], field: str) -> list[str]:
    values = body.get(field)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise invalid([Problem(("body", field), "must be a list of texts", "list_type")])
    return values


def _etags(body: Mapping[str, object]) -> dict[int, str]:
    etags: dict[int, str] = {}
    parts = body.get("parts")
    for part in parts if isinstance(parts, list) else [None]:
        match part:
            case {"partNumber": int(number), "etag": str(etag)}:
                etags[number] = etag
            case _:
                raise invalid([Problem(("body", "parts"), "must list the parts, each with partNumber and etag")])
    return etags
