"""Fetches a finished video by HTTP: whole or not at all, checked, and never over another file unasked."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import grpc

from cogreel.errors import DownloadError, ErrorDetails
from cogreel.retry import Retrying, RetryPolicy
from cogreel.v1.video_pb2 import File, VideoOutput

_CHUNK_BYTES = 1024 * 1024
_SOCKET_TIMEOUT_S = 30  # without a single byte

# Worth another try: the store is overloaded or restarting. Anything else in 4xx says no for good.
_TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Source:
    """Where a file is, and what is known of it."""

    url: str
    size: int | None = None
    """Size in bytes."""
    sha256: str = ""
    """SHA-256 in hexadecimal; empty if not known."""

    @classmethod
    def of(cls, what: VideoOutput | File | str) -> Source:
        """The source that a result, a file or a URL names."""
        if isinstance(what, str):
            return cls(what)
        file = what.video if isinstance(what, VideoOutput) else what
        return cls(
            file.url,
            file.file_size if file.HasField("file_size") else None,
            what.sha256 if isinstance(what, VideoOutput) else "",
        )


def fetch(source: Source, path: Path, *, overwrite: bool, policy: RetryPolicy, stop: Event) -> Path:
    """Fetch `source` into `path`; returns `path`. Until all bytes are there and checked, `path` is not touched.

    Args:
        overwrite: whether an existing file may be replaced.
        policy: how long to go on trying while the store is out of reach.
        stop: gives up soon after it is set, by another thread.

    Raises:
        FileExistsError: `path` exists and may not be replaced.
        DownloadError: the store refused or stayed out of reach, or the bytes are not those that the service stored.
        OSError: `path` cannot be written.
    """
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists")
    if urlsplit(source.url).scheme not in {"http", "https"}:
        raise DownloadError(ErrorDetails(f"{source.url!r} is not an http or https URL"))
    partial = path.with_name(f".cogreel-{uuid.uuid4().hex[:12]}.part")
    retrying = Retrying(policy)
    try:
        while True:
            try:
                _fetch_once(source, partial, stop)
                break
            except DownloadError as error:
                stop.wait(retrying.delay_after(error))
        if stop.is_set():
            raise _refusal("the download was stopped")
        if not overwrite:
            path.touch(exist_ok=False)  # the claim is atomic: of two downloads, one wins
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _fetch_once(source: Source, partial: Path, stop: Event) -> None:
    digest = hashlib.sha256()
    received = 0
    with partial.open("wb") as file:
        try:
            with urllib.request.urlopen(source.url, timeout=_SOCKET_TIMEOUT_S) as response:  # noqa: S310 # checked above
                announced = response.headers.get("Content-Length")
                while chunk := response.read(_CHUNK_BYTES):
                    if stop.is_set():
                        raise _refusal("the download was stopped")
                    file.write(chunk)
                    digest.update(chunk)
                    received += len(chunk)
        except urllib.error.HTTPError as error:
            with error:
                raise _http_failure(error.code) from error
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            raise _outage(f"the store is out of reach: {error}") from error
    expected = int(announced) if announced else source.size
    if expected is not None and received < expected:
        raise _outage(f"the download broke off after {received} of {expected} bytes")
    if source.sha256 and digest.hexdigest() != source.sha256:
        raise _refusal(f"the file has SHA-256 {digest.hexdigest()}, but the service stored {source.sha256}")


def _http_failure(status: int) -> DownloadError:
    if status in _TRANSIENT_STATUS:
        return _outage(f"the store answered with HTTP status {status}")
    return _refusal(
        f"the store answered with HTTP status {status}; URLs expire: ask for the result again for a new one"
    )


def _refusal(message: str) -> DownloadError:
    return DownloadError(ErrorDetails(message))


def _outage(message: str) -> DownloadError:
    return DownloadError(ErrorDetails(message, grpc.StatusCode.UNAVAILABLE))
