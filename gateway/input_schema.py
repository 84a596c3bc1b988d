"""What an endpoint takes, as JSON Schema: rules from the contract, limits and defaults from the model's card."""

from __future__ import annotations

from buf.validate import validate_pb2
from cogreel.submission import VIDEO_SIZE_PRESETS
from cogreel.v1.admin_pb2 import InputKind, ModelCard
from cogreel.v1.catalog_pb2 import Endpoint
from cogreel.v1.video_pb2 import ImageSize, Lora, TextToVideoInput, VideoToVideoInput
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

Schema = dict[str, object]

_TYPES = {
    FieldDescriptor.TYPE_STRING: ("string", "string"),
    FieldDescriptor.TYPE_INT32: ("integer", "int32"),
    FieldDescriptor.TYPE_INT64: ("integer", "int64"),
    FieldDescriptor.TYPE_FLOAT: ("number", "float"),
    FieldDescriptor.TYPE_BOOL: ("boolean", "bool"),
}
"""The type of a field in JSON, and which of its validation rules hold the bounds."""

_DESCRIPTIONS = {
    "prompt": "What the video shows.",
    "video_size": "The size of the finished video: a preset, or width and height in pixels.",
    "negative_prompt": "What the video should not show.",
    "num_inference_steps": "How many denoising steps to do.",
    "seed": "The same seed and input give the same video. Left out, one is drawn and returned.",
    "guidance_scale": "How closely to follow the prompt.",
    "use_rife": "Whether to double the number of frames by interpolation.",
    "export_fps": "Frames shown a second.",
    "loras": "Low-rank adapters for this request.",
    "path": "A hub id such as owner/name, or the URL of a safetensors file.",
    "scale": "How strongly it acts.",
    "image_url": "The picture that the video begins with: a URL or a base64 data URI.",
    "video_url": "The video that it is made from: a URL or a base64 data URI.",
    "strength": "How far to move away from the video.",
    "width": "In pixels.",
    "height": "In pixels.",
}


def input_schema(endpoint: Endpoint) -> Schema:
    """The schema of a submission's body."""
    card = endpoint.card
    properties: dict[str, Schema] = {}
    for name in TextToVideoInput.DESCRIPTOR.fields_by_name:
        match name:
            case "video_size":
                properties[name] = _video_size(card)
            case "loras":
                if card.max_loras:
                    properties[name] = _loras(card)
            case _:
                properties[name] = _scalar(TextToVideoInput(), name, card.defaults)
    required = ["prompt"]
    if card.input_kind == InputKind.INPUT_KIND_IMAGE_TO_VIDEO:
        required.append("image_url")
        properties["image_url"] = {"type": "string", "description": _DESCRIPTIONS["image_url"]}
    if card.input_kind == InputKind.INPUT_KIND_VIDEO_TO_VIDEO:
        required.append("video_url")
        properties["video_url"] = {"type": "string", "description": _DESCRIPTIONS["video_url"]}
        defaults = VideoToVideoInput(strength=card.default_strength or 0.8)
        properties["strength"] = _scalar(VideoToVideoInput(), "strength", defaults)
    title = f"Input of {endpoint.endpoint}"
    return {"title": title, "type": "object", "properties": properties, "required": required}


def output_schema() -> Schema:
    """The schema of a result."""
    text, whole = {"type": "string"}, {"type": "integer"}
    video = {"url": text, "content_type": text, "file_name": text, "file_size": whole}
    properties = {
        "video": {"type": "object", "properties": video, "required": ["url"]},
        "timings": {"type": "object", "additionalProperties": {"type": "number"}, "description": "Seconds by stage."},
        "seed": whole,
        "prompt": text,
    }
    return {"title": "Output", "type": "object", "properties": properties, "required": list(properties)}


def _scalar(message: Message, name: str, defaults: Message) -> Schema:
    field = message.DESCRIPTOR.fields_by_name[name]
    kind, rules_of = _TYPES[field.type]
    schema: Schema = {"type": kind, "description": _DESCRIPTIONS[name]}
    bounds = getattr(field.GetOptions().Extensions[validate_pb2.field], rules_of)
    for rule, word in (("gte", "minimum"), ("lte", "maximum"), ("max_len", "maxLength")):
        if rule in bounds.DESCRIPTOR.fields_by_name and bounds.HasField(rule):
            schema[word] = _short(getattr(bounds, rule))
    if field.has_presence and defaults.HasField(name):
        schema["default"] = _short(getattr(defaults, name))
    return schema


def _video_size(card: ModelCard) -> Schema:
    side = {"type": "integer", "minimum": card.min_side, "maximum": card.max_side, "multipleOf": 16}
    sides = {name: {**side, "description": _DESCRIPTIONS[name]} for name in ImageSize.DESCRIPTOR.fields_by_name}
    default = card.defaults.video_size.dimensions
    return {
        "description": f"{_DESCRIPTIONS['video_size']} At most {card.max_pixels} pixels in all.",
        "anyOf": [
            {"type": "object", "properties": sides, "required": list(sides)},
            {"type": "string", "enum": list(VIDEO_SIZE_PRESETS)},
        ],
        "default": {"width": default.width, "height": default.height},
    }


def _loras(card: ModelCard) -> Schema:
    properties = {name: _scalar(Lora(), name, Lora(scale=1)) for name in Lora.DESCRIPTOR.fields_by_name}
    items = {"type": "object", "properties": properties, "required": ["path"]}
    return {"description": _DESCRIPTIONS["loras"], "type": "array", "items": items, "maxItems": card.max_loras}


def _short(value: object) -> object:
    """A number of 32 bits as it was written, not as 64 bits spell it out."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
