"""Bad input gets an error that names the field and the rule, and nothing is queued."""

from __future__ import annotations

import grpc
import pytest
import pytest_asyncio
from cogreel.v1 import queue_pb2
from cogreel.v1.queue_pb2 import SubmitRequest
from cogreel.v1.video_pb2 import ImageSize, Lora, TextToVideoInput, VideoSize, VideoSizePreset
from google.protobuf.duration_pb2 import Duration

from tests.deployment import Caller, Deployment
from tests.errors import Refusal, refused


@pytest_asyncio.fixture
async def caller(deployment: Deployment) -> Caller:
    """Someone with a key and no worker: what is accepted stays queued."""
    return await deployment.caller(await deployment.service())


async def submit_text(caller: Caller, **fields: object) -> queue_pb2.SubmitResponse:
    text = TextToVideoInput(**({"prompt": "a garden"} | fields))  # type: ignore[arg-type]
    submission = SubmitRequest(endpoint=caller.endpoint, text_to_video=text)
    return await caller.stub.Submit(submission, metadata=caller.metadata)


async def refused_text(caller: Caller, **fields: object) -> Refusal:
    error = await refused(submit_text(caller, **fields))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT")
    return error


def size(width: int | None, height: int | None) -> VideoSize:
    return VideoSize(dimensions=ImageSize(width=width, height=height))


@pytest.mark.parametrize(
    ("fields", "field", "rule"),
    [
        ({"prompt": ""}, "prompt", "must not be blank"),
        ({"prompt": " \n\t "}, "prompt", "must not be blank"),
        ({"prompt": "a" * 1_000_000}, "prompt", "must be at most 8192 characters"),
        ({"prompt": "a\0b"}, "prompt", "must not contain NUL characters"),
        ({"negative_prompt": "a\0b"}, "negative_prompt", "must not contain NUL characters"),
        ({"num_inference_steps": -1}, "num_inference_steps", "1 and less than or equal to 50"),
        ({"num_inference_steps": 0}, "num_inference_steps", "1 and less than or equal to 50"),
        ({"num_inference_steps": 51}, "num_inference_steps", "1 and less than or equal to 50"),
        ({"guidance_scale": 20.5}, "guidance_scale", "0 and less than or equal to 20"),
        ({"guidance_scale": float("nan")}, "guidance_scale", "must be"),
        ({"export_fps": 3}, "export_fps", "4 and less than or equal to 32"),
        ({"export_fps": 33}, "export_fps", "4 and less than or equal to 32"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"video_size": size(721, 480)}, "video_size.dimensions.width", "must be a multiple of 16"),
        ({"video_size": size(720, 0)}, "video_size.dimensions.height", "greater than or equal to 16"),
        ({"video_size": size(4096, 64)}, "video_size.dimensions.width", "to 1360 pixels for simulated, is 4096"),
        ({"video_size": size(1360, 1360)}, "video_size", "at most 1048576 pixels for simulated, is 1360 × 1360"),
        ({"video_size": VideoSize()}, "video_size.size", "exactly one field is required"),
        ({"video_size": VideoSize(preset=VideoSizePreset.VIDEO_SIZE_PRESET_UNSPECIFIED)}, "video_size.preset", "must"),
        ({"loras": [Lora(path="a"), Lora(path="b")]}, "loras", "no more than 1"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else None,
)
async def test_an_input_out_of_range_is_refused_by_field_and_rule(
    caller: Caller, fields: dict[str, object], field: str, rule: str
) -> None:
    error = await refused_text(caller, **fields)
    assert rule in error.violations[f"text_to_video.{field}"]
    assert f"text_to_video.{field}" in error.message


async def test_every_broken_rule_is_named_at_once(caller: Caller) -> None:
    error = await refused_text(caller, prompt="", num_inference_steps=99, export_fps=1)
    assert set(error.violations) == {
        "text_to_video.prompt",
        "text_to_video.num_inference_steps",
        "text_to_video.export_fps",
    }


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"webhook_url": "ftp://example.com"}, "webhook_url"),
        ({"webhook_url": "not a url"}, "webhook_url"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "k" * 256}, "idempotency_key"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 11}, "max_attempts"),
        ({"start_timeout": Duration(nanos=1)}, "start_timeout"),
        ({"object_lifetime": Duration(seconds=1)}, "object_lifetime"),
        ({"priority": 9}, "priority"),
    ],
)
async def test_a_submission_option_out_of_range_is_refused(caller: Caller, more: dict[str, object], field: str) -> None:
    submission = caller.submission()
    submission.MergeFrom(SubmitRequest(**more))  # type: ignore[arg-type]
    error = await refused(caller.stub.Submit(submission, metadata=caller.metadata))
    assert error.reason == "INVALID_INPUT"
    assert field in error.violations


async def test_a_submission_without_an_input_is_refused(caller: Caller) -> None:
    error = await refused(caller.stub.Submit(SubmitRequest(endpoint=caller.endpoint), metadata=caller.metadata))
    assert error.violations == {"input": "exactly one field is required in oneof"}


async def test_an_unknown_endpoint_is_named_with_those_that_there_are(caller: Caller) -> None:
    submission = caller.submission()
    submission.endpoint = "fal-ai/unknown"
    error = await refused(caller.stub.Submit(submission, metadata=caller.metadata))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "ENDPOINT_NOT_FOUND")
    assert error.resource == ("endpoint", "fal-ai/unknown")
    assert error.metadata["endpoints"] == caller.endpoint


async def test_an_endpoint_left_out_is_the_one_for_the_kind_of_input(caller: Caller) -> None:
    submission = caller.submission()
    submission.ClearField("endpoint")
    answer = await caller.stub.Submit(submission, metadata=caller.metadata)
    assert answer.status.endpoint == caller.endpoint


@pytest.mark.parametrize("request_id", ["", "x", "123", "../../etc/passwd"])
async def test_a_malformed_request_id_is_refused_by_its_field(caller: Caller, request_id: str) -> None:
    for call in (caller.status, caller.result, caller.cancel):
        error = await refused(call(request_id))
        assert error.reason == "INVALID_INPUT"
        assert "UUID" in error.violations["request_id"]


async def test_a_drawn_seed_is_told_and_differs_between_requests(caller: Caller) -> None:
    seeds = {(await submit_text(caller)).status.seed for _ in range(5)}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert (await submit_text(caller, seed=7)).status.seed == 7


async def test_the_largest_prompt_allowed_is_queued(caller: Caller) -> None:
    answer = await submit_text(caller, prompt="🦋" * 8192, negative_prompt="🐌" * 8192)
    assert answer.status.position == 0


@pytest.mark.parametrize("kind", ["image_to_video", "video_to_video"])
async def test_a_kind_of_input_that_no_model_takes_says_so(caller: Caller, kind: str) -> None:
    submission = SubmitRequest()
    part = getattr(submission, kind)
    part.text.prompt = "a garden"
    getattr(part, "image" if kind == "image_to_video" else "video").url = "https://example.com/file"
    error = await refused(caller.stub.Submit(submission, metadata=caller.metadata))
    assert (error.code, error.reason) == (grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED")
    assert error.violations == {kind: "no model that is served here takes this kind of input"}


async def test_an_option_that_this_version_would_ignore_is_refused_by_name(caller: Caller) -> None:
    submission = caller.submission()
    submission.text_to_video.loras.add(path="owner/adapter")
    error = await refused(caller.stub.Submit(submission, metadata=caller.metadata))
    assert (error.code, error.reason) == (grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED")
    assert set(error.violations) == {"text_to_video.loras"}


async def test_bounds_read_as_the_contract_writes_them(caller: Caller) -> None:
    submission = SubmitRequest(endpoint=caller.endpoint)
    submission.video_to_video.text.prompt = "a garden"
    submission.video_to_video.video.url = "https://example.com/a.mp4"
    submission.video_to_video.strength = 2
    error = await refused(caller.stub.Submit(submission, metadata=caller.metadata))
    assert "equal to 0.05 and" in error.violations["video_to_video.strength"]
