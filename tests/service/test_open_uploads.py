"""Uploads whose size is told only when all of their parts have arrived."""

from __future__ import annotations

import cogreel
import pytest
from cogreel import AsyncCogReel
from cogreel.v1.storage_pb2 import CreateMultipartUploadRequest, PresignUploadPartsRequest

from service.upload_rules import UploadSettings
from tests.deployment import Deployment, fetch
from tests.errors import refused
from tests.media import picture
from tests.service.uploads import put

PART = 5 * 1024**2


async def client_of(deployment: Deployment, *, max_upload_bytes: int = 1024**3) -> AsyncCogReel:
    port = await deployment.service(uploads=UploadSettings(max_upload_bytes=max_upload_bytes))
    caller = await deployment.caller(port)
    return AsyncCogReel(f"127.0.0.1:{port}", caller.api_key)


async def test_one_part_is_a_file(deployment: Deployment) -> None:
    async with await client_of(deployment) as client:
        begun = await client.begin_upload(content_type="image/png", file_name="red.png")
        answer = await put(await client.sign_part(begun.upload_id, 1, len(picture())), picture())
        etags = {1: answer.headers["ETag"]}
        file = await client.finish_upload(begun.upload_id, etags)
        assert fetch(begun.file.url) == fetch(file.url) == picture()
        assert file.file_size == len(picture())
        assert (await client.finish_upload(begun.upload_id, etags)).file_size == len(picture())


async def test_a_file_of_no_known_kind_is_taken_whatever_its_name(deployment: Deployment) -> None:
    async with await client_of(deployment) as client:
        begun = await client.begin_upload(content_type="application/octet-stream", file_name="hello.txt")
        answer = await put(await client.sign_part(begun.upload_id, 1, 5), b"hello")
        await client.finish_upload(begun.upload_id, {1: answer.headers["ETag"]})
    assert fetch(begun.file.url) == b"hello"


async def test_parts_may_differ_in_size_and_must_all_be_named(deployment: Deployment) -> None:
    contents = {1: picture().ljust(PART, b"\0"), 2: b"b" * (PART + 7), 3: b"c"}
    async with await client_of(deployment) as client:
        begun = await client.begin_upload(content_type="application/octet-stream")
        etags = {}
        for number, content in contents.items():
            url = await client.sign_part(begun.upload_id, number, len(content))
            assert (await put(url, content + b"!")).status == 403  # another size than was signed
            etags[number] = (await put(url, content)).headers["ETag"]
        with pytest.raises(cogreel.InvalidInputError, match="part 3 is missing"):
            await client.finish_upload(begun.upload_id, {1: etags[1], 2: etags[2]})
        file = await client.finish_upload(begun.upload_id, dict(reversed(etags.items())))
    assert fetch(file.url) == b"".join(contents.values())


async def test_a_file_that_turns_out_too_large_is_dropped(deployment: Deployment) -> None:
    async with await client_of(deployment, max_upload_bytes=PART + 1) as client:
        begun = await client.begin_upload(content_type="application/octet-stream")
        with pytest.raises(cogreel.LimitExceededError):
            await client.sign_part(begun.upload_id, 1, PART + 2)
        etags = {}
        for number, content in ((1, b"a" * PART), (2, b"bb")):
            url = await client.sign_part(begun.upload_id, number, len(content))
            etags[number] = (await put(url, content)).headers["ETag"]
        with pytest.raises(cogreel.LimitExceededError) as error:
            await client.finish_upload(begun.upload_id, etags)
        assert error.value.limit == "max_upload_bytes"
        with pytest.raises(cogreel.NotFoundError):
            await client.finish_upload(begun.upload_id, etags)


async def test_the_size_of_parts_is_given_exactly_where_that_of_the_whole_is_not(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    for size, part_bytes in ((0, None), (10, 10)):
        begun = await caller.storage.CreateMultipartUpload(
            CreateMultipartUploadRequest(content_type="image/png", size=size), metadata=caller.metadata
        )
        request = PresignUploadPartsRequest(upload_id=begun.upload_id, part_numbers=[1], part_bytes=part_bytes)
        error = await refused(caller.storage.PresignUploadParts(request, metadata=caller.metadata))
        assert set(error.violations) == {"part_bytes"}
