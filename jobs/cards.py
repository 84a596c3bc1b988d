"""Model cards: what each endpoint's model takes, and what it does when nothing is said.

The service resolves every value of a submission by the endpoint's card, so that a record holds no defaults and a
worker none of its own.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import protovalidate
from cogreel.v1.admin_pb2 import InputKind, ModelCard
from cogreel.v1.queue_pb2 import PRIORITY_NORMAL, PRIORITY_UNSPECIFIED, SubmitRequest
from cogreel.v1.video_pb2 import ImageSize, TextToVideoInput, VideoSizePreset
from google.protobuf import json_format

from jobs.errors import EndpointNotFoundError, InvalidInputError, Violation

DEFAULT_MAX_ATTEMPTS = 3
SIDE_LEFT_OUT = 512  # the hosted API's default for a side of an ImageSize
LONGEST_DRAWN_SEED_BITS = 32

PRESETS: dict[VideoSizePreset.ValueType, tuple[int, int]] = {
    VideoSizePreset.VIDEO_SIZE_PRESET_SQUARE_HD: (1024, 1024),
    VideoSizePreset.VIDEO_SIZE_PRESET_SQUARE: (512, 512),
    VideoSizePreset.VIDEO_SIZE_PRESET_PORTRAIT_4_3: (768, 1024),
    VideoSizePreset.VIDEO_SIZE_PRESET_PORTRAIT_16_9: (576, 1024),
    VideoSizePreset.VIDEO_SIZE_PRESET_LANDSCAPE_4_3: (1024, 768),
    VideoSizePreset.VIDEO_SIZE_PRESET_LANDSCAPE_16_9: (1024, 576),
}
"""Width and height of each preset in pixels, as the hosted API has them."""

_KINDS: dict[str, InputKind.ValueType] = {
    "text_to_video": InputKind.INPUT_KIND_TEXT_TO_VIDEO,
    "image_to_video": InputKind.INPUT_KIND_IMAGE_TO_VIDEO,
    "video_to_video": InputKind.INPUT_KIND_VIDEO_TO_VIDEO,
}


class CardError(Exception):
    """A card cannot be read; the message says which and why."""


def load_card(name_or_path: str) -> ModelCard:
    """A built-in card by its name (`cogvideox-5b`, `cogreel-small`, `simulated`) or one from a JSON file.

    Raises:
        CardError: there is no such card, or it is malformed.
    """
    builtin = files("jobs") / "cards" / f"{name_or_path}.json"
    source = builtin if "/" not in name_or_path and builtin.is_file() else Path(name_or_path)
    try:
        card = json_format.Parse(source.read_text(encoding="utf-8"), ModelCard())
        protovalidate.validate(card)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, json_format.ParseError) as error:
        raise CardError(f"cannot read the model card {name_or_path!r}: {error}") from error
    except protovalidate.ValidationError as error:
        rules = "; ".join(f"{_field_of(found)} {found.proto.message}" for found in error.violations)
        raise CardError(f"the model card {name_or_path!r} breaks the contract's rules: {rules}") from error
    return card


def _field_of(found: protovalidate.Violation) -> str:
    return ".".join(element.field_name for element in found.proto.field.elements) if found.proto.field else "it"


def input_of(submission: SubmitRequest) -> TextToVideoInput:
    """The text part that every kind of input has."""
    match submission.WhichOneof("input"):
        case "image_to_video":
            return submission.image_to_video.text
        case "video_to_video":
            return submission.video_to_video.text
        case _:
            return submission.text_to_video


def kind_of(card: ModelCard) -> str:
    """The field of `SubmitRequest.input` that a model takes, such as `image_to_video`."""
    return next(name for name, kind in _KINDS.items() if kind == card.input_kind)


def endpoint_for(submission: SubmitRequest, cards: Mapping[str, ModelCard]) -> str:
    """The endpoint that a submission names, or else the one served for its kind of input.

    Raises:
        EndpointNotFoundError: it is not served.
        InvalidInputError: it takes another kind of input.
    """
    given = submission.WhichOneof("input") or "text_to_video"
    if not submission.HasField("endpoint"):
        fitting = [name for name, card in cards.items() if card.input_kind == _KINDS[given]]
        if not fitting:
            raise EndpointNotFoundError(f"for {given}", sorted(cards))
        return fitting[0]
    card = cards.get(submission.endpoint)
    if card is None:
        raise EndpointNotFoundError(submission.endpoint, sorted(cards))
    if card.input_kind != _KINDS[given]:
        raise InvalidInputError([Violation(given, f"endpoint {submission.endpoint} takes {kind_of(card)}")])
    return submission.endpoint


def resolve(submission: SubmitRequest, endpoint: str, card: ModelCard) -> SubmitRequest:
    """A copy in which every value is set: the caller's, else the card's; a seed is drawn if there is none.

    Raises:
        InvalidInputError: a value exceeds the card's limits.
    """
    resolved = SubmitRequest()
    resolved.CopyFrom(submission)
    resolved.DiscardUnknownFields()  # nobody vouches for them, and they would be carried in every record
    resolved.endpoint = endpoint
    resolved.ClearField("idempotency_key")
    if resolved.priority == PRIORITY_UNSPECIFIED:
        resolved.priority = PRIORITY_NORMAL
    if not resolved.HasField("max_attempts"):
        resolved.max_attempts = DEFAULT_MAX_ATTEMPTS
    if resolved.HasField("video_to_video") and not resolved.video_to_video.HasField("strength"):
        resolved.video_to_video.strength = card.default_strength or 0.8
    given = input_of(resolved)
    text = TextToVideoInput()
    text.CopyFrom(card.defaults)
    if given.HasField("video_size"):
        text.ClearField("video_size")  # merging would mix a default side into the caller's size
    text.MergeFrom(given)
    if not text.HasField("seed"):
        text.seed = secrets.randbits(LONGEST_DRAWN_SEED_BITS)
    size = _dimensions(text)
    violations = _size_violations(size, card, _path(submission, "video_size"))
    if len(text.loras) > card.max_loras:
        # Where nothing takes any, the service has said so; this is another endpoint's card.
        taken = f"at most {card.max_loras}" if card.max_loras else "no"
        violations.append(Violation(_path(submission, "loras"), f"{card.name} takes {taken} LoRAs"))
    if violations:
        raise InvalidInputError(violations)
    text.video_size.dimensions.CopyFrom(size)
    given.CopyFrom(text)
    return resolved


def _dimensions(text: TextToVideoInput) -> ImageSize:
    if text.video_size.WhichOneof("size") == "preset":
        width, height = PRESETS[text.video_size.preset]
        return ImageSize(width=width, height=height)
    asked = text.video_size.dimensions
    return ImageSize(
        width=asked.width if asked.HasField("width") else SIDE_LEFT_OUT,
        height=asked.height if asked.HasField("height") else SIDE_LEFT_OUT,
    )


def _path(submission: SubmitRequest, field: str) -> str:
    kind = submission.WhichOneof("input") or "text_to_video"
    return f"{kind}.{field}" if kind == "text_to_video" else f"{kind}.text.{field}"


def _size_violations(size: ImageSize, card: ModelCard, path: str) -> list[Violation]:
    found = [
        Violation(
            f"{path}.dimensions.{side}",
            f"must be from {card.min_side} to {card.max_side} pixels for {card.name}, is {pixels}",
        )
        for side, pixels in (("width", size.width), ("height", size.height))
        if not card.min_side <= pixels <= card.max_side
    ]
    if not found and size.width * size.height > card.max_pixels:
        rule = f"width × height must be at most {card.max_pixels} pixels for {card.name}"
        found.append(Violation(path, f"{rule}, is {size.width} × {size.height}"))
    return found
