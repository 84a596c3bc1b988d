"""The way to one bucket: connection, credentials, and what the SDK's errors mean.

The SDK is synchronous; each call runs in a thread, with bounds within which a dead store fails.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError

from files.errors import ObjectNotFoundError, StoreUnavailableError

# A dead store fails within 5 s: twice 2 s without a connection, or 4.5 s without an answer, and the pauses.
_CONNECT_TIMEOUT_S = 2.0
_READ_TIMEOUT_S = 4.5
_RETRIES = urllib3.Retry(
    total=2,
    connect=1,
    read=0,
    backoff_factor=0.1,
    status_forcelist=[500, 502, 503, 504],
)
_CONNECTIONS = 16

_NOT_FOUND = frozenset({"NoSuchKey", "NoSuchUpload"})

_T = TypeVar("_T")


@dataclass(frozen=True)
class ObjectStoreSettings:
    """Where the bucket is, and how callers of ours reach it."""

    endpoint: str
    """`host:port` for this process."""
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str
    """3 to 63 characters, as S3 wants."""
    region: str = "us-east-1"
    """Part of every signature; most servers of one's own take any."""
    secure: bool = True
    """Whether `endpoint` speaks TLS."""
    public_endpoint: str | None = None
    """`host[:port]` in presigned URLs, as callers reach it; None means `endpoint`. A proxy there must pass the
    Host header on, because it is signed."""
    public_secure: bool = True
    """Whether `public_endpoint` speaks TLS."""


class Bucket:
    """The bucket of `settings`, through the SDK: `client` as this process reaches it, `public_client` as callers do."""

    def __init__(self, settings: ObjectStoreSettings) -> None:
        self.settings = settings
        self.name = settings.bucket
        self.client = _client(settings, settings.endpoint, secure=settings.secure)
        # Signing uses no network, but the host is part of what is signed.
        self.public_client = (
            self.client
            if settings.public_endpoint is None
            else _client(settings, settings.public_endpoint, secure=settings.public_secure)
        )

    async def call(self, key: str | None, function: Callable[[], _T]) -> _T:
        """Run a call of the SDK in a thread; `key` is the object that it is about.

        Raises:
            ObjectNotFoundError: there is no such object or upload.
            StoreUnavailableError: the store is out of reach, or fails.
        """

        def call() -> _T:
            with _translated_errors(key):
                return function()

        return await asyncio.to_thread(call)


def _client(settings: ObjectStoreSettings, endpoint: str, *, secure: bool) -> Minio:
    return Minio(
        endpoint,
        access_key=settings.access_key,
        secret_key=settings.secret_key,
        secure=secure,
        region=settings.region,  # else signing asks the store for it
        http_client=urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=_READ_TIMEOUT_S),
            maxsize=_CONNECTIONS,
            retries=_RETRIES,
        ),
    )


@contextmanager
def _translated_errors(key: str | None) -> Iterator[None]:
    try:
        yield
    except S3Error as error:
        if error.code in _NOT_FOUND and key is not None:
            raise ObjectNotFoundError(key) from error
        if error.response.status >= HTTPStatus.INTERNAL_SERVER_ERROR or error.code == "SlowDown":
            raise StoreUnavailableError(f"the object store failed: {error.code}") from error
        raise
    except InvalidResponseError as error:  # not S3's XML: a proxy answers, or a server that is not up yet
        raise StoreUnavailableError(f"the object store gave no answer of S3: {error}") from error
    except ServerError as error:
        if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise StoreUnavailableError(f"the object store failed: {error}") from error
        raise
    except urllib3.exceptions.HTTPError as error:
        raise StoreUnavailableError(f"the object store is out of reach: {error}") from error
