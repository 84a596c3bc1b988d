"""Builds the contract's `SubmitRequest` from plain Python values."""

from __future__ import annotations

import reprlib
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal, Required, TypedDict

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from cogreel.errors import ErrorDetails, InvalidInputError, Violation
from cogreel.input_files import FileInput, LoraOption, file_of, lora_of, loras_of
from cogreel.v1.queue_pb2 import Priority, SubmitRequest
from cogreel.v1.video_pb2 import File, ImageSize, TextToVideoInput, VideoSize, VideoSizePreset

VIDEO_SIZE_PRESETS: tuple[str, ...] = tuple(
    name.removeprefix("VIDEO_SIZE_PRESET_").lower() for name, number in VideoSizePreset.items() if number != 0
)

VideoSizeArgument = str | tuple[int, int] | Mapping[str, int]


class TextToVideo(TypedDict, total=False):
    """What to make and how to queue it. Only `prompt` is required; the service fills in the rest from the model's card.

    The service checks every value and names each rule that is broken; the bounds are those of the contract.
    """

    prompt: Required[str]
    """What the video shows."""

    video_size: VideoSizeArgument
    """A preset such as `landscape_16_9`, `(width, height)` or `{"width": ..., "height": ...}`, in pixels."""

    negative_prompt: str
    """What the video should not show."""

    num_inference_steps: int
    """Number of denoising steps, 1 to 50."""

    seed: int
    """The same seed and input give the same video, byte for byte. Left out, one is drawn and returned."""

    guidance_scale: float
    """How closely to follow the prompt, 0 to 20."""

    use_rife: bool
    """Whether to double the number of frames by interpolation."""

    export_fps: int
    """Frames shown a second, 4 to 32."""

    image: FileInput
    """The picture that the video begins with: a path, a URL, bytes, or what `upload` returned."""

    video: FileInput
    """The video that it is made from, named likewise."""

    strength: float
    """How far to move away from `video`, 0.05 to 1."""

    loras: Sequence[LoraOption]
    """Low-rank adapters for this request, one at most: `[{"path": "owner/name", "scale": 0.8}]`."""

    priority: Literal["normal", "low"]
    """`low` waits behind every normal request of the endpoint."""

    webhook_url: str
    """Told the outcome by an HTTP POST."""

    start_timeout_s: float
    """The request fails if no attempt has begun within this many seconds."""

    max_attempts: int
    """How often to try, 1 to 10, when a worker dies or a device or the store fails."""

    object_lifetime_s: float
    """How many seconds the request and its files are kept after its end."""

    idempotency_key: str
    """Submitting again with the same key returns the same request. Left out, each call draws a new one."""


_OPTIONS = frozenset({"endpoint", *TextToVideo.__annotations__})

_INPUT_OF = {"image": "image_to_video", "video": "video_to_video"}

_KINDS = {
    FieldDescriptor.TYPE_STRING: "text",
    FieldDescriptor.TYPE_INT32: "a 32-bit integer",
    FieldDescriptor.TYPE_INT64: "a 64-bit integer",
    FieldDescriptor.TYPE_FLOAT: "a number",
    FieldDescriptor.TYPE_BOOL: "true or false",
}


def build_submit_request(
    endpoint: str | None, options: TextToVideo, uploaded: Mapping[str, File] | None = None
) -> SubmitRequest:
    """The message for one submission, with a fresh idempotency key (a random UUID) unless `options` names one.

    Args:
        endpoint: the model, such as `fal-ai/cogvideox-5b`; None leaves the choice to the service.
        options: what to make and how to queue it. An option that is None is left out.
        uploaded: the files among the options that were uploaded before, by option (`loras[0]`).

    Raises:
        TypeError: an option is unknown, the prompt is missing, or `image` and `video` are both given.
        OSError: a path cannot be read.
        InvalidInputError: a value does not fit into the message: a wrong type, an unknown preset, a number that is
            out of range. Field names are those that the service uses.
    """
    uploaded = uploaded or {}
    sent = {name: file for name, file in uploaded.items() if not name.startswith("loras[")}
    values: dict[str, object] = {"endpoint": endpoint, **options, **sent}
    if unknown := values.keys() - _OPTIONS:
        raise TypeError(f"unknown option: {', '.join(sorted(unknown))}")
    if values.get("prompt") is None:
        raise TypeError("the option prompt is required")
    inputs = [_INPUT_OF[name] for name in _INPUT_OF if values.get(name) is not None]
    if len(inputs) > 1:
        raise TypeError("the options image and video exclude each other")
    kind = inputs[0] if inputs else "text_to_video"
    request = SubmitRequest()
    getattr(request, kind).SetInParent()
    violations: list[Violation] = []
    for place, lora in enumerate(loras_of(values.pop("loras", None))):
        path = f"{_path(kind, 'loras')}[{place}]"
        try:
            _text_of(request, kind).loras.append(lora_of(lora, uploaded.get(f"loras[{place}]")))
        except ValueError as error:
            violations.append(Violation(path, str(error)))
    for name, value in values.items():
        if value is not None:
            try:
                _put(request, kind, name, value)
            except ValueError as error:
                violations.append(Violation(_path(kind, name), str(error)))
    if violations:
        raise InvalidInputError(ErrorDetails("the input was refused before it was sent", violations=tuple(violations)))
    return with_idempotency_key(request)


def with_idempotency_key(request: SubmitRequest) -> SubmitRequest:
    """The request itself if it has an idempotency key, else a copy with a fresh one (a random UUID).

    Retries of a submission are safe by its key alone: without one, each may make another video.
    """
    if request.HasField("idempotency_key"):
        return request
    keyed = SubmitRequest(idempotency_key=str(uuid.uuid4()))
    keyed.MergeFrom(request)
    return keyed


def _put(request: SubmitRequest, kind: str, name: str, value: object) -> None:
    match name:
        case "video_size":
            _text_of(request, kind).video_size.CopyFrom(_video_size(value))
        case "image" | "video":
            getattr(getattr(request, kind), name).CopyFrom(file_of(value))
        case "strength":
            if kind != "video_to_video":
                raise ValueError("goes with video")
            _put_scalar(request.video_to_video, name, value)
        case "priority":
            request.priority = _priority(value)
        case "start_timeout_s":
            request.start_timeout.CopyFrom(_duration(value))
        case "object_lifetime_s":
            request.object_lifetime.CopyFrom(_duration(value))
        case "endpoint" | "webhook_url" | "max_attempts" | "idempotency_key":
            _put_scalar(request, name, value)
        case _:
            _put_scalar(_text_of(request, kind), name, value)


def _text_of(request: SubmitRequest, kind: str) -> TextToVideoInput:
    text: TextToVideoInput = request.text_to_video if kind == "text_to_video" else getattr(request, kind).text
    return text


def _path(kind: str, option: str) -> str:
    if option in TextToVideoInput.DESCRIPTOR.fields_by_name:
        return f"{kind}.{option}" if kind == "text_to_video" else f"{kind}.text.{option}"
    if option in {*_INPUT_OF, "strength"}:
        return f"{kind}.{option}"
    return option.removesuffix("_s")


def _put_scalar(message: Message, name: str, value: object) -> None:
    kind = _KINDS[message.DESCRIPTOR.fields_by_name[name].type]
    if isinstance(value, bool) and kind != _KINDS[FieldDescriptor.TYPE_BOOL]:  # which Python takes for 0 or 1
        raise ValueError(f"must be {kind}, not {value}")
    try:
        setattr(message, name, value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"must be {kind}, not {reprlib.repr(value)}") from error


def _video_size(value: object) -> VideoSize:
    match value:
        case str() if value in VIDEO_SIZE_PRESETS:
            return VideoSize(preset=VideoSizePreset.Value(f"VIDEO_SIZE_PRESET_{value.upper()}"))
        case (width, height):
            sides = {"width": width, "height": height}
        case Mapping() if value.keys() <= {"width", "height"}:
            sides = dict(value)
        case _:
            presets = ", ".join(VIDEO_SIZE_PRESETS)
            raise ValueError(f"must be (width, height) or one of {presets}, not {reprlib.repr(value)}")
    size = ImageSize()
    for name, side in sides.items():
        _put_scalar(size, name, side)
    return VideoSize(dimensions=size)


def _priority(value: object) -> Priority.ValueType:
    match value:
        case "normal":
            return Priority.PRIORITY_NORMAL
        case "low":
            return Priority.PRIORITY_LOW
        case _:
            raise ValueError(f"must be normal or low, not {reprlib.repr(value)}")


def _duration(value: object) -> Duration:
    duration = Duration()
    try:
        seconds = None if isinstance(value, bool) else value
        duration.FromTimedelta(timedelta(seconds=seconds))  # type: ignore[arg-type] # what is no number raises
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"must be a number of seconds, not {reprlib.repr(value)}") from error
    return duration
