"""One S3 server for the tests of a module, and a bucket of its own for each test."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from files import ObjectStore, ObjectStoreSettings
from host.engines import EmbeddedS3


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def s3(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedS3]:
    data_dir: Path = tmp_path_factory.mktemp("s3")
    async with EmbeddedS3(data_dir) as engine:
        yield engine


@pytest.fixture
def settings(s3: EmbeddedS3) -> ObjectStoreSettings:
    return ObjectStoreSettings(
        endpoint=s3.endpoint,
        access_key=s3.access_key,
        secret_key=s3.secret_key,
        bucket=f"videos-{uuid.uuid4().hex[:12]}",
        secure=False,
    )


@pytest_asyncio.fixture(loop_scope="module")
async def store(settings: ObjectStoreSettings) -> ObjectStore:
    store = ObjectStore(settings)
    await store.ensure_bucket()
    return store
