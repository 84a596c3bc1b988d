"""What each role may do in the bucket by the policies in deploy/s3, on a real S3 server that keeps to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
import pytest_asyncio
from minio.error import S3Error

from files import ObjectStore
from files.keys import upload_key, video_key
from files.multipart import MultipartUploads
from service.bucket_owner import BUCKET_MARK
from tests.s3_roles import RoleS3, S3Role, role_s3

UPLOAD = upload_key("studio", "1", "a.mp4")
VIDEO = video_key("studio", "r", 1, "a.mp4")
NEW_UPLOAD, NEW_VIDEO = upload_key("studio", "2", "b.mp4"), video_key("studio", "r", 2, "b.mp4")
LARGE = bytes(17 * 1024**2)  # in two parts


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RoleS3]:
    """The server with a bucket, an upload and a video."""
    async with role_s3(tmp_path_factory.mktemp("s3")) as running:
        owner = ObjectStore(running.owner)
        await owner.ensure_bucket()
        for key in (UPLOAD, VIDEO, BUCKET_MARK):
            await owner.put_bytes(key, b"content", content_type="text/plain")
        other = ObjectStore(replace(running.owner, bucket="another"))
        await other.ensure_bucket()
        await other.put_bytes(UPLOAD, b"content", content_type="text/plain")
        yield running


def put(store: ObjectStore, key: str, content: bytes = b"content") -> Awaitable[object]:
    return store.put_bytes(key, content, content_type="text/plain")


async def upload_in_parts(store: ObjectStore) -> None:
    """Begin an upload, look at it and drop it again."""
    uploads = MultipartUploads(store.bucket)
    upload_id = await uploads.begin(NEW_UPLOAD, content_type="text/plain")
    assert [found.upload_id for found in await uploads.unfinished("uploads/")] == [upload_id]
    assert await uploads.parts(NEW_UPLOAD, upload_id) == []
    await uploads.abort(NEW_UPLOAD, upload_id)


Act = Callable[[ObjectStore], Awaitable[object]]
ACTS: dict[str, Act] = {
    "list": lambda store: store.list_keys(""),
    "list videos": lambda store: store.list_keys("videos/"),
    "look at the bucket": lambda store: store.check(),
    "read uploads": lambda store: store.read(UPLOAD),
    "read videos": lambda store: store.read(VIDEO),
    "read the mark": lambda store: store.read(BUCKET_MARK),
    "write uploads": lambda store: put(store, NEW_UPLOAD),
    "write videos": lambda store: put(store, NEW_VIDEO),
    "write large videos": lambda store: put(store, NEW_VIDEO, LARGE),
    "write the mark": lambda store: put(store, BUCKET_MARK),
    "write elsewhere": lambda store: put(store, "videosx/a"),
    "upload in parts": upload_in_parts,
    "copy into uploads": lambda store: store.copy(UPLOAD, NEW_UPLOAD),
    "remove videos": lambda store: store.remove(NEW_VIDEO),
    "remove uploads": lambda store: store.remove(NEW_UPLOAD),
    "remove the mark": lambda store: store.remove(BUCKET_MARK),
    "read another bucket": lambda store: ObjectStore(replace(store.settings, bucket="another")).read(UPLOAD),
}
MAY: dict[S3Role, set[str]] = {
    "service": {
        "list",
        "list videos",
        "look at the bucket",
        "read uploads",
        "read videos",
        "read the mark",
        "write uploads",
        "write the mark",
        "upload in parts",
        "copy into uploads",
        "remove videos",
        "remove uploads",
    },
    "worker": {"read uploads", "read videos", "write videos", "write large videos", "remove videos"},
}


@pytest.mark.parametrize("role", ["service", "worker"])
@pytest.mark.parametrize("act", ACTS)
async def test_a_role_may_what_it_needs_and_nothing_else(server: RoleS3, role: S3Role, act: str) -> None:
    store = ObjectStore(server.settings(role))
    if act in MAY[role]:
        await ACTS[act](store)
    else:
        with pytest.raises(S3Error) as error:
            await ACTS[act](store)
        assert error.value.code == "AccessDenied"


async def test_a_worker_that_may_not_look_at_the_bucket_starts_all_the_same(server: RoleS3) -> None:
    await ObjectStore(server.settings("worker")).ensure_bucket()
    wrong = replace(server.settings("worker"), secret_key="another")
    with pytest.raises(S3Error) as error:
        await ObjectStore(wrong).ensure_bucket()
    assert error.value.code == "SignatureDoesNotMatch"
