"""Uploads in parts, for which the SDK has no public calls: those that it uses itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from minio.datatypes import Part

from files.bucket import Bucket
from files.errors import ObjectNotFoundError

_PAGE = 1000


@dataclass(frozen=True)
class StoredPart:
    """A part that the store has."""

    number: int
    etag: str
    size_bytes: int


@dataclass(frozen=True)
class UnfinishedUpload:
    """An upload in parts that was neither completed nor aborted."""

    key: str
    upload_id: str
    initiated_at: datetime | None


class MultipartUploads:
    """The uploads in parts of one bucket; errors as those of `ObjectStore`.

    What is said of an upload that the store does not know (any more) raises `ObjectNotFoundError`.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._client = bucket.client

    async def begin(self, key: str, *, content_type: str) -> str:
        """Begin an upload; returns the store's id for it."""
        headers: dict[str, str | list[str] | tuple[str]] = {"Content-Type": content_type}
        create = self._client._create_multipart_upload
        return await self._bucket.call(key, partial(create, self._bucket.name, key, headers))

    async def parts(self, key: str, upload_id: str) -> list[StoredPart]:
        """The parts that the store has, by number."""
        found: list[StoredPart] = []
        marker: str | None = None
        while True:
            page = await self._bucket.call(
                key,
                partial(
                    self._client._list_parts,
                    self._bucket.name,
                    key,
                    upload_id,
                    part_number_marker=marker,
                ),
            )
            found += [StoredPart(part.part_number, part.etag, part.size or 0) for part in page.parts]
            if not page.is_truncated or not page.parts:
                return found
            marker = str(page.parts[-1].part_number)

    async def complete(self, key: str, upload_id: str, parts: Sequence[StoredPart]) -> None:
        """Make one object of the parts, which are in the order of their numbers."""
        joined = [Part(part.number, part.etag) for part in parts]
        complete = self._client._complete_multipart_upload
        await self._bucket.call(key, partial(complete, self._bucket.name, key, upload_id, joined))

    async def abort(self, key: str, upload_id: str) -> None:
        """Drop an upload and its parts. One that is not there is no error."""
        abort = self._client._abort_multipart_upload
        try:
            await self._bucket.call(key, partial(abort, self._bucket.name, key, upload_id))
        except ObjectNotFoundError:
            return

    async def unfinished(self, prefix: str) -> list[UnfinishedUpload]:
        """The first thousand uploads under a prefix that were neither completed nor aborted."""
        listing = self._client._list_multipart_uploads
        page = await self._bucket.call(None, partial(listing, self._bucket.name, prefix=prefix, max_uploads=_PAGE))
        return [UnfinishedUpload(up.object_name, up.upload_id or "", up.initiated_time) for up in page.uploads]
