"""A gateway that reaches the store by another name than its callers do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

from files import ObjectStore, ObjectStoreSettings
from files.signing import presign_put
from gateway.store import Store, put_part
from host.engines import EmbeddedS3


async def test_signatures_for_the_public_name_hold_at_the_stores_own_address(
    store: ObjectStore, s3: EmbeddedS3
) -> None:
    public = ObjectStore(
        ObjectStoreSettings(
            endpoint=s3.endpoint,
            access_key=s3.access_key,
            secret_key=s3.secret_key,
            bucket=store.bucket.name,
            secure=False,
            public_endpoint="videos.example.com",
        )
    )

    async def content() -> AsyncIterator[bytes]:
        yield b"hello"

    async with Store(f"http://{s3.endpoint}") as reached:
        validity = timedelta(minutes=1)
        url = presign_put(
            public.bucket,
            "a",
            validity,
            headers={"Content-Length": "5"},
        )
        assert url.startswith("https://videos.example.com/")
        await put_part(reached, url, 5, content())
        fetched = await reached.get(public.presign_get("a", 60))
        assert await fetched.aread() == b"hello"
        await fetched.aclose()
    await store.remove("a")
