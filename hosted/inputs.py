"""From fields of the contract to those of the hosted schema: `image_to_video.image.url` is `image_url` there."""

from __future__ import annotations

import re

_KINDS = frozenset({"text_to_video", "image_to_video", "video_to_video"})
_FILES = {"image": "image_url", "video": "video_url"}
_OURS = frozenset({"text", "dimensions", "preset"})
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def place_of(field: str) -> tuple[str | int, ...]:
    """Where a field of `SubmitRequest` stands in an input, from `body` on."""
    steps: list[str | int] = [int(index) if index else name for name, index in _STEP.findall(field)]
    if not steps or steps[0] not in _KINDS:
        return ("body", *steps)
    inner = [step for step in steps[1:] if step not in _OURS]
    if inner and inner[0] in _FILES:
        return ("body", _FILES[str(inner[0])])
    return ("body", *inner)
