"""Uploads by both clients and the command, against the real service and store; faults come from a proxy on the way."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cogreel import AsyncCogReel, CogReel, InvalidInputError, LimitExceededError, NotFoundError, UploadError
from cogreel.upload_source import UploadSource, opened
from cogreel.v1.video_pb2 import File

from files import ObjectStore
from service.upload_rules import UploadSettings
from tests.deployment import Caller, Deployment, fetch
from tests.media import GREEN, RED, picture, video

Uploader = Callable[..., Awaitable[File]]
LARGE = video() + os.urandom(17 * 1024**2)  # three parts


@asynccontextmanager
async def storage_proxy(store: ObjectStore, cut: Callable[[bytes], bool]) -> AsyncIterator[str]:
    """A way to the store that breaks off a connection whose request `cut` picks by its head; its host:port."""
    host, _, port = store.settings.endpoint.partition(":")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        if cut(head):
            writer.transport.abort()
            inner_writer.close()
            return
        inner_writer.write(head)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield "{}:{}".format(*server.sockets[0].getsockname())


def behind(deployment: Deployment, address: str) -> None:
    """Let callers reach the store under another name."""
    settings = dataclasses.replace(deployment.store.settings, public_endpoint=address, public_secure=False)
    deployment.store = ObjectStore(settings)


@pytest.fixture(params=["sync", "async"])
def uploader(request: pytest.FixtureRequest) -> Uploader:
    """`upload` of either client."""

    async def upload(port: int, caller: Caller, source: UploadSource, **options: object) -> File:
        address = f"127.0.0.1:{port}"
        if request.param == "async":
            async with AsyncCogReel(address, caller.api_key, retry_timeout_s=10) as client:
                return await client.upload(source, **options)  # type: ignore[arg-type]
        with CogReel(address, caller.api_key, retry_timeout_s=10) as sync_client:
            return await asyncio.to_thread(sync_client.upload, source, **options)  # type: ignore[arg-type]

    return upload


async def test_whatever_holds_bytes_can_be_uploaded(deployment: Deployment, uploader: Uploader, tmp_path: Path) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    content = picture()
    path = tmp_path / "portrait.png"
    path.write_bytes(content)
    for source, name in (
        (path, "portrait.png"),
        (str(path), "portrait.png"),
        (content, "file.png"),
        (io.BytesIO(content), "file.png"),
    ):
        file = await uploader(port, caller, source)
        assert (file.file_name, file.content_type, file.file_size) == (name, "image/png", len(content))
        assert await asyncio.to_thread(fetch, file.url) == content


async def test_a_large_file_goes_up_in_parts_with_progress(deployment: Deployment, uploader: Uploader) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    told: list[tuple[int, int]] = []
    file = await uploader(port, caller, LARGE, file_name="a.mp4", on_progress=lambda *done: told.append(done))
    assert await asyncio.to_thread(fetch, file.url) == LARGE
    assert told[-1] == (len(LARGE), len(LARGE))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


async def test_parts_that_broke_off_are_sent_again_and_the_others_are_not(
    deployment: Deployment, uploader: Uploader
) -> None:
    parts: list[bytes] = []

    def cut(head: bytes) -> bool:
        number = head.partition(b"partNumber=")[2][:1]
        parts.append(number)
        return number == b"2" and parts.count(b"2") == 1

    async with storage_proxy(deployment.store, cut) as address:
        behind(deployment, address)
        port = await deployment.service()
        file = await uploader(port, await deployment.caller(port), LARGE)
        assert await asyncio.to_thread(fetch, file.url) == LARGE
    assert parts.count(b"2") == 2
    assert parts.count(b"1") == 1


async def test_a_file_goes_through_the_service_where_the_store_cannot_be_reached(
    deployment: Deployment, uploader: Uploader
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        behind(deployment, f"127.0.0.1:{unused.getsockname()[1]}")
        port = await deployment.service()
        caller = await deployment.caller(port)
        for content in (picture(), LARGE):
            told: list[tuple[int, int]] = []
            file = await uploader(port, caller, content, on_progress=lambda *done, told=told: told.append(done))
            assert file.file_size == len(content)
            assert told[-1] == (len(content), len(content))
    stored = [await deployment.store.read(key) for key in await deployment.store.list_keys("uploads/")]
    assert sorted(stored, key=len) == [picture(), LARGE]


async def test_what_is_refused_says_why(deployment: Deployment, uploader: Uploader) -> None:
    port = await deployment.service(uploads=UploadSettings(max_upload_bytes=10_000))
    caller = await deployment.caller(port)
    with pytest.raises(LimitExceededError) as limit:
        await uploader(port, caller, video() + bytes(10_000))
    assert limit.value.metadata["limit"] == "max_upload_bytes"
    with pytest.raises(InvalidInputError) as invalid:
        await uploader(port, caller, b"<html>", content_type="text/html")
    assert invalid.value.violations[0].field == "content_type"
    with pytest.raises(UploadError, match="is empty"):
        await uploader(port, caller, b"")
    with pytest.raises(FileNotFoundError):
        await uploader(port, caller, "no such file.png")


async def test_an_image_is_given_as_path_bytes_url_or_file(deployment: Deployment, tmp_path: Path) -> None:
    endpoint, _ = deployment.serve_files()
    port = await deployment.service()
    caller = await deployment.caller(port)
    path = tmp_path / "portrait.png"
    path.write_bytes(picture())
    noise = picture(size=(64, 64)) + os.urandom(5 * 1024**2)  # too large to travel inside the submission
    (tmp_path / "large.png").write_bytes(noise)
    async with AsyncCogReel(f"127.0.0.1:{port}", caller.api_key) as client:
        file = await client.upload(path)
        for image in (path, str(path), picture(), file, file.url, noise, tmp_path / "large.png"):
            submitted = await client.submit(prompt="a fox", image=image)
            assert submitted.status.endpoint == endpoint
        with pytest.raises(NotFoundError) as missing:
            await client.submit(prompt="a fox", image=file.url.replace("portrait.png", "other.png"))
        assert missing.value.reason == "FILE_NOT_FOUND"
        with pytest.raises(InvalidInputError) as invalid:
            await client.submit(prompt="a fox", image=video())
        assert invalid.value.violations[0].field == "image_to_video.image"


async def test_a_video_is_given_with_its_strength(deployment: Deployment) -> None:
    _, endpoint = deployment.serve_files()
    port = await deployment.service()
    caller = await deployment.caller(port)
    with CogReel(f"127.0.0.1:{port}", caller.api_key) as client:
        submitted = await asyncio.to_thread(client.submit, prompt="a fox", video=video(GREEN), strength=0.3)
        assert submitted.status.endpoint == endpoint
        with pytest.raises(InvalidInputError) as invalid:
            client.submit(prompt="a fox", image=picture(RED), strength=0.3)
        assert str(invalid.value.violations[0]) == "image_to_video.strength: goes with video"
        with pytest.raises(TypeError, match="exclude each other"):
            client.submit(prompt="a fox", image=picture(RED), video=video(GREEN))


async def test_the_command_prints_the_url(deployment: Deployment, tmp_path: Path) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    path = tmp_path / "portrait.png"
    path.write_bytes(picture())

    async def run(*arguments: str) -> tuple[int, str, str]:
        environment = os.environ | {"COGREEL_ADDRESS": f"127.0.0.1:{port}", "COGREEL_API_KEY": caller.api_key}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cogreel", "upload", *arguments, env=environment, stdout=-1, stderr=-1
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    code, out, err = await run(str(path))
    assert (code, err) == (0, "")
    assert await asyncio.to_thread(fetch, out.strip()) == picture()
    code, out, _ = await run(str(path), "--name", "x.png", "--json")
    assert json.loads(out)["file_name"] == "x.png"
    code, out, err = await run(str(tmp_path / "nothing.png"))
    assert (code != 0, out) == (True, "")
    assert "nothing.png" in err


@pytest.mark.parametrize(
    ("name", "content", "content_type"),
    [
        ("fake.png", b"only text", "application/octet-stream"),
        ("picture.txt", picture(), "image/png"),
        ("notes.txt", b"only text", "text/plain"),
    ],
)
def test_the_type_is_that_of_the_content(tmp_path: Path, name: str, content: bytes, content_type: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with opened(path, None, None, None) as found:
        assert found.content_type == content_type
