"""Files of requests, as objects on S3."""

from files.errors import ObjectNotFoundError, StoreUnavailableError
from files.keys import parse_video_key, request_prefix, video_key
from files.store import ObjectStore, ObjectStoreSettings, StoredObject

__all__ = [
    "ObjectNotFoundError",
    "ObjectStore",
    "ObjectStoreSettings",
    "StoreUnavailableError",
    "StoredObject",
    "parse_video_key",
    "request_prefix",
    "video_key",
]
