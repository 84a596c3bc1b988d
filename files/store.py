"""The object store: whole objects, and presigned URLs, in one bucket on any S3 server.

Plain S3 only, so that MinIO, SeaweedFS and hosted stores all serve. A call that is cancelled may still take effect.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from minio.commonconfig import CopySource
from minio.error import S3Error

from files.bucket import Bucket, ObjectStoreSettings
from files.errors import ObjectNotFoundError
from files.keys import VIDEOS

_PART_BYTES = 16 * 1024 * 1024  # a video goes up in one piece; S3 allows parts from 5 MiB on
ACCESS_DENIED = "AccessDenied"
_LIST_PAGE = 1000  # S3's own page


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
        self.bucket = Bucket(settings)
        """The way to the bucket, for what is not done with whole objects."""
        self._bucket = settings.bucket
        self._client = self.bucket.client

    async def ensure_bucket(self) -> None:
        """Create the bucket, if it is not there. It gets no policy: nothing in it is public.

        Credentials that may not look at it, as those of a worker alone, are believed once the store knows them.
        """
        await self.bucket.call(None, self._ensure_bucket)

    async def check(self) -> None:
        """Return if the store answers and the bucket is there.

        Raises:
            LookupError: the store answers, and has no such bucket.
        """
        if not await self.bucket.call(None, partial(self._client.bucket_exists, self._bucket)):
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
        result = await self.bucket.call(
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
        result = await self.bucket.call(
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

    async def read_head(self, key: str, size_bytes: int) -> bytes:
        """The first bytes of the content, at most `size_bytes`. Raises `ObjectNotFoundError`."""

        def read() -> bytes:
            response = self._client.get_object(self._bucket, key, length=size_bytes)
            try:
                content: bytes = response.read()
                return content
            finally:
                response.close()
                response.release_conn()

        return await self.bucket.call(key, read)

    @asynccontextmanager
    async def open(self, key: str, *, chunk_bytes: int = 1024 * 1024) -> AsyncIterator[AsyncIterator[bytes]]:
        """The content in chunks of at most `chunk_bytes`. Raises `ObjectNotFoundError`, on entering."""
        response = await self.bucket.call(key, partial(self._client.get_object, self._bucket, key))

        async def chunks() -> AsyncIterator[bytes]:
            while chunk := await self.bucket.call(key, partial(response.read, chunk_bytes)):
                yield chunk

        try:
            yield chunks()
        finally:
            response.close()
            response.release_conn()

    async def stat(self, key: str) -> StoredObject | None:
        """What the store knows of an object, or None if there is none of this key."""
        try:
            found = await self.bucket.call(key, partial(self._client.stat_object, self._bucket, key))
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
        return self.bucket.public_client.presigned_get_object(
            self._bucket, key, timedelta(seconds=int(expires_s)), response_headers={**overrides}
        )

    async def copy(self, source: str, target: str) -> None:
        """Copy an object within the bucket, without fetching it. Raises `ObjectNotFoundError`."""
        origin = CopySource(self._bucket, source)
        await self.bucket.call(source, partial(self._client.copy_object, self._bucket, target, origin))

    async def remove(self, key: str) -> None:
        """Remove an object. One that is not there is no error."""
        await self.bucket.call(key, partial(self._client.remove_object, self._bucket, key))

    async def list_keys(self, prefix: str) -> list[str]:
        """The keys that begin with `prefix`, in order."""
        return [found.key async for found in self.list_objects(prefix)]

    async def list_objects(self, prefix: str) -> AsyncIterator[StoredObject]:
        """The objects whose keys begin with `prefix`, in the order of their keys, page by page."""
        listing = self._client.list_objects(self._bucket, prefix, recursive=True)
        while page := await self.bucket.call(None, lambda: list(islice(listing, _LIST_PAGE))):
            for found in page:
                yield StoredObject(
                    found.object_name or "",
                    found.size or 0,
                    found.etag or "",
                    modified_at=found.last_modified,
                )

    def _ensure_bucket(self) -> None:
        try:
            if self._client.bucket_exists(self._bucket):
                return
        except S3Error as error:
            if error.code != ACCESS_DENIED:
                raise
            self._ensure_known()
            return
        try:
            self._client.make_bucket(self._bucket, self.settings.region)
        except S3Error as error:
            # Another process of ours was faster.
            if error.code != "BucketAlreadyOwnedByYou":
                raise

    def _ensure_known(self) -> None:
        """Raise if these credentials are wrong, and not only narrow: the answer to a look at a bucket does not tell."""
        try:
            self._client.get_object(self._bucket, f"{VIDEOS}none").release_conn()
        except S3Error as error:
            if error.code not in {ACCESS_DENIED, "NoSuchKey"}:
                raise


def _disposition_headers(file_name: str | None) -> dict[str, str | list[str] | tuple[str]]:
    """Content-Disposition by RFC 6266: shown by browsers that can, saved under this name."""
    if file_name is None:
        return {}
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in file_name)
    disposition = f'inline; filename="{plain}"'
    if plain != file_name:
        disposition += f"; filename*=UTF-8''{quote(file_name, safe='')}"
    return {"Content-Disposition": disposition}
