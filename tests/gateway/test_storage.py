"""Storage as the JavaScript and the Python client use it, call by call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest_asyncio
from httpx2 import AsyncClient, Response

from gateway.seals import Seals
from gateway.settings import GatewaySettings
from tests.deployment import Deployment, fetch
from tests.gateway.door import Door, door_of
from tests.media import picture

PART = 5 * 1024**2
SECRET = b"of all replicas"


@pytest_asyncio.fixture
async def door(deployment: Deployment) -> AsyncIterator[Door]:
    """A gateway before a service that takes pictures."""
    deployment.serve_files()
    async with door_of(deployment, GatewaySettings(secret=SECRET)) as running:
        yield running


@pytest_asyncio.fixture
async def anyone() -> AsyncIterator[AsyncClient]:
    """An HTTP client without a key."""
    async with AsyncClient(timeout=30) as http:
        yield http


async def initiated(door: Door, kind: str = "initiate", **more: str) -> dict[str, str]:
    """What an upload from JavaScript begins with."""
    described = {"content_type": "image/png", "file_name": "red.png"} | more
    answer = await door.http.post(f"/storage/upload/{kind}?storage_type=fal-cdn-v3", json=described)
    assert answer.status_code == 200
    body: dict[str, str] = answer.json()
    return body


async def accepted_as_picture(door: Door, url: str) -> Response:
    """Submit a request that begins with the picture."""
    answer = await door.submit(endpoint=f"{door.endpoint}/image", image_url=url)
    assert answer.status_code == 200, answer.text
    return answer


async def test_a_file_is_put_without_a_key_and_its_url_works_as_an_input(door: Door, anyone: AsyncClient) -> None:
    begun = await initiated(door)
    answer = await anyone.put(begun["upload_url"], content=picture(), headers={"content-type": "image/png"})
    assert answer.status_code == 200
    assert fetch(begun["file_url"]) == picture()
    await accepted_as_picture(door, begun["file_url"])


async def test_the_text_file_of_the_hosted_documentation_is_taken(door: Door, anyone: AsyncClient) -> None:
    begun = await initiated(door, content_type="text/plain", file_name="hello.txt")
    assert (await anyone.put(begun["upload_url"], content=b"Hello, World!")).status_code == 200
    assert fetch(begun["file_url"]) == b"Hello, World!"


async def test_a_large_file_goes_up_in_parts(door: Door, anyone: AsyncClient) -> None:
    begun = await initiated(door, "initiate-multipart")
    contents = [picture().ljust(PART, b"\0"), b"the rest"]
    parts = []
    for number, content in enumerate(contents, 1):
        answer = await anyone.put(f"{begun['upload_url']}/{number}", content=content)
        assert answer.json()["partNumber"] == number
        parts.append(answer.json())
    assert (await anyone.post(f"{begun['upload_url']}/complete", json={"parts": parts})).status_code == 200
    assert fetch(begun["file_url"]) == b"".join(contents)


async def python_token(door: Door) -> dict[str, Any]:
    answer = await door.http.post("/storage/auth/token?storage_type=fal-cdn-v3", json={})
    assert answer.status_code == 200
    token: dict[str, Any] = answer.json()
    return token


async def test_python_uploads_with_a_token_made_from_the_key(door: Door, anyone: AsyncClient) -> None:
    token = await python_token(door)
    assert token["base_url"] == door.url
    assert datetime.fromisoformat(token["expires_at"]) > datetime.now(UTC)
    headers = {
        "authorization": f"{token['token_type']} {token['token']}",
        "content-type": "image/png",
        "x-fal-file-name": "red.png",
    }
    answer = await anyone.post(f"{door.url}/files/upload", content=picture(), headers=headers)
    assert answer.status_code == 200
    assert fetch(answer.json()["access_url"]) == picture()
    await accepted_as_picture(door, answer.json()["access_url"])


async def test_python_puts_parts_below_the_files_own_url(door: Door, anyone: AsyncClient) -> None:
    token = await python_token(door)
    headers = {"authorization": f"Bearer {token['token']}", "content-type": "image/png", "x-fal-file-name": "a b?.png"}
    begun = (await anyone.post(f"{door.url}/files/upload/multipart", headers=headers)).json()
    assert not urlsplit(begun["access_url"]).query
    parts = []
    for number, content in ((2, b"the rest"), (1, picture().ljust(PART, b"\0"))):
        url = f"{begun['access_url']}/multipart/{begun['uploadId']}/{number}"
        answer = await anyone.put(url, content=content, headers=headers)
        parts.append({"partNumber": number, "etag": answer.headers["etag"]})
    url = f"{begun['access_url']}/multipart/{begun['uploadId']}/complete"
    assert (await anyone.post(url, json={"parts": parts}, headers=headers)).status_code == 200
    fetched = await anyone.get(begun["access_url"], follow_redirects=True)
    assert fetched.content == picture().ljust(PART, b"\0") + b"the rest"
    await accepted_as_picture(door, begun["access_url"])


async def test_another_tenant_cannot_use_a_file(door: Door, anyone: AsyncClient) -> None:
    begun = await initiated(door)
    await anyone.put(begun["upload_url"], content=picture())
    async with door.stranger() as stranger:
        answer = await stranger.submit(endpoint=f"{door.endpoint}/image", image_url=begun["file_url"])
    assert answer.status_code == 422
    assert [(p["loc"], p["type"]) for p in answer.json()["detail"]] == [(["body", "image_url"], "file_download_error")]


async def test_what_cannot_be_uploaded_is_refused(door: Door, anyone: AsyncClient) -> None:
    begun = await initiated(door)
    assert (await anyone.put(begun["upload_url"], content=b"")).status_code == 422
    assert (await anyone.put(f"{door.url}/storage/upload/nothing", content=b"a")).status_code == 403
    answer = await anyone.put(begun["upload_url"], content=b"no picture at all")
    assert answer.status_code == 422
    assert "image/png" in answer.json()["detail"][0]["msg"]
    for body in ({}, {"parts": 1}, {"parts": [{"partNumber": "one"}]}):
        answer = await anyone.post(f"{begun['upload_url']}/complete", json=body)
        assert answer.json()["detail"][0]["loc"] == ["body", "parts"]
    assert (await door.http.post("/storage/upload/initiate", json={"file_name": 4})).status_code == 422


async def test_uploads_begin_with_a_good_key(door: Door, anyone: AsyncClient) -> None:
    for path in ("/storage/upload/initiate", "/storage/auth/token", "/tokens/", "/files/upload/multipart"):
        assert (await anyone.post(f"{door.url}{path}", json={})).status_code == 401
        headers = {"authorization": f"Key {'0' * 16}:{'A' * 43}"}
        assert (await anyone.post(f"{door.url}{path}", json={}, headers=headers)).status_code == 401


async def test_a_stream_token_opens_streams_and_nothing_else(door: Door, anyone: AsyncClient) -> None:
    request_id = await door.submitted()
    await door.cancel(request_id)
    app = door.endpoint.partition("/")[2]
    token = (await door.http.post("/tokens/", json={"allowed_apps": ["other", app], "token_expiration": 120})).json()
    path = f"{door.url}{door.path(request_id, '/status/stream')}"
    assert (await anyone.get(f"{path}?fal_jwt_token={token}")).status_code == 200
    assert (await anyone.get(f"{path}?fal_jwt_token=forged")).status_code == 401
    elsewhere = (await door.http.post("/tokens/", json={"allowed_apps": ["other"]})).json()
    assert (await anyone.get(f"{path}?fal_jwt_token={elsewhere}")).status_code == 403
    assert (await door.http.post("/tokens/", json={"allowed_apps": "other"})).status_code == 422
    headers = {"authorization": f"Bearer {token}"}
    assert (await anyone.post(f"{door.url}/{door.endpoint}", json={}, headers=headers)).status_code == 401
    assert (await anyone.post(f"{door.url}/files/upload", content=b"a", headers=headers)).status_code == 401


async def test_a_file_url_is_made_here_or_leads_nowhere(door: Door, anyone: AsyncClient) -> None:
    forged = Seals(b"another").sealed("file", 60, {"url": "http://127.0.0.1/"})
    assert (await anyone.get(f"{door.url}/files/{forged}/a.png")).status_code == 404
    expired = Seals(SECRET).sealed("file", -1, {"url": "http://127.0.0.1/"})
    assert (await anyone.get(f"{door.url}/files/{expired}/a.png")).status_code == 404


async def test_replicas_with_one_secret_finish_each_others_uploads(door: Door, anyone: AsyncClient) -> None:
    begun = await initiated(door)
    async with door_of(door.deployment, GatewaySettings(secret=SECRET)) as other:
        path = urlsplit(begun["upload_url"]).path
        assert (await anyone.put(f"{other.url}{path}", content=picture())).status_code == 200
    async with door_of(door.deployment) as foreign:
        assert (await anyone.put(f"{foreign.url}{path}", content=picture())).status_code == 403
