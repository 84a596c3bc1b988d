"""Files named in submissions: found or moved into the store, looked at, and replaced by the keys of their objects.

A URL of another server stays one: it is only read here, and what speaks against it before its host is resolved is said.
The worker fetches it, in the stage prepare, as a call is no place to wait for somebody else's server.

What is accepted here must still be there when the request runs, although uploads expire. A file is accepted while it
is younger than its lifetime, or while a request that is kept names it; `upload_sweeper` removes only what has been
neither for a margin far longer than it takes from here to the record. So between the two there is no race to lose.
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cogreel.v1.errors_pb2 import ErrorReason
from cogreel.v1.queue_pb2 import SubmitRequest
from cogreel.v1.video_pb2 import File

from files import (
    NotADataUriError,
    ObjectNotFoundError,
    ObjectStore,
    StoredObject,
    parse_upload_key,
    parse_video_key,
    upload_key,
)
from files.content_type import ACCEPTED, HEAD_BYTES, sniff
from files.data_uri import is_data_uri, parse_data_uri
from files.errors import FetchRefusedError
from files.fetch_guard import FetchGuard, FetchSettings
from files.hub import url_on_hub
from files.names import shown_name
from files.own_urls import OwnUrls
from files.remote_url import RemoteUrl
from jobs.errors import InvalidInputError, Violation
from jobs.input_file import OBJECT_SCHEME, FileKind, InputFile, input_files
from jobs.queue import digest_of
from service.errors import CallError, file_not_found
from service.pins import Pins
from service.upload_rules import UploadSettings

MAX_INLINE_BYTES = 24 * 1024**2  # as the contract bounds file_data


@dataclass(frozen=True, slots=True)
class Resolved:
    """A submission whose file is an object of ours, or a URL to fetch, and the digest that recognises a repetition."""

    submission: SubmitRequest
    digest: bytes


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a file comes from: an object of the tenant, `content` that came inline, or another server.

    `identity` is the same however the file was carried: signatures, names and encodings are not part of it. Of another
    server's file nothing is known but its `remote` URL, so that is what it is.
    """

    identity: str
    key: str = ""
    content: bytes = b""
    remote: str = ""

    @classmethod
    def inline(cls, content: bytes) -> _Source:
        """Content that came with the submission."""
        return cls(f"sha256:{hashlib.sha256(content).hexdigest()}", content=content)


class InputFiles:
    """Resolves the files of submissions, for one bucket."""

    def __init__(self, store: ObjectStore, settings: UploadSettings, fetching: FetchSettings, pins: Pins) -> None:
        self._store = store
        self._settings = settings
        self._fetching = fetching
        self._guard = FetchGuard(fetching)
        self._pins = pins
        self._own_urls = OwnUrls(store.bucket)

    async def resolve(self, tenant: str, submission: SubmitRequest) -> Resolved:
        """Put objects in the place of files.

        Raises:
            InvalidInputError: a file is malformed, of another kind than is wanted, or where nothing is fetched from.
            CallError: FILE_NOT_FOUND: the tenant has no such file. UNIMPLEMENTED: nothing is fetched here.
            StoreUnavailableError: the store does not answer.
        """
        if not input_files(submission):
            return Resolved(submission, digest_of(submission))
        resolved = SubmitRequest()
        resolved.CopyFrom(submission)
        found: list[tuple[InputFile, _Source, File]] = []
        for wanted in input_files(resolved):
            given = File()
            given.CopyFrom(wanted.file)
            # In a thread: decoding and hashing 24 MiB takes a tenth of a second.
            source = await asyncio.to_thread(self._source, tenant, wanted, given)
            wanted.rename(File(url=source.identity))
            found.append((wanted, source, given))
        digest = digest_of(resolved)
        for wanted, source, given in found:
            wanted.rename(await self._stored(tenant, wanted, source, given))
        return Resolved(resolved, digest)

    def _source(self, tenant: str, wanted: InputFile, file: File) -> _Source:
        """What a file names, before anything is asked of the store."""
        if bool(file.url) == file.HasField("file_data"):
            raise _invalid(wanted.field, "must have exactly one of url and file_data")
        if file.HasField("file_data") or is_data_uri(file.url):
            return _inline(wanted, file)
        key = self._own_urls.key_of(file.url)
        if key is not None:
            if not _belongs_to(key, tenant):
                raise file_not_found(file.url, field=wanted.field)
            return _Source(f"{OBJECT_SCHEME}{key}", key=key)
        if file.url.lower().startswith(("http:", "https:")):
            return self._remote(wanted, file.url)
        rule = "must be the URL of an uploaded file, an http or https URL, or a base64 data: URI"
        if wanted.kind is FileKind.LORA:
            hub_url = url_on_hub(self._fetching.hub_url, file.url)
            if hub_url is not None:
                return self._remote(wanted, hub_url)
            rule = "must be a hub id such as owner/name, the URL of an uploaded file, or an http or https URL"
        raise _invalid(wanted.url_field, rule)

    def _remote(self, wanted: InputFile, given: str) -> _Source:
        field = wanted.url_field
        if self._fetching.sources == "none":
            rule = "this installation fetches nothing from other servers; upload the file and name it by its URL"
            raise CallError(
                ErrorReason.ERROR_REASON_UNIMPLEMENTED, f"{field}: {rule}", violations=[Violation(field, rule)]
            )
        try:
            url = RemoteUrl.parse(given)
            if self._own_urls.key_of(str(url)) is not None:  # which another spelling has hidden
                raise file_not_found(given, field=wanted.field)
            self._guard.check(url)
        except FetchRefusedError as error:
            raise _invalid(field, str(error)) from error
        return _Source(str(url), remote=str(url))

    async def _stored(self, tenant: str, wanted: InputFile, source: _Source, given: File) -> File:
        """The file as a record names it, once it is an object that will not expire before the record is written."""
        if source.remote:
            return File(url=source.remote)
        if source.content:
            content_type = _check(wanted, source.content[:HEAD_BYTES], len(source.content))
            key = self._place(tenant, source, content_type)
            if await self._store.stat(key) is None:
                await self._store.put_bytes(key, source.content, content_type=content_type)
            size_bytes = len(source.content)
        else:
            found = await self._find(source.key)
            if found is None:
                raise file_not_found(given.url, field=wanted.field)
            try:
                head = await self._store.read_head(source.key, HEAD_BYTES)
                content_type = _check(wanted, head, found.size_bytes)
                key = await self._kept(tenant, source, content_type)
            except ObjectNotFoundError as error:
                raise file_not_found(given.url, field=wanted.field) from error
            size_bytes = found.size_bytes
        name = shown_name(given.file_name or (source.key or None), content_type)
        return File(url=f"{OBJECT_SCHEME}{key}", content_type=content_type, file_name=name, file_size=size_bytes)

    async def _find(self, key: str) -> StoredObject | None:
        """An object that has not expired."""
        found = await self._store.stat(key)
        if found is None or found.modified_at is None or _is_video(key):
            return found
        young = datetime.now(UTC) - found.modified_at < timedelta(seconds=self._settings.lifetime_s)
        return found if young or self._pins.pinned(key) else None

    async def _kept(self, tenant: str, source: _Source, content_type: str) -> str:
        """The key under which an object of the tenant stays: a result is copied, as it goes with its own request."""
        if not _is_video(source.key):
            return source.key
        key = self._place(tenant, source, content_type)
        if await self._store.stat(key) is None:
            await self._store.copy(source.key, key)
        return key

    def _place(self, tenant: str, source: _Source, content_type: str) -> str:
        """The key of content that the service stores by itself: the same content has one key for as long as it lives.

        A lifetime later it gets another one, as a key that the sweeper may be removing must never be written anew.
        """
        period = int(time.time() // self._settings.lifetime_s)
        digest = hashlib.sha256(source.identity.encode()).hexdigest()
        suffix = mimetypes.guess_extension(content_type) or ""
        return upload_key(tenant, f"{period}-{digest}", f"input{suffix}")


def _inline(wanted: InputFile, file: File) -> _Source:
    """Content that came with the submission, as bytes or as a data URI."""
    if not file.HasField("file_data"):
        try:
            return _Source.inline(parse_data_uri(file.url, max_bytes=MAX_INLINE_BYTES))
        except NotADataUriError as error:
            raise _invalid(wanted.url_field, str(error)) from error
    if not file.file_data:
        raise _invalid(f"{wanted.field}.file_data", "must not be empty")
    return _Source.inline(file.file_data)


def _belongs_to(key: str, tenant: str) -> bool:
    try:
        return (parse_video_key(key) if _is_video(key) else parse_upload_key(key)).tenant == tenant
    except ValueError:
        return False


def _is_video(key: str) -> bool:
    return key.startswith("videos/")


def _check(wanted: InputFile, head: bytes, size_bytes: int) -> str:
    """The type of a file that is of the kind that its field wants."""
    name, types, most = ACCEPTED[wanted.kind]
    found = sniff(head)
    if found is None or found not in types:
        raise _invalid(wanted.field, f"must be {name} ({', '.join(types)}), but is {found or 'of no known kind'}")
    if size_bytes > most:
        raise _invalid(wanted.field, f"must have at most {most} bytes, has {size_bytes}")
    return found


def _invalid(field: str, rule: str) -> InvalidInputError:
    return InvalidInputError([Violation(field, rule)])
