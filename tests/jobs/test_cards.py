"""Model cards: what a submission becomes before it is stored."""

from __future__ import annotations

from pathlib import Path

import pytest
from cogreel.v1.admin_pb2 import InputKind, ModelCard
from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL, SubmitRequest
from cogreel.v1.video_pb2 import (
    ImageSize,
    ImageToVideoInput,
    TextToVideoInput,
    VideoSize,
    VideoSizePreset,
    VideoToVideoInput,
)
from google.protobuf import json_format

from jobs.cards import PRESETS, CardError, endpoint_for, input_of, load_card, resolve
from jobs.errors import EndpointNotFoundError, InvalidInputError

ENDPOINT = "fal-ai/cogvideox-5b"
BUILTIN = ("cogvideox-5b", "cogreel-small", "simulated")


def of_kind(kind: InputKind.ValueType) -> ModelCard:
    card = load_card("cogvideox-5b")
    card.input_kind = kind
    return card


CARDS = {
    ENDPOINT: load_card("cogvideox-5b"),
    f"{ENDPOINT}/image-to-video": of_kind(InputKind.INPUT_KIND_IMAGE_TO_VIDEO),
    f"{ENDPOINT}/video-to-video": of_kind(InputKind.INPUT_KIND_VIDEO_TO_VIDEO),
}


def sized(**size: object) -> SubmitRequest:
    text = TextToVideoInput(prompt="a garden", video_size=VideoSize(**size))  # type: ignore[arg-type]
    return SubmitRequest(text_to_video=text)


def dimensions(submission: SubmitRequest) -> tuple[int, int]:
    size = input_of(submission).video_size.dimensions
    return size.width, size.height


@pytest.mark.parametrize("name", BUILTIN)
def test_a_bare_prompt_gets_the_hosted_models_defaults(name: str) -> None:
    bare = SubmitRequest(text_to_video=TextToVideoInput(prompt="a garden"))
    resolved = resolve(bare, ENDPOINT, load_card(name))
    text = resolved.text_to_video
    assert dimensions(resolved) == (720, 480)
    assert text.HasField("negative_prompt")
    assert text.negative_prompt == ""
    # The small model has the hosted schema, but steps and guidance that suit it.
    assert (text.num_inference_steps, text.guidance_scale) == ((20, 3) if name == "cogreel-small" else (50, 7))
    assert text.use_rife is True
    assert text.export_fps == 16
    assert text.prompt == "a garden"
    assert (resolved.endpoint, resolved.priority, resolved.max_attempts) == (ENDPOINT, PRIORITY_NORMAL, 3)


def test_what_the_caller_says_goes_before_the_card() -> None:
    text = TextToVideoInput(
        prompt="a garden",
        negative_prompt="rain",
        num_inference_steps=1,
        guidance_scale=0,
        use_rife=False,
        export_fps=4,
        seed=0,
        video_size=VideoSize(dimensions=ImageSize(width=640, height=352)),
    )
    resolved = resolve(
        SubmitRequest(text_to_video=text, priority=PRIORITY_LOW, max_attempts=7, webhook_url="https://a.example/"),
        ENDPOINT,
        CARDS[ENDPOINT],
    )
    assert resolved.text_to_video == text
    assert (resolved.priority, resolved.max_attempts) == (PRIORITY_LOW, 7)
    assert resolved.webhook_url == "https://a.example/"


@pytest.mark.parametrize("preset", VideoSizePreset.values()[1:])
@pytest.mark.parametrize("name", BUILTIN)
def test_every_preset_of_the_contract_fits_every_built_in_model(name: str, preset: VideoSizePreset.ValueType) -> None:
    assert dimensions(resolve(sized(preset=preset), ENDPOINT, load_card(name))) == PRESETS[preset]


def test_presets_have_the_pixels_that_the_contract_promises() -> None:
    promised = {
        "SQUARE_HD": (1024, 1024),
        "SQUARE": (512, 512),
        "PORTRAIT_4_3": (768, 1024),
        "PORTRAIT_16_9": (576, 1024),
        "LANDSCAPE_4_3": (1024, 768),
        "LANDSCAPE_16_9": (1024, 576),
    }
    names = {preset: VideoSizePreset.Name(preset).removeprefix("VIDEO_SIZE_PRESET_") for preset in PRESETS}
    assert {names[preset]: size for preset, size in PRESETS.items()} == promised


def test_a_side_left_out_is_512() -> None:
    card = CARDS[ENDPOINT]
    assert dimensions(resolve(sized(dimensions=ImageSize(width=720)), ENDPOINT, card)) == (720, 512)
    assert dimensions(resolve(sized(dimensions=ImageSize(height=720)), ENDPOINT, card)) == (512, 720)
    assert dimensions(resolve(sized(dimensions=ImageSize()), ENDPOINT, card)) == (512, 512)


@pytest.mark.parametrize(
    ("width", "height", "fields"),
    [
        (256, 256, set()),
        (1360, 768, set()),
        (1024, 1024, set()),
        (240, 480, {"width"}),
        (480, 240, {"height"}),
        (1376, 480, {"width"}),
        (16, 1376, {"width", "height"}),
        (1040, 1024, {"area"}),
    ],
)
def test_sizes_outside_the_models_limits_are_named(width: int, height: int, fields: set[str]) -> None:
    submission = sized(dimensions=ImageSize(width=width, height=height))
    if not fields:
        assert dimensions(resolve(submission, ENDPOINT, CARDS[ENDPOINT])) == (width, height)
        return
    with pytest.raises(InvalidInputError) as refused:
        resolve(submission, ENDPOINT, CARDS[ENDPOINT])
    paths = {
        "width": "text_to_video.video_size.dimensions.width",
        "height": "text_to_video.video_size.dimensions.height",
        "area": "text_to_video.video_size",
    }
    assert {violation.field for violation in refused.value.violations} == {paths[field] for field in fields}


def test_a_size_is_named_where_the_other_kinds_of_input_have_it() -> None:
    text = TextToVideoInput(prompt="a", video_size=VideoSize(dimensions=ImageSize(width=16, height=512)))
    with pytest.raises(InvalidInputError) as refused:
        resolve(SubmitRequest(image_to_video=ImageToVideoInput(text=text)), ENDPOINT, CARDS[ENDPOINT])
    assert [v.field for v in refused.value.violations] == ["image_to_video.text.video_size.dimensions.width"]


def test_a_drawn_seed_is_below_two_to_the_32_and_differs_each_time() -> None:
    bare = SubmitRequest(text_to_video=TextToVideoInput(prompt="a"))
    seeds = {resolve(bare, ENDPOINT, CARDS[ENDPOINT]).text_to_video.seed for _ in range(200)}
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert len(seeds) > 190


def test_resolving_twice_changes_nothing() -> None:
    once = resolve(SubmitRequest(text_to_video=TextToVideoInput(prompt="a")), ENDPOINT, CARDS[ENDPOINT])
    assert resolve(once, ENDPOINT, CARDS[ENDPOINT]) == once


def test_the_idempotency_key_is_not_stored_and_the_submission_stays_as_it_was() -> None:
    submission = SubmitRequest(text_to_video=TextToVideoInput(prompt="a"), idempotency_key="order 7")
    before = submission.SerializeToString(deterministic=True)
    resolved = resolve(submission, ENDPOINT, CARDS[ENDPOINT])
    assert not resolved.HasField("idempotency_key")
    assert b"order 7" not in resolved.SerializeToString()
    assert submission.SerializeToString(deterministic=True) == before


def test_video_to_video_has_a_strength() -> None:
    source = VideoToVideoInput(text=TextToVideoInput(prompt="a"))
    assert resolve(
        SubmitRequest(video_to_video=source), ENDPOINT, CARDS[ENDPOINT]
    ).video_to_video.strength == pytest.approx(0.8)
    source.strength = 0.25
    assert resolve(SubmitRequest(video_to_video=source), ENDPOINT, CARDS[ENDPOINT]).video_to_video.strength == 0.25


@pytest.mark.parametrize(
    ("submission", "endpoint"),
    [
        (SubmitRequest(text_to_video=TextToVideoInput()), ENDPOINT),
        (SubmitRequest(image_to_video=ImageToVideoInput()), f"{ENDPOINT}/image-to-video"),
        (SubmitRequest(video_to_video=VideoToVideoInput()), f"{ENDPOINT}/video-to-video"),
        (SubmitRequest(text_to_video=TextToVideoInput(), endpoint=ENDPOINT), ENDPOINT),
    ],
)
def test_a_submission_goes_to_the_endpoint_of_its_kind(submission: SubmitRequest, endpoint: str) -> None:
    assert endpoint_for(submission, CARDS) == endpoint


def test_an_unknown_endpoint_is_answered_with_those_that_there_are() -> None:
    submission = SubmitRequest(text_to_video=TextToVideoInput(), endpoint="fal-ai/flux")
    with pytest.raises(EndpointNotFoundError) as refused:
        endpoint_for(submission, CARDS)
    assert refused.value.endpoint == "fal-ai/flux"
    assert refused.value.served == tuple(sorted(CARDS))


def test_a_kind_of_input_that_nothing_serves_is_refused() -> None:
    with pytest.raises(EndpointNotFoundError, match="image_to_video"):
        endpoint_for(SubmitRequest(image_to_video=ImageToVideoInput()), {ENDPOINT: CARDS[ENDPOINT]})


def test_the_wrong_kind_of_input_is_told_what_the_endpoint_takes() -> None:
    submission = SubmitRequest(image_to_video=ImageToVideoInput(), endpoint=ENDPOINT)
    with pytest.raises(InvalidInputError, match=f"endpoint {ENDPOINT} takes text_to_video") as refused:
        endpoint_for(submission, CARDS)
    assert [violation.field for violation in refused.value.violations] == ["image_to_video"]


def test_a_card_of_ones_own_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json_format.MessageToJson(load_card("simulated")), encoding="utf-8")
    assert load_card(str(path)) == load_card("simulated")


@pytest.mark.parametrize("content", [None, "not JSON", '{"no_such_field": 1}', "[]", '{"frames": "many"}'])
def test_a_card_that_cannot_be_read_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "card.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(CardError, match=r"card\.json"):
        load_card(str(path))


def test_a_card_that_breaks_the_contracts_rules_is_told_which(tmp_path: Path) -> None:
    card = load_card("simulated")
    card.frames = 0
    path = tmp_path / "card.json"
    path.write_text(json_format.MessageToJson(card), encoding="utf-8")
    with pytest.raises(CardError, match="frames must be greater than 0"):
        load_card(str(path))
