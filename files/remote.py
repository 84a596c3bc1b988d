"""Files of other servers: fetched from where the guard lets, through redirects, within limits, and looked at.

Nothing that the other server says of its file is believed: its type is what its bytes say, and its length is counted.
A compressed body is refused, so that what is counted is what is stored.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from files.content_type import HEAD_BYTES, sniff
from files.errors import FetchFailedError, FetchRefusedError
from files.fetch_guard import FetchGuard, FetchSettings, Resolve, resolve_host
from files.http_exchange import HttpAnswer, HttpRequest, exchange
from files.own_urls import OwnUrls
from files.remote_url import RemoteUrl

MOST_REDIRECTS = 5

_WRITE_BYTES = 1024 * 1024
_HEADERS = (("User-Agent", "CogReel"), ("Accept", "*/*"), ("Accept-Encoding", "identity"))
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 425, 429})  # and all from 500 on: another time the server may deliver


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """What came: its type by its bytes, its length, its SHA-256 in hexadecimal, and the server's strong entity tag."""

    content_type: str
    size_bytes: int
    sha256: str
    etag: str | None = None


class RemoteFiles:
    """Fetches by the settings.

    `own_urls` are those of this installation's own store, where no redirect may lead; `resolve` asks the DNS, and `tls`
    says which certificates are trusted: by default what the system trusts.
    """

    def __init__(
        self,
        settings: FetchSettings,
        *,
        own_urls: OwnUrls | None = None,
        resolve: Resolve = resolve_host,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings
        self._guard = FetchGuard(settings, resolve)
        self._own_urls = own_urls
        self._tls = tls or ssl.create_default_context()

    async def fetch(self, url: str, path: Path, *, types: Collection[str], max_bytes: int) -> FetchedFile:
        """Fetch a file of one of `types`, and of at most `max_bytes`, to `path`, where there must be none.

        Cancelled, it ends at once. Unless it succeeds, nothing is left at `path`.

        Raises:
            FetchRefusedError: the URL, one that it redirects to, or the content breaks a rule.
            FetchFailedError: the server did not deliver, or not in time.
            OSError: the file cannot be written.
        """
        fetched = await self.fetch_unless(None, url, path, types=types, max_bytes=max_bytes)
        assert fetched is not None, "only what has a tag can be unchanged"
        return fetched

    async def fetch_unless(
        self, etag: str | None, url: str, path: Path, *, types: Collection[str], max_bytes: int
    ) -> FetchedFile | None:
        """As `fetch`, but None, and nothing at `path`, where the server says that the file still has this entity tag.

        See RFC 9110, section 13.1.2: If-None-Match.
        """
        first = RemoteUrl.parse(url)
        try:
            async with asyncio.timeout(self._settings.total_s), self._answered(first, etag) as answer:
                if answer.status == HTTPStatus.NOT_MODIFIED:
                    return None
                return await _saved(first, answer, path, types, max_bytes)
        except TimeoutError as error:
            raise FetchFailedError(f"{first.shown} took longer than {self._settings.total_s:g} s") from error

    @asynccontextmanager
    async def _answered(self, url: RemoteUrl, etag: str | None) -> AsyncIterator[HttpAnswer]:
        """The answer with the file itself, at the end of the redirects: each hop is checked and connected to anew.

        Where there is a tag to compare with, it may also be that nothing has changed.
        """
        headers = (*_HEADERS, ("If-None-Match", etag)) if etag else _HEADERS
        for _ in range(MOST_REDIRECTS + 1):
            if self._own_urls is not None and self._own_urls.key_of(str(url)) is not None:
                raise FetchRefusedError(f"{url.shown} is of this installation's own store")
            addresses = await self._guard.admit(url)
            request = HttpRequest(url, headers=headers)
            async with exchange(request, addresses, self._tls, idle_s=self._settings.idle_s) as answer:
                if answer.status not in _REDIRECTS:
                    if not (etag and answer.status == HTTPStatus.NOT_MODIFIED):
                        _check_head(url, answer)
                    yield answer
                    return
                onward = url.joined(answer.header("Location") or "")
            if url.scheme == "https" and onward.scheme == "http":
                raise FetchRefusedError(f"{url.shown} redirects from https to http")
            url = onward
        raise FetchRefusedError(f"{url.shown} comes after more than {MOST_REDIRECTS} redirects")


def _check_head(url: RemoteUrl, answer: HttpAnswer) -> None:
    if answer.status in _PASSING or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise FetchFailedError(f"{url.shown} answered {answer.status}")
    if answer.status != HTTPStatus.OK:
        raise FetchRefusedError(f"{url.shown} answered {answer.status}")
    if (answer.header("Content-Encoding") or "identity").strip().lower() != "identity":
        raise FetchRefusedError(f"{url.shown} is sent compressed, which was not asked for")


async def _saved(url: RemoteUrl, answer: HttpAnswer, path: Path, types: Collection[str], max_bytes: int) -> FetchedFile:
    announced = answer.header("Content-Length")
    if announced is not None and announced.isdecimal() and int(announced) > max_bytes:
        raise _too_large(url, max_bytes)
    digest, received = hashlib.sha256(), 0
    with _whole_or_not_at_all(path) as file:
        waiting = bytearray()  # so that a body in chunks of one byte costs no write for each
        content_type = ""
        async for chunk in answer.chunks():
            received += len(chunk)
            if received > max_bytes:
                raise _too_large(url, max_bytes)
            waiting += chunk
            if not content_type and len(waiting) >= HEAD_BYTES:  # before more of it is fetched
                content_type = _type_of(url, bytes(waiting[:HEAD_BYTES]), types)
            if len(waiting) >= _WRITE_BYTES:
                await _write(file, digest, waiting)
        content_type = content_type or _type_of(url, bytes(waiting), types)
        await _write(file, digest, waiting)
    return FetchedFile(content_type, received, digest.hexdigest(), _strong(answer.header("ETag")))


def _strong(etag: str | None) -> str | None:
    """An entity tag that vouches for every byte; a weak one does not."""
    return etag if etag and etag.startswith('"') else None


async def _write(file: BinaryIO, digest: hashlib._Hash, waiting: bytearray) -> None:
    content = bytes(waiting)
    waiting.clear()
    digest.update(content)
    await asyncio.to_thread(file.write, content)


@contextmanager
def _whole_or_not_at_all(path: Path) -> Iterator[BinaryIO]:
    with path.open("xb") as file:
        try:
            yield file
        except BaseException:
            path.unlink()
            raise


def _type_of(url: RemoteUrl, head: bytes, types: Collection[str]) -> str:
    found = sniff(head)
    if found is None or found not in types:
        raise FetchRefusedError(f"{url.shown} must be {' or '.join(types)}, but is {found or 'of no known kind'}")
    return found


def _too_large(url: RemoteUrl, max_bytes: int) -> FetchRefusedError:
    return FetchRefusedError(f"{url.shown} has more than {max_bytes} bytes")
