"""Uploads: by presigned PUT, in parts, and through the service; what is refused, and what stays behind."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import os
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from cogreel.v1 import storage_pb2
from cogreel.v1.admin_pb2 import Limits

from files import ObjectStore, upload_prefix
from files.multipart import MultipartUploads
from jobs.keys import create_key
from service.upload_rules import UploadSettings
from tests.deployment import Caller, Deployment, fetch
from tests.errors import refused
from tests.media import picture, video
from tests.service.uploads import Multipart, chunks, create, header, put, stream, upload

MIB = 1024**2


@pytest_asyncio.fixture
async def caller(deployment: Deployment) -> Caller:
    return await deployment.caller(await deployment.service(uploads=UploadSettings(max_upload_bytes=20 * MIB)))


def large(size: int) -> bytes:
    """An MP4 with enough after its end to be large."""
    return video() + os.urandom(size)


async def test_a_file_is_put_into_the_store_and_can_be_fetched(caller: Caller) -> None:
    content = picture()
    file = await upload(caller, content, name="my fox.png")
    assert (file.file_name, file.content_type, file.file_size) == ("my fox.png", "image/png", len(content))
    assert await asyncio.to_thread(fetch, file.url) == content


async def test_the_store_takes_nothing_but_what_was_announced(caller: Caller, deployment: Deployment) -> None:
    content = picture()
    created = await create(caller, "image/png", len(content))
    for body, headers in (
        (content + b"x", dict(created.headers)),
        (content[:-1], dict(created.headers)),
        (content, {**created.headers, "Content-Type": "text/html"}),
        (content, {"If-None-Match": "*"}),
        (content, {"Content-Type": "image/png"}),
    ):
        assert (await put(created.upload_url, body, headers)).status == 403
    assert await deployment.store.list_keys("uploads/") == []
    assert (await put(created.upload_url, content, created.headers)).status == 200


async def test_what_was_put_cannot_be_replaced(caller: Caller) -> None:
    content, other = picture((1, 2, 3)), picture((3, 2, 1))
    assert len(content) == len(other)
    created = await create(caller, "image/png", len(content))
    assert (await put(created.upload_url, content, created.headers)).status == 200
    assert (await put(created.upload_url, other, created.headers)).status == 412
    assert await asyncio.to_thread(fetch, created.file.url) == content


async def test_an_upload_url_is_good_for_one_key_only(caller: Caller) -> None:
    content = picture()
    one, other = await create(caller, "image/png", len(content)), await create(caller, "image/png", len(content))
    path, query = one.upload_url.partition("?")[0], other.upload_url.partition("?")[2]
    assert (await put(f"{path}?{query}", content, one.headers)).status == 403


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("a\r\nX-Evil: 1.png", "aX-Evil 1.png"),
        ("Füchse 🦊.png", "Füchse 🦊.png"),
        ("\u202egnp.exe", "gnp.exe"),
        ("...", "file.png"),
        ("%2e%2e%2fx.png", "2e2e2fx.png"),
        ("x" * 251 + ".png", "x" * 196 + ".png"),
    ],
)
async def test_a_file_name_is_made_harmless(caller: Caller, deployment: Deployment, name: str, shown: str) -> None:
    file = await upload(caller, picture(), name=name)
    assert file.file_name == shown
    [key] = await deployment.store.list_keys("uploads/")
    assert key.startswith(upload_prefix(caller.tenant))
    assert key.count("/") == 3
    assert key.isascii()
    assert await asyncio.to_thread(fetch, file.url) == picture()


@pytest.mark.parametrize("content_type", ["text/html", "image/svg+xml", "image", "image/png\r\nx: y", "*/*"])
async def test_a_type_that_is_of_no_use_is_refused(caller: Caller, content_type: str) -> None:
    for call in (
        create(caller, content_type, 10),
        Multipart.begin(caller, b"x" * 10, content_type),
    ):
        error = await refused(call)
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT")
        assert "image/png" in error.violations["content_type"]
    error = await refused(stream(caller, header(content_type), *chunks(b"x")))
    assert "header.content_type" in error.violations


async def test_a_file_that_is_too_large_exceeds_a_limit(caller: Caller, deployment: Deployment) -> None:
    size = 20 * MIB + 1
    for call in (
        create(caller, "video/mp4", size),
        Multipart.begin(caller, bytes(size)),
        stream(caller, header("video/mp4"), *chunks(bytes(size))),
    ):
        error = await refused(call)
        assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED")
        assert error.metadata["limit"] == "max_upload_bytes"
    assert await deployment.store.list_keys("uploads/") == []


async def test_a_tenant_stores_no_more_bytes_than_its_key_allows(deployment: Deployment) -> None:
    port = await deployment.service()
    _, api_key = await create_key(deployment.broker, "frugal", limits=Limits(stored_bytes=3000))
    caller = await deployment.caller(port, tenant="frugal", api_key=api_key)
    await upload(caller, picture())
    error = await refused(create(caller, "image/png", 3000))
    assert (error.reason, error.metadata["limit"]) == ("LIMIT_EXCEEDED", "stored_bytes")
    assert error.retry_after_s is not None
    await create(await deployment.caller(port), "image/png", 3000)


async def test_parts_are_joined_and_the_order_of_their_list_is_free(caller: Caller) -> None:
    content = large(17 * MIB)
    begun = await Multipart.begin(caller, content)
    assert begun.created.part_count == 3
    parts = await begun.put(3, 1, 2)
    file = await begun.complete(parts)
    assert file.file_size == len(content)
    assert await asyncio.to_thread(fetch, file.url) == content
    assert (await begun.complete(parts)).file_size == len(content)  # an answer that was lost


async def test_an_upload_in_parts_is_resumed_where_it_stopped(caller: Caller) -> None:
    begun = await Multipart.begin(caller, large(17 * MIB))
    first = await begun.put(2)
    resumed = await begun.presign(1, 3)
    assert [(part.part_number, part.etag) for part in resumed.uploaded] == [(2, first[0].etag.strip('"'))]
    rest = await begun.put(1, 3)
    await begun.complete([*rest, *resumed.uploaded])


async def test_a_part_takes_its_own_size_only(caller: Caller) -> None:
    begun = await Multipart.begin(caller, large(9 * MIB))
    [first, second] = (await begun.presign(1, 2)).parts
    assert (await put(first.upload_url, begun.part(1)[:-1])).status == 403
    assert (await put(second.upload_url, begun.part(2) + b"x")).status == 403
    error = await refused(begun.presign(1, 3))
    assert error.violations == {"part_numbers[1]": "must be at most 2, the number of parts"}


async def test_a_list_of_parts_that_is_not_the_stores_is_refused(caller: Caller, deployment: Deployment) -> None:
    begun = await Multipart.begin(caller, large(9 * MIB))
    [one] = await begun.put(1)
    wrong = storage_pb2.UploadedPart(part_number=1, etag="0" * 32)
    absent = storage_pb2.UploadedPart(part_number=2, etag="0" * 32)
    for parts, field in (
        ([one], "parts"),
        ([wrong, *await begun.put(2)], "parts[0].etag"),
        ([one, absent], "parts[1].etag"),
        ([one, one], "parts[1].part_number"),
    ):
        error = await refused(begun.complete(parts))
        assert error.reason == "INVALID_INPUT"
        assert field in error.violations
    assert await deployment.store.list_keys("uploads/") == []


async def test_parts_that_make_something_else_are_thrown_away(caller: Caller, deployment: Deployment) -> None:
    begun = await Multipart.begin(caller, b"%PDF-1.7" + bytes(100))
    error = await refused(begun.complete(await begun.put(1)))
    assert "is application/pdf" in error.violations["content_type"]
    assert await deployment.store.list_keys("uploads/") == []


async def test_aborting_twice_succeeds_and_leaves_nothing(caller: Caller, deployment: Deployment) -> None:
    begun = await Multipart.begin(caller, large(9 * MIB))
    parts = await begun.put(1, 2)
    await begun.abort()
    await begun.abort()
    for call in (begun.presign(1), begun.complete(parts)):
        error = await refused(call)
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "FILE_NOT_FOUND")
    assert await MultipartUploads(deployment.store.bucket).unfinished("uploads/") == []


async def test_another_tenants_upload_id_is_as_good_as_none(caller: Caller, deployment: Deployment) -> None:
    other = await deployment.caller(await deployment.service())
    begun = await Multipart.begin(caller, large(100))
    parts = await begun.put(1)
    body = base64.urlsafe_b64decode(begun.upload_id + "=" * (-len(begun.upload_id) % 4))
    renamed = body.replace(upload_prefix(caller.tenant).encode(), upload_prefix(other.tenant).encode())
    forged = base64.urlsafe_b64encode(renamed).decode().rstrip("=")
    made_up = base64.urlsafe_b64encode(b"made up").decode()
    for upload_id in (begun.upload_id, forged, made_up, "not even base64 ü", "AAAA"):
        theirs = Multipart(other, storage_pb2.CreateMultipartUploadResponse(upload_id=upload_id), b"")
        for call in (theirs.presign(1), theirs.complete(parts)):
            error = await refused(call)
            assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "FILE_NOT_FOUND")
            assert error.resource == ("file", upload_id)
        await theirs.abort()
    assert (await begun.complete(parts)).file_size == len(begun.content)


async def test_a_file_goes_through_the_service_in_chunks(caller: Caller) -> None:
    content = large(3 * MIB)
    sha256 = hashlib.sha256(content).hexdigest()
    file = await stream(caller, header("video/mp4", file_name="a.mp4", sha256=sha256), *chunks(content))
    assert (file.file_name, file.content_type, file.file_size) == ("a.mp4", "video/mp4", len(content))
    assert await asyncio.to_thread(fetch, file.url) == content


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([], "header"),
        (chunks(b"x"), "header"),
        ([header()], "chunk"),
        ([header(), header()], "chunk"),
        ([header(), storage_pb2.UploadRequest(chunk=bytes(MIB + 1))], "chunk"),
        ([header(sha256="ABC"), *chunks(picture())], "header.sha256"),
        ([header(sha256="0" * 64), *chunks(picture())], "header.sha256"),
        ([header("image/png"), *chunks(b"<html>")], "header.content_type"),
        ([header("image/png"), *chunks(picture(kind="JPEG"))], "header.content_type"),
    ],
    ids=["nothing", "no header", "no chunk", "two headers", "too long", "bad sha", "other sha", "html", "jpeg"],
)
async def test_a_stream_that_breaks_a_rule_stores_nothing(
    caller: Caller, deployment: Deployment, messages: list[storage_pb2.UploadRequest], field: str
) -> None:
    error = await refused(stream(caller, *messages))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT")
    assert field in error.violations
    assert await deployment.store.list_keys("uploads/") == []


async def test_a_stream_that_breaks_off_leaves_nothing_behind(
    caller: Caller, deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    call = caller.storage.Upload(metadata=caller.metadata)
    await call.write(header("video/mp4"))
    await call.write(chunks(large(100))[0])
    async with asyncio.timeout(10):
        while not list(tmp_path.glob("cogreel-upload-*/content")):  # noqa: ASYNC110 - the server's own pace
            await asyncio.sleep(0.01)
    call.cancel()
    async with asyncio.timeout(10):
        while list(tmp_path.iterdir()):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    assert await deployment.store.list_keys("uploads/") == []


async def test_an_absent_store_is_told_as_such(deployment: Deployment) -> None:
    deployment.store = ObjectStore(dataclasses.replace(deployment.store.settings, endpoint="127.0.0.1:9"))
    caller = await deployment.caller(await deployment.service())
    for call in (stream(caller, header(), *chunks(picture())), Multipart.begin(caller, picture())):
        error = await refused(call)
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        assert error.retry_after_s is not None


async def test_every_call_needs_a_key(caller: Caller) -> None:
    stranger = Caller(caller.stub, "x", "0123456789abcdef:" + "x" * 43, caller.endpoint, caller.storage)
    for call in (create(stranger, "image/png", 1), stream(stranger, header()), Multipart.begin(stranger, b"x")):
        assert (await refused(call)).code == grpc.StatusCode.UNAUTHENTICATED
