"""Whom webhooks may be sent to, and one POST to such a receiver.

The guard is the one of files that are fetched by URL: public addresses, and what the operator allows. The connection
goes to an address that was looked at, and no redirect is followed, since it could lead anywhere.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from cogreel.v1.errors_pb2 import ErrorReason

from files.errors import FetchFailedError, FetchRefusedError
from files.fetch_guard import FetchGuard, FetchSettings, Resolve, resolve_host
from files.http_exchange import HttpAnswer, HttpRequest, exchange
from files.remote_url import RemoteUrl
from jobs.errors import InvalidInputError, Violation
from service.errors import CallError
from service.webhook_signing import Headers

FIELD = "webhook_url"
_BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_SECONDS = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a POST: `status` is HTTP's, 0 where nobody answered, and `problem` what was wrong, if anything.

    `final` tells that trying again is of no use; `retry_after_s` is how long the receiver asks to be left alone.
    """

    status: int
    problem: str = ""
    final: bool = False
    retry_after_s: float = 0.0


class Receivers:
    """Calls receivers by the settings of fetching.

    `timeout_s` bounds a whole POST; `resolve` asks the DNS, and `tls` says which certificates are trusted: by default
    what the system trusts.
    """

    def __init__(
        self,
        fetching: FetchSettings,
        *,
        timeout_s: float,
        resolve: Resolve = resolve_host,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._sources = fetching.sources
        self._guard = FetchGuard(fetching, resolve)
        self._timeout_s = timeout_s
        self._tls = tls or ssl.create_default_context()

    def check(self, url: str) -> None:
        """Return if nothing speaks against the URL of a webhook before its host is resolved. No I/O.

        Raises:
            InvalidInputError: it cannot be read, or its host is an address that may not be called.
            CallError: UNIMPLEMENTED: nothing is called from here.
        """
        if self._sources == "none":
            rule = "this installation calls no other servers, so it delivers no webhooks"
            raise CallError(
                ErrorReason.ERROR_REASON_UNIMPLEMENTED, f"{FIELD}: {rule}", violations=[Violation(FIELD, rule)]
            )
        try:
            parsed = RemoteUrl.parse(url)
        except FetchRefusedError as error:
            raise InvalidInputError([Violation(FIELD, str(error))]) from error
        try:
            self._guard.check(parsed)
        except FetchRefusedError as error:
            raise InvalidInputError([Violation(FIELD, _not_called(parsed))]) from error

    async def post(self, url: str, headers: Headers, body: bytes) -> Reply:
        """Send one POST, and see what the receiver answers. The body of its answer is of no interest."""
        try:
            parsed = RemoteUrl.parse(url)
        except FetchRefusedError as error:  # an older version may have taken it
            return Reply(0, str(error), final=True)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._post(parsed, headers, body)
        except TimeoutError:
            return Reply(0, f"{parsed.shown} did not answer within {self._timeout_s:g} s")

    async def _post(self, url: RemoteUrl, headers: Headers, body: bytes) -> Reply:
        try:
            addresses = await self._guard.admit(url)
        except FetchRefusedError:
            return Reply(0, _not_called(url), final=True)
        except FetchFailedError as error:
            return Reply(0, str(error))
        request = HttpRequest(
            url, "POST", (("User-Agent", "CogReel"), ("Content-Type", "application/json"), *headers), body
        )
        try:
            async with exchange(request, addresses, self._tls, idle_s=self._timeout_s) as answer:
                return _judged(url, answer)
        except (FetchRefusedError, FetchFailedError) as error:  # a certificate may be renewed, a server come back
            return Reply(0, str(error))


def host_of(url: str) -> str:
    """The host of a webhook's URL; empty if it cannot be read."""
    try:
        return RemoteUrl.parse(url).host
    except FetchRefusedError:
        return ""


def _judged(url: RemoteUrl, answer: HttpAnswer) -> Reply:
    status = answer.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Reply(status)
    if status == HTTPStatus.GONE:
        return Reply(status, f"{url.shown} answered 410: it wants no more webhooks", final=True)
    if status < HTTPStatus.BAD_REQUEST:
        return Reply(status, f"{url.shown} answered {status}, and redirects are not followed")
    return Reply(status, f"{url.shown} answered {status}", retry_after_s=_retry_after_s(answer))


def _retry_after_s(answer: HttpAnswer) -> float:
    """What a receiver that has too much to do asks for (RFC 9110, section 10.2.3): seconds, or a date; 0 if nothing."""
    text = (answer.header("retry-after") or "").strip()
    if answer.status not in _BUSY or not text:
        return 0.0
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _not_called(url: RemoteUrl) -> str:
    # The same text where there is no such name: callers are not told which names the inside has, nor their addresses.
    return f"{url.shown} is at no address that this installation may call"
