"""Fetching from a server that means no good: what arrives whole, what is refused, and how soon it gives up."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from files import ObjectStore, ObjectStoreSettings
from files.content_type import IMAGE_TYPES
from files.errors import FetchFailedError, FetchRefusedError
from files.fetch_guard import AllowedPlace, FetchSettings
from files.own_urls import OwnUrls
from files.remote import FetchedFile, RemoteFiles
from tests.hostile_server import HostileServer, answer, endless, redirect, silent

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 400
MOST = 200_000
CERTIFICATE = Path(__file__).parent / "certificates/pictures.example.org.pem"
HOST = "pictures.example.org"


@pytest_asyncio.fixture
async def server() -> AsyncIterator[HostileServer]:
    async with HostileServer() as running:
        yield running


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "input"


class Names:
    """A DNS of one name, which gives its answers in turn; the last one stays."""

    def __init__(self, *answers: list[str]) -> None:
        self.asked = 0
        self._answers = answers

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        self.asked += 1
        return self._answers[min(self.asked, len(self._answers)) - 1] if host == HOST else []


def fetching(server: HostileServer, names: Names | None = None, *, total_s: float = 5.0) -> RemoteFiles:
    allowed = AllowedPlace.parse(f"127.0.0.1:{server.port}")
    tls = ssl.create_default_context(cafile=str(CERTIFICATE))
    settings = FetchSettings(allow=(allowed,), total_s=total_s, idle_s=0.3)
    return RemoteFiles(settings, resolve=names or Names(["127.0.0.1"]), tls=tls)


async def fetch(server: HostileServer, path: Path, url: str = "", files: RemoteFiles | None = None) -> FetchedFile:
    files = files or fetching(server)
    return await files.fetch(url or server.url("/a.png?secret"), path, types=IMAGE_TYPES, max_bytes=MOST)


async def refusal(server: HostileServer, path: Path, url: str = "", files: RemoteFiles | None = None) -> str:
    """Why it is refused for good; nothing is left behind, and no query is shown."""
    with pytest.raises(FetchRefusedError) as raised:
        await fetch(server, path, url, files)
    return told(path, raised.value)


async def failure(server: HostileServer, path: Path, files: RemoteFiles | None = None) -> str:
    """Why it may succeed another time; nothing is left behind, and no query is shown."""
    with pytest.raises(FetchFailedError) as raised:
        await fetch(server, path, files=files)
    return told(path, raised.value)


def told(path: Path, error: Exception) -> str:
    assert not path.exists()
    assert "secret" not in str(error)
    return str(error)


async def test_a_file_arrives_whole_with_what_it_is(server: HostileServer, path: Path) -> None:
    server.answers["/a.png"] = answer(PNG, "Content-Type: text/html")
    fetched = await fetch(server, path)
    assert fetched == FetchedFile("image/png", len(PNG), hashlib.sha256(PNG).hexdigest())
    assert path.read_bytes() == PNG
    head = server.heads[0].lower()
    assert head.startswith("get /a.png?secret http/1.1\r\n")
    assert f"host: 127.0.0.1:{server.port}\r\n" in head
    assert "accept-encoding: identity\r\n" in head
    assert not any(line.startswith(("cookie", "authorization", "referer")) for line in head.split("\r\n"))


async def test_a_body_may_come_in_chunks_or_until_the_end(server: HostileServer, path: Path) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (PNG[:3], PNG[3:], b""))
    for raw in (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, b"HTTP/1.0 200 OK\r\n\r\n" + PNG):
        server.answers["/a.png"] = raw
        await fetch(server, path)
        assert path.read_bytes() == PNG
        path.unlink()


async def test_a_file_that_is_there_already_is_not_touched(server: HostileServer, path: Path) -> None:
    server.answers["/a.png"] = answer(PNG)
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        await fetch(server, path)
    assert path.read_bytes() == b"mine"


async def test_redirects_are_followed_to_allowed_places(server: HostileServer, path: Path) -> None:
    server.answers |= {"/a.png": redirect("b?x", "308 Permanent Redirect"), "/b": redirect(server.url("/c", HOST))}
    server.answers["/c"] = answer(PNG)
    await fetch(server, path)
    assert path.read_bytes() == PNG
    assert f"Host: {HOST}:{server.port}\r\n" in server.heads[2]


@pytest.mark.parametrize(
    ("location", "rule"),
    [
        ("http://127.0.0.1:1/x?secret", "no address"),
        ("http://localhost/x?secret", "no address"),
        ("http://169.254.169.254/latest/meta-data", "no address"),
        ("http://[::ffff:127.0.0.1]:1/", "no address"),
        ("http://2130706433/", "four decimal numbers"),
        ("http://0x7f.1/", "four decimal numbers"),
        ("http://user:secret@1.1.1.1/", "without user name"),
        ("http://1.1.1.1\\@127.0.0.1/", "no URL"),
        ("file:///etc/passwd", "of the form"),
        ("gopher://127.0.0.1:6379/_x", "of the form"),
        ("", "no URL"),
    ],
)
async def test_a_redirect_is_checked_as_the_first_url_is(
    server: HostileServer, path: Path, location: str, rule: str
) -> None:
    server.answers["/a.png"] = redirect(location)
    assert rule in await refusal(server, path)
    assert len(server.heads) == 1


async def test_redirects_in_a_circle_come_to_an_end(server: HostileServer, path: Path) -> None:
    server.answers["/a.png"] = redirect("/a.png?secret")
    assert "more than 5 redirects" in await refusal(server, path)
    assert len(server.heads) == 6


async def test_a_redirect_into_our_own_store_is_refused(server: HostileServer, path: Path) -> None:
    store = ObjectStoreSettings(f"127.0.0.1:{server.port}", "key", "secret", "cogreel", secure=False)
    settings = FetchSettings(allow=(AllowedPlace.parse("127.0.0.1"),))
    files = RemoteFiles(settings, own_urls=OwnUrls(ObjectStore(store).bucket))
    server.answers |= {"/a.png": redirect("/cogreel/uploads/theirs/1/a.png"), "/cogreel/uploads/theirs/1/a.png": PNG}
    assert "own store" in await refusal(server, path, files=files)
    assert len(server.heads) == 1


async def test_the_connection_goes_to_the_address_that_was_checked(server: HostileServer, path: Path) -> None:
    server.answers["/a.png"] = answer(PNG)
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    await fetch(server, path, server.url("/a.png", HOST), fetching(server, names))
    assert names.asked == 1  # it is not asked again by whoever connects
    assert "no address" in await refusal(
        server, path.with_name("b"), server.url("/a.png", HOST), fetching(server, Names(["10.0.0.1"]))
    )


async def test_a_name_that_leads_elsewhere_after_a_redirect_is_checked_again(server: HostileServer, path: Path) -> None:
    server.answers["/a.png"] = redirect("/b.png")
    names = Names(["127.0.0.1"], ["127.0.0.1", "10.0.0.1"])
    assert "no address" in await refusal(server, path, server.url("/a.png", HOST), fetching(server, names))
    assert (names.asked, len(server.heads)) == (2, 1)


async def test_the_next_address_is_tried_where_one_cannot_be_connected_to(server: HostileServer, path: Path) -> None:
    server.answers["/a.png"] = answer(PNG)
    settings = FetchSettings(allow=(AllowedPlace.parse(HOST),), idle_s=0.3)
    files = RemoteFiles(settings, resolve=Names(["::1", "127.0.0.2", "127.0.0.1"]))
    await fetch(server, path, server.url("/a.png", HOST), files)
    assert path.read_bytes() == PNG


async def test_tls_goes_by_the_name_and_not_by_the_address(path: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE)
    asked: list[str | None] = []
    tls.sni_callback = lambda _link, name, _context: asked.append(name)
    async with HostileServer(tls) as server:
        server.answers |= {"/a.png": answer(PNG), "/down": redirect(f"http://{HOST}:{server.port}/a.png")}
        await fetch(server, path, server.url("/a.png", HOST))
        assert path.read_bytes() == PNG
        assert asked == [HOST]
        path.unlink()
        assert "no valid certificate" in await refusal(server, path, server.url("/a.png?secret"))
        assert "from https to http" in await refusal(server, path, server.url("/down", HOST))


async def test_a_body_is_counted_whatever_length_it_is_said_to_have(server: HostileServer, path: Path) -> None:
    rule = f"has more than {MOST} bytes"
    server.answers["/a.png"] = answer(PNG, length=MOST + 1)
    assert rule in await refusal(server, path)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server.answers["/a.png"] = partial(
        endless, beginning=chunked + b"8\r\n" + PNG[:8] + b"\r\n", chunk=b"4\r\nabcd\r\n"
    )
    assert rule in await refusal(server, path)
    server.answers["/a.png"] = partial(endless, beginning=b"HTTP/1.1 200 OK\r\n\r\n" + PNG[:8], chunk=b"x" * 4096)
    assert rule in await refusal(server, path)
    await asyncio.wait_for(server.left.wait(), 5)


async def test_a_length_that_lies_low_or_high_yields_no_other_file(server: HostileServer, path: Path) -> None:
    server.answers["/a.png"] = answer(PNG, length=len(PNG) + 1)
    assert "broke off" in await failure(server, path)
    server.answers["/a.png"] = answer(PNG + b"<script>", length=len(PNG))
    await fetch(server, path)
    assert path.read_bytes() == PNG
    path.unlink()
    for wrong in ("-1", "1, 2", "0x10", "9" * 30, "\u0661"):
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {wrong}\r\n\r\n"
        server.answers["/a.png"] = head.encode() + PNG
        with pytest.raises((FetchFailedError, FetchRefusedError)):
            await fetch(server, path)
        assert not path.exists()


async def test_a_compressed_body_is_refused_before_it_is_read(server: HostileServer, path: Path) -> None:
    bomb = gzip.compress(PNG + b"\0" * 10_000_000)
    server.answers["/a.png"] = answer(bomb, "Content-Encoding: gzip")
    assert "compressed" in await refusal(server, path)
    server.answers["/a.png"] = answer(PNG, "Content-Encoding: identity, br")
    assert "compressed" in await refusal(server, path)
    server.answers["/a.png"] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    assert "not HTTP/1.1" in await failure(server, path)
    server.answers["/a.png"] = answer(bomb)  # unannounced, it is what its bytes are
    assert "but is application/gzip" in await refusal(server, path)


async def test_the_type_is_what_the_bytes_say(server: HostileServer, path: Path) -> None:
    for content in (b"<html>", b"", b"%PDF-1.7", PNG[1:]):
        server.answers["/a.png"] = answer(content, "Content-Type: image/png")
        assert "must be image/png or" in await refusal(server, path)


async def test_what_is_of_the_wrong_type_is_not_fetched_to_its_end(server: HostileServer, path: Path) -> None:
    server.answers["/a.png"] = partial(endless, beginning=b"HTTP/1.1 200 OK\r\n\r\n", chunk=b"<html>" * 100)
    assert "of no known kind" in await refusal(server, path)
    await asyncio.wait_for(server.left.wait(), 5)


@pytest.mark.parametrize(
    ("beginning", "chunk"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + PNG[:8], b"z"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["status", "header", "body", "informational"],
)
async def test_a_slow_drip_ends_with_the_time_for_the_whole(
    server: HostileServer, path: Path, beginning: bytes, chunk: bytes
) -> None:
    server.answers["/a.png"] = partial(endless, beginning=beginning, chunk=chunk, pause_s=0.05)
    began = time.monotonic()
    why = await failure(server, path, fetching(server, total_s=0.6))
    assert "longer than 0.6 s" in why or "not HTTP/1.1" in why
    assert time.monotonic() - began < 3


async def test_silence_ends_sooner(server: HostileServer, path: Path) -> None:
    server.answers["/a.png"] = silent
    assert "sent nothing for 0.3 s" in await failure(server, path)


async def test_a_handshake_that_is_not_answered_ends(path: Path) -> None:
    accepted = asyncio.Event()

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await asyncio.Event().wait()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    files = RemoteFiles(FetchSettings(allow=(AllowedPlace.parse("127.0.0.1"),), idle_s=0.3))
    with pytest.raises(FetchFailedError, match="cannot be connected to"):
        await files.fetch(f"https://127.0.0.1:{port}/", path, types=IMAGE_TYPES, max_bytes=MOST)
    assert accepted.is_set()
    listening.close()


async def test_endless_headers_are_cut_off(server: HostileServer, path: Path) -> None:
    server.answers["/a.png"] = partial(endless, beginning=b"HTTP/1.1 200 OK\r\n", chunk=b"X: " + b"y" * 4000 + b"\r\n")
    assert "not HTTP/1.1" in await failure(server, path)


@pytest.mark.parametrize("raw", [b"", b"SSH-2.0-OpenSSH\r\n", b"\0" * 100, b"HTTP/9 200\r\n\r\n", b"* OK IMAP\r\n\r\n"])
async def test_what_does_not_speak_http_is_a_failure(server: HostileServer, path: Path, raw: bytes) -> None:
    server.answers["/a.png"] = raw
    assert "not HTTP/1.1" in await failure(server, path)


async def test_a_status_decides_whether_it_may_succeed_later(server: HostileServer, path: Path) -> None:
    for status in ("500 No", "503 No", "429 No", "408 No"):
        server.answers["/a.png"] = answer(PNG, status=status)
        assert status[:3] in await failure(server, path)
    for status in ("404 No", "403 No", "206 Part", "204 None", "304 Not", "300 Many"):
        server.answers["/a.png"] = answer(b"", status=status)
        assert status[:3] in await refusal(server, path)


async def test_a_file_that_still_has_its_tag_is_not_fetched_again(server: HostileServer, path: Path) -> None:
    async def again(etag: str | None) -> FetchedFile | None:
        return await fetching(server).fetch_unless(etag, server.url("/a.png"), path, types=IMAGE_TYPES, max_bytes=MOST)

    server.answers["/a.png"] = answer(PNG, 'ETag: "one"')
    first = await again(None)
    assert first is not None
    assert first.etag == '"one"'
    path.unlink()
    server.answers["/a.png"] = answer(status="304 Not Modified")
    assert await again('"one"') is None
    assert 'If-None-Match: "one"' in server.heads[-1]
    assert not path.exists()
    assert "answered 304" in await refusal(server, path)  # to a question that was not asked


async def test_a_weak_tag_vouches_for_no_bytes(server: HostileServer, path: Path) -> None:
    server.answers["/a.png"] = answer(PNG, 'ETag: W/"one"')
    assert (await fetch(server, path)).etag is None


async def test_nobody_listening_is_a_failure(server: HostileServer, path: Path) -> None:
    files = RemoteFiles(FetchSettings(allow=(AllowedPlace.parse("127.0.0.1"),)))
    with pytest.raises(FetchFailedError, match="cannot be connected to"):
        await files.fetch("http://127.0.0.1:1/a.png", path, types=IMAGE_TYPES, max_bytes=MOST)


async def test_a_fetch_that_is_cancelled_ends_at_once(server: HostileServer, path: Path) -> None:
    server.answers["/a.png"] = partial(
        endless, beginning=b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + PNG[:8], chunk=b"z", pause_s=0.01
    )
    task = asyncio.create_task(fetch(server, path, files=fetching(server, total_s=60)))
    async with asyncio.timeout(5):
        while not path.exists():  # noqa: ASYNC110 - the fetch sets no event of ours
            await asyncio.sleep(0.01)
    task.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 0.5
    assert not path.exists()
