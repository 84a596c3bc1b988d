"""Files of requests, as objects on S3."""

from files.bucket import ObjectStoreSettings
from files.errors import NotADataUriError, ObjectNotFoundError, StoreUnavailableError
from files.keys import parse_upload_key, parse_video_key, request_prefix, upload_key, upload_prefix, video_key
from files.store import ObjectStore, StoredObject

__all__ = [
    "NotADataUriError",
    "ObjectNotFoundError",
    "ObjectStore",
    "ObjectStoreSettings",
    "StoreUnavailableError",
    "StoredObject",
    "parse_upload_key",
    "parse_video_key",
    "request_prefix",
    "upload_key",
    "upload_prefix",
    "video_key",
]
