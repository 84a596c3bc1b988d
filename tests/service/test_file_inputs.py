"""Files as inputs: every way to name one, whose it is, what it must be, and what the video shows of it."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import grpc
import numpy as np
import pytest
import pytest_asyncio
from cogreel.v1.queue_pb2 import RequestState, SubmitRequest, SubmitResponse
from cogreel.v1.video_pb2 import File, ImageSize, TextToVideoInput, VideoSize

from files import upload_prefix
from inference.mp4 import decode_frames
from jobs.publisher import leader_state
from jobs.subjects import RequestKey
from tests.deployment import Caller, Deployment, fetch
from tests.errors import refused
from tests.media import GREEN, RED, bomb, picture, video
from tests.service.uploads import upload


@pytest_asyncio.fixture
async def caller(deployment: Deployment) -> Caller:
    """Someone who may use files of every kind, and no worker."""
    deployment.serve_files()
    return await deployment.caller(await deployment.service())


def text(**fields: object) -> TextToVideoInput:
    size = VideoSize(dimensions=ImageSize(width=64, height=64))
    return TextToVideoInput(prompt="butterflies", num_inference_steps=1, use_rife=False, video_size=size, seed=1)


def with_image(caller: Caller, file: File, **more: str) -> SubmitRequest:
    submission = SubmitRequest(endpoint=f"{caller.endpoint}/image", **more)  # type: ignore[arg-type]
    submission.image_to_video.text.CopyFrom(text())
    submission.image_to_video.image.CopyFrom(file)
    return submission


def with_video(caller: Caller, file: File, strength: float = 0.5) -> SubmitRequest:
    submission = SubmitRequest(endpoint=f"{caller.endpoint}/video")
    submission.video_to_video.text.CopyFrom(text())
    submission.video_to_video.video.CopyFrom(file)
    submission.video_to_video.strength = strength
    return submission


async def submit(caller: Caller, submission: SubmitRequest) -> SubmitResponse:
    return await caller.stub.Submit(submission, metadata=caller.metadata)


def data_uri(content: bytes, content_type: str = "image/png") -> str:
    return f"data:{content_type};base64,{base64.b64encode(content).decode()}"


async def frames_of(caller: Caller, request_id: str, tmp_path: Path) -> list[np.ndarray]:
    assert await caller.ended(request_id) == RequestState.REQUEST_STATE_COMPLETED
    path = tmp_path / "video.mp4"
    path.write_bytes(await asyncio.to_thread(fetch, (await caller.result(request_id)).video.video.url))
    return list(decode_frames(path))


async def test_a_video_begins_with_the_picture_however_it_was_handed_in(
    caller: Caller, deployment: Deployment, tmp_path: Path
) -> None:
    await deployment.worker()
    content = picture(RED)
    uploaded = await upload(caller, content)
    for file in (File(url=uploaded.url), File(file_data=content), File(url=data_uri(content))):
        submitted = await submit(caller, with_image(caller, file))
        frames = await frames_of(caller, submitted.request_id, tmp_path)
        assert np.abs(frames[0].astype(int) - RED).mean() < 6
        assert np.abs(frames[-1].astype(int) - RED).mean() > 40


async def test_a_video_is_made_from_another_one_by_its_strength(
    caller: Caller, deployment: Deployment, tmp_path: Path
) -> None:
    await deployment.worker()
    uploaded = await upload(caller, video(GREEN), "video/mp4", "green.mp4")
    away = []
    for strength in (0.05, 0.9):
        submitted = await submit(caller, with_video(caller, File(url=uploaded.url), strength))
        frames = await frames_of(caller, submitted.request_id, tmp_path)
        away.append(np.mean([np.abs(frame.astype(int) - GREEN).mean() for frame in frames]))
    assert away[0] < 15
    assert away[1] > 40


async def test_a_result_can_be_the_source_of_the_next_video(caller: Caller, deployment: Deployment) -> None:
    await deployment.worker()
    first = (await caller.submit()).request_id
    await caller.ended(first)
    source = (await caller.result(first)).video.video.url
    second = (await submit(caller, with_video(caller, File(url=source)))).request_id
    assert await caller.ended(second) == RequestState.REQUEST_STATE_COMPLETED
    stranger = await deployment.caller(await deployment.service())
    error = await refused(submit(stranger, with_video(stranger, File(url=source))))
    assert error.reason == "FILE_NOT_FOUND"


async def test_nothing_inline_and_no_signature_gets_into_the_record(caller: Caller, deployment: Deployment) -> None:
    content = picture()
    uploaded = await upload(caller, content, name="Füchse.png")
    for file in (File(url=uploaded.url), File(file_data=content, file_name="../x.png"), File(url=data_uri(content))):
        submitted = await submit(caller, with_image(caller, file))
        found = await leader_state(deployment.broker, RequestKey(caller.tenant, submitted.request_id))
        assert found is not None
        kept = found[1].submission.image_to_video.image
        assert kept.url.startswith(f"object:{upload_prefix(caller.tenant)}")
        assert not kept.HasField("file_data")
        assert (kept.content_type, kept.file_size) == ("image/png", len(content))
        assert "/" not in kept.file_name
        assert found[1].ByteSize() < 1000


async def test_the_same_bytes_are_stored_once(caller: Caller, deployment: Deployment) -> None:
    content = picture()
    for file in (File(file_data=content), File(url=data_uri(content)), File(file_data=content, file_name="b.png")):
        await submit(caller, with_image(caller, file))
    assert len(await deployment.store.list_keys(upload_prefix(caller.tenant))) == 1


async def test_a_repeated_submission_is_recognised_however_its_file_is_carried(caller: Caller) -> None:
    content = picture()
    inline = await submit(caller, with_image(caller, File(file_data=content), idempotency_key="k"))
    again = await submit(caller, with_image(caller, File(url=data_uri(content)), idempotency_key="k"))
    assert (again.request_id, again.existing) == (inline.request_id, True)
    other = with_image(caller, File(file_data=picture(GREEN)), idempotency_key="k")
    assert (await refused(submit(caller, other))).reason == "IDEMPOTENCY_CONFLICT"

    uploaded = await upload(caller, content)
    first = await submit(caller, with_image(caller, File(url=uploaded.url), idempotency_key="u"))
    unsigned = File(url=uploaded.url.partition("?")[0], file_name="other name", content_type="text/plain")
    again = await submit(caller, with_image(caller, unsigned, idempotency_key="u"))
    assert (again.request_id, again.existing) == (first.request_id, True)


async def test_an_uploaded_file_is_recognised_whatever_became_of_its_signature(caller: Caller) -> None:
    url = (await upload(caller, picture())).url
    bare = url.partition("?")[0]
    shouted = bare.replace("http://127.0.0.1", "HTTP://127.0.0.1")
    for known in (bare, f"{bare}?X-Amz-Signature=expired", f"{bare}#part", shouted, bare.replace("x.png", "%78.png")):
        await submit(caller, with_image(caller, File(url=known)))


async def test_another_tenants_file_is_as_one_that_never_was(caller: Caller, deployment: Deployment) -> None:
    theirs = await deployment.caller(await deployment.service())
    url = (await upload(theirs, picture())).url.partition("?")[0]
    mine = (await upload(caller, picture())).url.partition("?")[0]
    their_prefix, my_prefix = upload_prefix(theirs.tenant), upload_prefix(caller.tenant)
    quoted = their_prefix.replace("/", "%2F")
    for tried in (
        url,
        f"{url}?x=1",
        url.replace(their_prefix, quoted),
        url.replace(their_prefix, quoted.replace("%", "%25")),
        url.replace(their_prefix, f"{my_prefix}../{their_prefix.split('/')[1]}/"),
        url.replace(their_prefix, f"{my_prefix}%2e%2e/{their_prefix.split('/')[1]}/"),
        url.replace(their_prefix, their_prefix.upper()),
        url.replace("/uploads/", "//uploads/"),
        url.replace(their_prefix, my_prefix),
        mine.replace("x.png", "y.png"),
        mine.replace("x.png", "x.png/"),
        mine.replace("x.png", "x.png%00"),
        mine.replace("/uploads/", "/Uploads/"),
        mine.replace("/uploads/", "/uploads/%FF/"),
        mine.rpartition("/uploads/")[0] + "/queue",
    ):
        error = await refused(submit(caller, with_image(caller, File(url=tried))))
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "FILE_NOT_FOUND"), tried
        bare = tried.partition("?")[0]
        assert error.resource == ("file", bare)
        assert error.message == f"There is no file {bare}: it was never uploaded, or has expired."
        assert error.violations == {"image_to_video.image": "there is no such file"}


async def test_a_signature_is_not_repeated_in_an_error(caller: Caller, deployment: Deployment) -> None:
    theirs = await deployment.caller(await deployment.service())
    url = (await upload(theirs, picture())).url
    error = await refused(submit(caller, with_image(caller, File(url=url))))
    assert "Signature" not in str(error)


@pytest.mark.parametrize(
    ("file", "field", "rule"),
    [
        (File(), "image", "exactly one of url and file_data"),
        (File(url="https://example.com/a.png", file_data=b"x"), "image", "exactly one of url and file_data"),
        (File(file_data=b""), "image.file_data", "must not be empty"),
        (File(file_data=b"<html>"), "image", "must be a picture"),
        (File(file_data=video()), "image", "but is video/mp4"),
        (File(url=data_uri(video(), "image/png")), "image", "but is video/mp4"),
        (File(url="data:image/png;base64,"), "image.url", "is empty"),
        (File(url="data:image/png,abc"), "image.url", "must have the form"),
        (File(url="data:image/png;base64,AAA"), "image.url", "not valid base64"),
        (File(url="data:image/png;base64,AAAB\n"), "image.url", "not valid base64"),
        (File(url="data:image/png;base64,AAAB%3D"), "image.url", "not valid base64"),
        (File(url="data:image/png;base64,AAB="), "image.url", "not valid base64"),
        (File(url="object:uploads/a/b/c"), "image.url", "must be the URL of an uploaded file"),
        (File(url="file:///etc/passwd"), "image.url", "must be the URL of an uploaded file"),
        (File(url="x.png"), "image.url", "must be the URL of an uploaded file"),
    ],
)
async def test_a_file_that_is_not_what_is_wanted_is_refused_by_its_field(
    caller: Caller, deployment: Deployment, file: File, field: str, rule: str
) -> None:
    error = await refused(submit(caller, with_image(caller, file)))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT")
    assert rule in error.violations[f"image_to_video.{field}"]
    assert await deployment.store.list_keys("uploads/") == []


async def test_a_picture_is_no_video(caller: Caller) -> None:
    uploaded = await upload(caller, picture())
    error = await refused(submit(caller, with_video(caller, File(url=uploaded.url))))
    assert "but is image/png" in error.violations["video_to_video.video"]


async def test_a_file_that_lied_about_its_type_is_found_out(caller: Caller) -> None:
    uploaded = await upload(caller, b"<script>alert(1)</script>")
    error = await refused(submit(caller, with_image(caller, File(url=uploaded.url))))
    assert "is of no known kind" in error.violations["image_to_video.image"]


async def test_a_submission_that_is_refused_otherwise_moves_no_bytes(caller: Caller, deployment: Deployment) -> None:
    submission = with_image(caller, File(file_data=picture()))
    submission.image_to_video.text.video_size.dimensions.width = 4096
    error = await refused(submit(caller, submission))
    assert "image_to_video.text.video_size.dimensions.width" in error.violations
    assert await deployment.store.list_keys("uploads/") == []


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (bomb(), "must have at most 50000000 pixels"),
        (bomb(5000), "the file is damaged"),
        (picture()[:-30], "the file is damaged"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "the file is damaged"),
    ],
    ids=["bomb", "lying header", "truncated", "header only"],
)
async def test_a_picture_that_cannot_be_decoded_fails_the_request_by_its_field(
    caller: Caller, deployment: Deployment, content: bytes, rule: str
) -> None:
    await deployment.worker()
    request_id = (await submit(caller, with_image(caller, File(file_data=content)))).request_id
    assert await caller.ended(request_id) == RequestState.REQUEST_STATE_FAILED
    error = await refused(caller.result(request_id))
    assert error.metadata["failure"] == "INVALID_INPUT"
    assert error.metadata["field"] == "image_to_video.image"
    assert rule in error.message


async def test_a_damaged_video_fails_the_request_by_its_field(caller: Caller, deployment: Deployment) -> None:
    await deployment.worker()
    request_id = (await submit(caller, with_video(caller, File(file_data=video()[:-400])))).request_id
    assert await caller.ended(request_id) == RequestState.REQUEST_STATE_FAILED
    error = await refused(caller.result(request_id))
    assert (error.metadata["failure"], error.metadata["field"]) == ("INVALID_INPUT", "video_to_video.video")
