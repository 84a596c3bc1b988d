"""Puts pieces of a file into the store by presigned URLs."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import grpc

from cogreel.errors import ErrorDetails, UploadError
from cogreel.upload_source import Content, Piece

PARTS_AT_ONCE = 4
_SOCKET_TIMEOUT_S = 30  # without a single byte
_ALREADY_THERE = http.client.PRECONDITION_FAILED  # an earlier try has arrived, and only its answer was lost

# Worth another try: the store is overloaded or restarting. Anything else in 4xx says no for good.
_TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})


class StoreOutOfReachError(Exception):
    """The store cannot be reached from here, or not under the name that was signed."""


class Putter:
    """Puts pieces of one file; threads may share it."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._reached = False

    def put(self, url: str, headers: Mapping[str, str], start: int, size: int) -> None:
        """Put one piece.

        Raises:
            StoreOutOfReachError: the store has never answered.
            UploadError: it refuses; UNAVAILABLE where another try may help.
        """
        with self._content.path.open("rb") as file:
            request = urllib.request.Request(  # noqa: S310 - a URL that the service has made
                url,
                data=Piece(self._content, file, start, size),
                method="PUT",
                headers={"Content-Type": "application/octet-stream", **headers, "Content-Length": str(size)},
            )
            try:
                with urllib.request.urlopen(request, timeout=_SOCKET_TIMEOUT_S):  # noqa: S310 - as above
                    self._reached = True
            except urllib.error.HTTPError as error:
                with error:
                    if error.code != _ALREADY_THERE:
                        raise self._refusal(error.code) from error
            except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
                if not self._reached:
                    raise StoreOutOfReachError from error
                raise _outage(f"the store is out of reach: {error}") from error

    def put_parts(self, urls: Mapping[int, str], part_size: int) -> None:
        """Put parts of `part_size` bytes, several at a time. What has arrived stays, whatever becomes of the others.

        Raises:
            StoreOutOfReachError, UploadError: as `put`, for the first part that failed.
        """
        with ThreadPoolExecutor(PARTS_AT_ONCE, thread_name_prefix="upload") as pool:
            puts = []
            for number, url in urls.items():
                start = (number - 1) * part_size
                puts.append(pool.submit(self.put, url, {}, start, min(part_size, self._content.size - start)))
            try:
                wait(puts, return_when=FIRST_EXCEPTION)
            except KeyboardInterrupt:
                self._content.stop.set()  # else the pool waits for parts that nobody wants any more
                raise
            for put in puts:
                put.cancel()
        failures = [error for put in puts if not put.cancelled() and (error := put.exception()) is not None]
        for error in failures:
            if isinstance(error, StoreOutOfReachError) and self._reached:  # by another part, in the meantime
                raise _outage("the connection to the store broke off") from error
            raise error

    def _refusal(self, status: int) -> Exception:
        if status in _TRANSIENT_STATUS:
            self._reached = True
            return _outage(f"the store answered with HTTP status {status}")
        if status == http.client.FORBIDDEN and not self._reached:  # a proxy on the way changes what was signed
            return StoreOutOfReachError()
        return UploadError(ErrorDetails(f"the store refused the upload with HTTP status {status}"))


def _outage(message: str) -> UploadError:
    return UploadError(ErrorDetails(message, grpc.StatusCode.UNAVAILABLE))
