"""Plain Python values become the contract's message, or a complaint that names the field."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from cogreel import InvalidInputError
from cogreel.cli.options import lora
from cogreel.input_files import files_to_upload
from cogreel.submission import VIDEO_SIZE_PRESETS, TextToVideo, VideoSizeArgument, build_submit_request
from cogreel.v1.queue_pb2 import Priority
from cogreel.v1.video_pb2 import File, VideoSizePreset


def test_only_what_is_given_is_sent() -> None:
    request = build_submit_request(None, {"prompt": "a garden"})
    assert [field.name for field, _ in request.text_to_video.ListFields()] == ["prompt"]
    assert {field.name for field, _ in request.ListFields()} == {"text_to_video", "idempotency_key"}


def test_zero_and_false_are_sent() -> None:
    options: TextToVideo = {"prompt": "a garden", "seed": 0, "use_rife": False, "guidance_scale": 0}
    text = build_submit_request(None, options).text_to_video
    assert text.HasField("seed")
    assert text.HasField("use_rife")
    assert text.HasField("guidance_scale")
    assert (text.seed, text.use_rife, text.guidance_scale) == (0, False, 0)


@pytest.mark.parametrize(
    ("loras", "sent"),
    [
        ([{"path": "owner/name", "scale": 0.5}], [("owner/name", 0.5)]),
        ([{"path": "https://example.org/a.safetensors"}], [("https://example.org/a.safetensors", None)]),
        (["owner/name"], [("owner/name", None)]),
        ("owner/name", [("owner/name", None)]),
        ([File(url="https://store/u/a.safetensors")], [("https://store/u/a.safetensors", None)]),
        ([], []),
    ],
)
def test_loras_are_named_as_the_hosted_api_does_or_shorter(loras: Any, sent: list[tuple[str, float | None]]) -> None:
    text = build_submit_request(None, {"prompt": "a garden", "loras": loras}).text_to_video
    assert [(lora.path, lora.scale if lora.HasField("scale") else None) for lora in text.loras] == sent


@pytest.mark.parametrize(
    "lora", [{"scale": 1}, {"path": 7}, {"path": "a/b", "weight": 1}, {"path": "a/b", "scale": "x"}]
)
def test_a_lora_that_is_none_is_named(lora: Any) -> None:
    with pytest.raises(InvalidInputError) as refused:
        build_submit_request(None, {"prompt": "a garden", "loras": [lora]})
    assert [violation.field for violation in refused.value.violations] == ["text_to_video.loras[0]"]


def test_a_lora_that_was_uploaded_is_named_by_its_url(tmp_path: Path) -> None:
    options: TextToVideo = {"prompt": "a garden", "loras": [{"path": tmp_path / "a.safetensors", "scale": 0.5}]}
    assert files_to_upload(options) == {"loras[0]": tmp_path / "a.safetensors"}
    uploaded = {"loras[0]": File(url="https://store/u/a.safetensors")}
    (sent,) = build_submit_request(None, options, uploaded).text_to_video.loras
    assert (sent.path, sent.scale) == ("https://store/u/a.safetensors", 0.5)


@pytest.mark.parametrize(
    ("text", "path", "scale"),
    [("owner/name@0.8", "owner/name", 0.8), ("owner/name", "owner/name", None), ("a@b/c@-1", "a@b/c", -1.0)],
)
def test_the_command_s_lora_may_end_in_its_scale(text: str, path: str, scale: float | None) -> None:
    assert lora(text) == [{"path": path} if scale is None else {"path": path, "scale": scale}]


def test_the_command_s_lora_may_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "style.safetensors"
    file.write_bytes(b"x")
    assert lora(f"{file}@2") == [{"path": file, "scale": 2.0}]


def test_all_options_reach_the_message() -> None:
    request = build_submit_request(
        "fal-ai/cogvideox-5b",
        {
            "prompt": "a garden",
            "negative_prompt": "blurry",
            "num_inference_steps": 30,
            "seed": 2**40,
            "guidance_scale": 6.5,
            "use_rife": True,
            "export_fps": 8,
            "priority": "low",
            "webhook_url": "https://example.org/hook",
            "start_timeout_s": 90,
            "max_attempts": 2,
            "object_lifetime_s": 3600.5,
            "idempotency_key": "mine",
        },
    )
    text = request.text_to_video
    assert request.endpoint == "fal-ai/cogvideox-5b"
    assert (text.negative_prompt, text.num_inference_steps, text.seed) == ("blurry", 30, 2**40)
    assert (text.guidance_scale, text.use_rife, text.export_fps) == (6.5, True, 8)
    assert request.priority == Priority.PRIORITY_LOW
    assert (request.webhook_url, request.max_attempts, request.idempotency_key) == (
        "https://example.org/hook",
        2,
        "mine",
    )
    assert request.start_timeout.ToMilliseconds() == 90_000
    assert request.object_lifetime.ToMilliseconds() == 3_600_500


@pytest.mark.parametrize("size", [(720, 480), {"width": 720, "height": 480}])
def test_sizes_in_pixels(size: VideoSizeArgument) -> None:
    video_size = build_submit_request(None, {"prompt": "a", "video_size": size}).text_to_video.video_size
    assert (video_size.dimensions.width, video_size.dimensions.height) == (720, 480)


def test_a_side_may_be_left_out() -> None:
    request = build_submit_request(None, {"prompt": "a", "video_size": {"width": 720}})
    dimensions = request.text_to_video.video_size.dimensions
    assert dimensions.width == 720
    assert not dimensions.HasField("height")


def test_every_preset_of_the_contract_has_a_name() -> None:
    presets = {
        build_submit_request(None, {"prompt": "a", "video_size": name}).text_to_video.video_size.preset
        for name in VIDEO_SIZE_PRESETS
    }
    assert "landscape_16_9" in VIDEO_SIZE_PRESETS
    assert presets == set(VideoSizePreset.values()) - {VideoSizePreset.VIDEO_SIZE_PRESET_UNSPECIFIED}


def test_each_submission_draws_its_own_idempotency_key() -> None:
    keys = {build_submit_request(None, {"prompt": "a"}).idempotency_key for _ in range(3)}
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("option", "value", "field"),
    [
        ("prompt", 5, "text_to_video.prompt"),
        ("prompt", "\ud800", "text_to_video.prompt"),
        ("num_inference_steps", 2**40, "text_to_video.num_inference_steps"),
        ("num_inference_steps", "many", "text_to_video.num_inference_steps"),
        ("use_rife", "yes", "text_to_video.use_rife"),
        ("video_size", "huge", "text_to_video.video_size"),
        ("video_size", (1, 2, 3), "text_to_video.video_size"),
        ("video_size", {"breadth": 1}, "text_to_video.video_size"),
        ("video_size", (2**40, 480), "text_to_video.video_size"),
        ("priority", "high", "priority"),
        ("start_timeout_s", float("nan"), "start_timeout"),
        ("object_lifetime_s", "long", "object_lifetime"),
        ("max_attempts", 1.5, "max_attempts"),
        ("seed", True, "text_to_video.seed"),
        ("guidance_scale", True, "text_to_video.guidance_scale"),
        ("start_timeout_s", True, "start_timeout"),
    ],
)
def test_what_does_not_fit_is_named_by_field(option: str, value: object, field: str) -> None:
    options = cast("TextToVideo", {"prompt": "a garden", option: value})
    with pytest.raises(InvalidInputError) as caught:
        build_submit_request(None, options)
    assert [violation.field for violation in caught.value.violations] == [field]
    assert field in str(caught.value)


def test_all_complaints_come_at_once() -> None:
    options: Any = {"prompt": "a garden", "seed": "x", "priority": "high"}
    with pytest.raises(InvalidInputError) as caught:
        build_submit_request(None, options)
    assert [violation.field for violation in caught.value.violations] == ["text_to_video.seed", "priority"]


def test_misspelt_options_are_a_type_error() -> None:
    options: Any = {"prompt": "a garden", "promt": "a garden"}
    with pytest.raises(TypeError, match="promt"):
        build_submit_request(None, options)


def test_the_prompt_is_required() -> None:
    options: Any = {"seed": 1}
    with pytest.raises(TypeError, match="prompt"):
        build_submit_request(None, options)
