"""The object store: one bucket on any S3 server, used from asyncio.

Plain S3 only, so that MinIO, SeaweedFS and hosted stores all serve. The SDK is synchronous; each call runs in
a thread, with bounds within which a dead store fails. A call that is cancelled may still take effect.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

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

_PART_BYTES = 16 * 1024 * 1024  # a video goes up in one piece; S3 allows parts from 5 MiB on
_LIST_PAGE = 1000  # S3's own page

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


@dataclass(frozen=True)
class StoredObject:
    """What the store knows of an object."""

    key: str
    size_bytes: int
    etag: str
    """Changes with the content; not always a digest of it."""
    content_type: str | None = None
    """Absent from listings."""
    modified_at: datetime | None = None
    """In UTC; absent from the answer to a put."""


class ObjectStore:
    """One bucket.

    Every call that reaches the store may raise `StoreUnavailableError`. What else the store refuses
    (credentials, a missing bucket) passes as `minio.error.S3Error`: it is a matter of configuration.
    """

    def __init__(self, settings: ObjectStoreSettings) -> None:
        self.settings = settings
        self._bucket = settings.bucket
        self._client = _client(settings, settings.endpoint, secure=settings.secure)
        # Signing uses no network, but the host is part of what is signed.
        self._public_client = (
            self._client
            if settings.public_endpoint is None
            else _client(settings, settings.public_endpoint, secure=settings.public_secure)
        )

    async def ensure_bucket(self) -> None:
        """Create the bucket, if it is not there. It gets no policy: nothing in it is public."""
        await self._call(None, self._ensure_bucket)

    async def check(self) -> None:
        """Return if the store answers and the bucket is there.

        Raises:
            LookupError: the store answers, and has no such bucket.
        """
        if not await self._call(None, partial(self._client.bucket_exists, self._bucket)):
            raise LookupError(f"no bucket {self._bucket}")

    async def put_file(self, key: str, path: Path, *, content_type: str, file_name: str | None = None) -> StoredObject:
        """Store a file, replacing what the key held.

        Args:
            key: where.
            path: the file.
            content_type: what the store answers as its Content-Type.
            file_name: what browsers call it when they save it.

        Raises:
            OSError: the file cannot be read.
        """
        size_bytes = (await asyncio.to_thread(path.stat)).st_size
        result = await self._call(
            key,
            partial(
                self._client.fput_object,
                self._bucket,
                key,
                str(path),
                content_type=content_type,
                metadata=_disposition_headers(file_name),
                part_size=_PART_BYTES,
                num_parallel_uploads=1,
            ),
        )
        return StoredObject(key, size_bytes, result.etag or "", content_type)

    async def put_bytes(
        self, key: str, content: bytes, *, content_type: str, file_name: str | None = None
    ) -> StoredObject:
        """Store bytes, replacing what the key held. Arguments as for `put_file`."""
        result = await self._call(
            key,
            partial(
                self._client.put_object,
                self._bucket,
                key,
                BytesIO(content),
                len(content),
                content_type=content_type,
                metadata=_disposition_headers(file_name),
                part_size=_PART_BYTES,
                num_parallel_uploads=1,
            ),
        )
        return StoredObject(key, len(content), result.etag or "", content_type)

    async def read(self, key: str) -> bytes:
        """The whole content. Raises `ObjectNotFoundError`."""
        async with self.open(key) as chunks:
            return b"".join([chunk async for chunk in chunks])

    @asynccontextmanager
    async def open(self, key: str, *, chunk_bytes: int = 1024 * 1024) -> AsyncIterator[AsyncIterator[bytes]]:
        """The content in chunks of at most `chunk_bytes`. Raises `ObjectNotFoundError`, on entering."""
        response = await self._call(key, partial(self._client.get_object, self._bucket, key))

        async def chunks() -> AsyncIterator[bytes]:
            while chunk := await self._call(key, partial(response.read, chunk_bytes)):
                yield chunk

        try:
            yield chunks()
        finally:
            response.close()
            response.release_conn()

    async def stat(self, key: str) -> StoredObject | None:
        """What the store knows of an object, or None if there is none of this key."""
        try:
            found = await self._call(key, partial(self._client.stat_object, self._bucket, key))
        except ObjectNotFoundError:
            return None
        return StoredObject(key, found.size or 0, found.etag or "", found.content_type, found.last_modified)

    def presign_get(
        self, key: str, expires_s: float, *, file_name: str | None = None, content_type: str | None = None
    ) -> str:
        """A URL on the public endpoint from which anyone may fetch the object until it expires. No I/O.

        Args:
            key: of the object, which is not looked up.
            expires_s: from now, 1 s to 7 days, in whole seconds.
            file_name: what browsers call it when they save it, in place of the name that it was stored with.
            content_type: in place of the type that it was stored with.

        Raises:
            ValueError: `expires_s` is out of range.
        """
        overrides = {f"response-{name.lower()}": value for name, value in _disposition_headers(file_name).items()}
        if content_type is not None:
            overrides["response-content-type"] = content_type
        return self._public_client.presigned_get_object(
            self._bucket, key, timedelta(seconds=int(expires_s)), response_headers={**overrides}
        )

    async def remove(self, key: str) -> None:
        """Remove an object. One that is not there is no error."""
        await self._call(key, partial(self._client.remove_object, self._bucket, key))

    async def list_keys(self, prefix: str) -> list[str]:
        """The keys that begin with `prefix`, in order."""
        return [found.key async for found in self.list_objects(prefix)]

    async def list_objects(self, prefix: str) -> AsyncIterator[StoredObject]:
        """The objects whose keys begin with `prefix`, in the order of their keys, page by page."""
        listing = self._client.list_objects(self._bucket, prefix, recursive=True)
        while page := await self._call(None, lambda: list(islice(listing, _LIST_PAGE))):
            for found in page:
                yield StoredObject(
                    found.object_name or "",
                    found.size or 0,
                    found.etag or "",
                    modified_at=found.last_modified,
                )

    def _ensure_bucket(self) -> None:
        if self._client.bucket_exists(self._bucket):
            return
        try:
            self._client.make_bucket(self._bucket, self.settings.region)
        except S3Error as error:
            # Another process of ours was faster.
            if error.code != "BucketAlreadyOwnedByYou":
                raise

    async def _call(self, key: str | None, function: Callable[[], _T]) -> _T:
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
        if error.code == "NoSuchKey" and key is not None:
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


def _disposition_headers(file_name: str | None) -> dict[str, str | list[str] | tuple[str]]:
    """Content-Disposition by RFC 6266: shown by browsers that can, saved under this name."""
    if file_name is None:
        return {}
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in file_name)
    disposition = f'inline; filename="{plain}"'
    if plain != file_name:
        disposition += f"; filename*=UTF-8''{quote(file_name, safe='')}"
    return {"Content-Disposition": disposition}
