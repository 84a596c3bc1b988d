"""What may be uploaded, how much of it, and how an uploaded file is named."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from cogreel.v1.errors_pb2 import ErrorReason
from cogreel.v1.video_pb2 import File

from files import ObjectStore, upload_key
from files.content_type import UPLOAD_TYPES, agree, sniff
from files.names import key_name, shown_name
from jobs.errors import InvalidInputError, Violation
from service.errors import CallError

SMALLEST_LIFETIME_S = 2 * 3600  # so that no URL for a PUT outlives what was put
LONGEST_PUT_VALIDITY_S = 3600

_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]+")


@dataclass(frozen=True, slots=True)
class UploadSettings:
    """Limits of uploads.

    `max_upload_bytes` bounds one file. An uploaded file that no request names lives for `lifetime_s`. `url_validity_s`
    is how long a presigned URL works; those for a PUT work for an hour at most.
    """

    max_upload_bytes: int = 1024**3
    lifetime_s: float = 24 * 3600
    url_validity_s: int = 3600

    @property
    def put_validity_s(self) -> int:
        """How long a presigned URL for a PUT works."""
        return min(self.url_validity_s, LONGEST_PUT_VALIDITY_S)


@dataclass(frozen=True, slots=True)
class NewUpload:
    """A file to come: where it will lie, and what it was said to be."""

    key: str
    file_name: str
    content_type: str


def new_upload(tenant: str, file_name: str | None, content_type: str, *, path: str = "") -> NewUpload:
    """Where a file to come will lie: under a key of its own, that nobody can guess.

    Raises:
        InvalidInputError: such files are not taken; `path` is that of the message which describes it.
    """
    declared = content_type.strip().lower()
    if not _TYPE.fullmatch(declared) or declared not in UPLOAD_TYPES:
        rule = f"must be one of {', '.join(UPLOAD_TYPES)}"
        raise InvalidInputError([Violation(f"{path}content_type", rule)])
    name = shown_name(file_name, declared)
    return NewUpload(upload_key(tenant, secrets.token_hex(16), key_name(name)), name, declared)


def check_content(upload: NewUpload, head: bytes, *, field: str) -> None:
    """Hold the first bytes of a file against what it was said to be.

    Raises:
        InvalidInputError: it is something else.
    """
    found = sniff(head)
    if not agree(upload.content_type, found):
        what = f"is {found}" if found else "is of no kind that is known here"
        raise InvalidInputError(
            [Violation(field, f"must be {upload.content_type}, as was said, but the content {what}")]
        )


def check_size(size_bytes: int, settings: UploadSettings) -> None:
    """Refuse a file that is too large.

    Raises:
        CallError: LIMIT_EXCEEDED.
    """
    if size_bytes > settings.max_upload_bytes:
        raise CallError(
            ErrorReason.ERROR_REASON_LIMIT_EXCEEDED,
            f"A file may have {settings.max_upload_bytes} bytes at most.",
            metadata={"limit": "max_upload_bytes", "allowed": str(settings.max_upload_bytes)},
        )


def file_of(store: ObjectStore, settings: UploadSettings, upload: NewUpload, size_bytes: int) -> File:
    """The file as callers name it: its URL can be fetched for a while, and stays good as an input after that."""
    url = store.presign_get(
        upload.key, settings.url_validity_s, file_name=upload.file_name, content_type=upload.content_type
    )
    return File(url=url, content_type=upload.content_type, file_name=upload.file_name, file_size=size_bytes)
