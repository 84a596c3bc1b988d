"""The object store against a real S3 server."""

import asyncio
import contextlib
import dataclasses
import os
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import urllib3

from files import ObjectNotFoundError, ObjectStore, ObjectStoreSettings, StoreUnavailableError
from host.engines import EmbeddedS3

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNAVAILABLE_WITHIN_S = 5.5


async def fetch(url: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> urllib3.BaseHTTPResponse:
    """Fetch as a browser would: no credentials but what the URL holds."""
    return await asyncio.to_thread(
        urllib3.request, method, url, headers=dict(headers or {}), retries=False, timeout=5.0
    )


def without_signature(url: str) -> str:
    return url.partition("?")[0]


async def test_file_comes_back_with_its_type_and_name(store: ObjectStore, tmp_path: Path) -> None:
    content = os.urandom(40_000_000)  # several parts
    path = tmp_path / "out.mp4"
    path.write_bytes(content)

    put = await store.put_file("videos/a/1/video.mp4", path, content_type="video/mp4", file_name="my fox.mp4")
    found = await store.stat("videos/a/1/video.mp4")

    assert found is not None
    assert (found.key, found.size_bytes, found.content_type) == (put.key, len(content), "video/mp4")
    assert found.etag == put.etag != ""
    assert found.modified_at is not None
    assert await store.read(put.key) == content
    answer = await fetch(store.presign_get(put.key, 60))
    assert answer.data == content
    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["Content-Disposition"] == 'inline; filename="my fox.mp4"'


async def test_content_is_read_in_chunks(store: ObjectStore) -> None:
    await store.put_bytes("a", bytes(range(256)) * 100, content_type="application/octet-stream")
    async with store.open("a", chunk_bytes=10_000) as chunks:
        sizes = [len(chunk) async for chunk in chunks]
    assert sizes == [10_000, 10_000, 5_600]


async def test_put_replaces(store: ObjectStore) -> None:
    first = await store.put_bytes("a", b"one", content_type="text/plain")
    second = await store.put_bytes("a", b"two", content_type="text/plain")
    assert await store.read("a") == b"two"
    assert first.etag != second.etag


async def test_missing_object(store: ObjectStore) -> None:
    assert await store.stat("nothing") is None
    with pytest.raises(ObjectNotFoundError) as caught:
        await store.read("nothing")
    assert caught.value.key == "nothing"
    await store.remove("nothing")


async def test_listing_tells_size_and_age(store: ObjectStore) -> None:
    await store.put_bytes("v/x", b"12345", content_type="text/plain")
    [found] = [found async for found in store.list_objects("v/")]
    assert (found.key, found.size_bytes) == ("v/x", 5)
    assert found.modified_at is not None
    assert abs(found.modified_at.timestamp() - time.time()) < 60


async def test_nothing_is_readable_or_listable_without_a_signature(store: ObjectStore) -> None:
    await store.put_bytes("a", b"secret", content_type="text/plain")
    url = without_signature(store.presign_get("a", 60))
    bucket_url = url.removesuffix("/a")
    for address, method in ((url, "GET"), (url, "PUT"), (url, "DELETE"), (bucket_url, "GET")):
        answer = await fetch(address, method=method)
        assert answer.status == 403
        assert b"secret" not in answer.data
    assert await store.read("a") == b"secret"


async def test_tampered_url_is_refused(store: ObjectStore) -> None:
    await store.put_bytes("a", b"mine", content_type="text/plain")
    await store.put_bytes("b", b"theirs", content_type="text/plain")
    url = store.presign_get("a", 60)
    assert (await fetch(url)).status == 200

    wrong_signature = url[:-1] + ("0" if url[-1] != "0" else "1")
    longer = url.replace("X-Amz-Expires=60", "X-Amz-Expires=600")
    other_object = url.replace("/a?", "/b?")
    for tampered in (wrong_signature, longer, other_object):
        assert tampered != url
        assert (await fetch(tampered)).status == 403
    assert (await fetch(url, method="DELETE")).status == 403


async def test_url_expires(store: ObjectStore) -> None:
    await store.put_bytes("a", b"x", content_type="text/plain")
    url = store.presign_get("a", 1)
    async with asyncio.timeout(10):
        while (status := (await fetch(url)).status) == 200:  # noqa: ASYNC110  (the server's clock)
            await asyncio.sleep(0.1)
    assert status == 403


async def test_player_may_seek(store: ObjectStore) -> None:
    await store.put_bytes("a", bytes(range(200)), content_type="video/mp4")
    answer = await fetch(store.presign_get("a", 60), {"Range": "bytes=50-59"})
    assert answer.status == 206
    assert answer.data == bytes(range(50, 60))
    assert answer.headers["Content-Range"] == "bytes 50-59/200"


async def test_url_may_name_the_file_and_its_type(store: ObjectStore) -> None:
    await store.put_bytes("a", b"x", content_type="application/octet-stream", file_name="stored.bin")
    url = store.presign_get("a", 60, file_name='Füchse "1".mp4', content_type="video/mp4")
    answer = await fetch(url)
    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["Content-Disposition"] == (
        "inline; filename=\"F_chse _1_.mp4\"; filename*=UTF-8''F%C3%BCchse%20%221%22.mp4"
    )


async def test_public_endpoint_is_what_callers_see(store: ObjectStore, settings: ObjectStoreSettings) -> None:
    await store.put_bytes("a", b"x", content_type="text/plain")
    public = ObjectStore(dataclasses.replace(settings, public_endpoint="videos.example.org"))

    url = urlsplit(public.presign_get("a", 60))

    assert (url.scheme, url.netloc) == ("https", "videos.example.org")
    # As through a proxy that ends TLS and keeps the Host header.
    inside = f"http://{settings.endpoint}{url.path}?{url.query}"
    assert (await fetch(inside, {"Host": "videos.example.org"})).data == b"x"
    assert (await fetch(inside)).status == 403


async def test_presigning_needs_no_network() -> None:
    store = ObjectStore(
        ObjectStoreSettings(endpoint="store.invalid", access_key="key", secret_key="secret", bucket="videos")
    )
    assert store.presign_get("a", 60).startswith("https://store.invalid/videos/a?")


async def test_missing_bucket_is_told(settings: ObjectStoreSettings) -> None:
    store = ObjectStore(settings)
    with pytest.raises(LookupError, match=settings.bucket):
        await store.check()
    await store.ensure_bucket()
    await store.ensure_bucket()
    await store.check()


async def test_settings_show_no_secret(settings: ObjectStoreSettings) -> None:
    assert settings.secret_key not in repr(settings)


async def test_silent_store_is_unavailable_in_time(settings: ObjectStoreSettings, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"127.0.0.1:{silent.getsockname()[1]}"
        store = ObjectStore(dataclasses.replace(settings, endpoint=endpoint))
        started_at = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            await store.stat("a")
        assert time.monotonic() - started_at < UNAVAILABLE_WITHIN_S


async def test_store_that_nobody_answers_for_is_unavailable_in_time(settings: ObjectStoreSettings) -> None:
    # A listener whose queue is full drops what knocks, as a host that is gone does.
    with socket.socket() as full, socket.socket() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting.connect(full.getsockname())
        store = ObjectStore(
            dataclasses.replace(settings, endpoint=f"127.0.0.1:{full.getsockname()[1]}"),
        )
        started_at = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            await store.put_bytes("a", b"x", content_type="text/plain")
        assert time.monotonic() - started_at < UNAVAILABLE_WITHIN_S


async def test_killed_store_is_unavailable_and_comes_back_with_everything(s3: EmbeddedS3, store: ObjectStore) -> None:
    content = os.urandom(2_000_000)
    await store.put_bytes("a", content, content_type="video/mp4")
    killed = s3.pid
    assert killed is not None
    started_at = time.monotonic()
    os.kill(killed, signal.SIGKILL)

    with pytest.raises(StoreUnavailableError):
        await store.read("a")
    assert time.monotonic() - started_at < UNAVAILABLE_WITHIN_S

    async with asyncio.timeout(30):
        while s3.pid in {None, killed}:  # noqa: ASYNC110  (the engine tells readiness of the next run only)
            await asyncio.sleep(0.02)
        await s3.wait_ready()
        found = None
        while found is None:  # it answers before its volumes are in, and callers repeat what is unavailable
            with contextlib.suppress(StoreUnavailableError):
                found = await store.read("a")
    assert found == content
