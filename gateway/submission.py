"""From a submission over HTTP to the contract's: body, headers and query."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import cogreel
from cogreel.submission import TextToVideo, build_submit_request
from cogreel.v1.admin_pb2 import InputKind
from cogreel.v1.catalog_pb2 import Endpoint
from cogreel.v1.queue_pb2 import SubmitRequest
from cogreel.v1.video_pb2 import File

from gateway.answers import Problem, invalid
from gateway.fields import problem_of

NO_STORE_S = 3600.0  # the time for which the hosted API keeps a result
_PLAIN = (
    "prompt",
    "negative_prompt",
    "num_inference_steps",
    "seed",
    "guidance_scale",
    "use_rife",
    "export_fps",
    "video_size",
)
_WHOLE_NUMBERS = frozenset({"num_inference_steps", "seed", "export_fps", "width", "height"})
_FILE_OF = {InputKind.INPUT_KIND_IMAGE_TO_VIDEO: "image", InputKind.INPUT_KIND_VIDEO_TO_VIDEO: "video"}
_YES = frozenset({"1", "true", "yes"})
_IDEMPOTENCY_HEADERS = ("idempotency-key", "x-idempotency-key")


@dataclass(frozen=True, slots=True)
class Submission:
    """What was submitted, and what the caller wants to happen with it."""

    request: SubmitRequest
    """Without an idempotency key."""
    body: Mapping[str, object]
    """The input as it came."""
    idempotency_key: str | None
    """The caller's own."""
    max_waiting: int | None
    """It is to be refused if more requests than that wait."""

    @property
    def has_seed(self) -> bool:
        """Whether the caller has fixed the seed, so that a repetition would give the same video."""
        return self.body.get("seed") is not None


def read_submission(
    endpoint: Endpoint,
    body: Mapping[str, object],
    headers: Mapping[str, str],
    query: Mapping[str, str],
    located: Callable[[str], str],
) -> Submission:
    """Read a submission; keys of the body that are not known are left alone, as the hosted API does.

    `located` gives the store's URL for a file's URL at the gateway, and others back.

    Raises:
        RefusalError: a value has the wrong form; each is named.
    """
    problems: list[Problem] = []
    options = _options_of(headers, query, problems)
    max_waiting = _number("query", "fal_max_queue_length", query, problems)
    options |= _input_of(endpoint, body, located, problems)
    try:
        # A prompt that is missing has been noted; with another in its place, the other fields are looked at.
        request = build_submit_request(endpoint.endpoint, cast("TextToVideo", {"prompt": "-", **options}))
    except cogreel.InvalidInputError as error:
        problems += [problem_of(violation, body) for violation in error.violations]
    if problems:
        raise invalid(problems)
    request.ClearField("idempotency_key")
    key = next((headers[name] for name in _IDEMPOTENCY_HEADERS if headers.get(name)), None)
    return Submission(request, body, key, int(max_waiting) if max_waiting is not None else None)


def _input_of(
    endpoint: Endpoint, body: Mapping[str, object], located: Callable[[str], str], problems: list[Problem]
) -> dict[str, object]:
    values = {name: _whole(name, body[name]) for name in _PLAIN if body.get(name) is not None}
    if isinstance(size := values.get("video_size"), dict):
        values["video_size"] = {name: _whole(name, side) for name, side in size.items() if side is not None}
    if body.get("loras") is not None:
        values["loras"] = _loras(body["loras"], located, problems)
    required = ["prompt"]
    if (name := _FILE_OF.get(endpoint.card.input_kind)) is not None:
        required.append(f"{name}_url")
        values[name] = _file(f"{name}_url", body, located, problems)
    if name == "video" and body.get("strength") is not None:
        values["strength"] = body["strength"]
    problems += [Problem(("body", field), "Field required", "missing") for field in required if body.get(field) is None]
    return values


def _file(field: str, body: Mapping[str, object], located: Callable[[str], str], problems: list[Problem]) -> File:
    url = body.get(field)
    if url is not None and not isinstance(url, str):
        problems.append(Problem(("body", field), "must be a URL, or a base64 data: URI", "string_type"))
    # Never as text: the client would take what is no URL for a path of this machine.
    return File(url=located(url) if isinstance(url, str) else "")


def _loras(value: object, located: Callable[[str], str], problems: list[Problem]) -> list[dict[str, object]]:
    if not isinstance(value, list):
        problems.append(Problem(("body", "loras"), "must be a list", "list_type"))
        return []
    found: list[dict[str, object]] = []
    for place, lora in enumerate(value):
        if isinstance(lora, dict) and isinstance(lora.get("path"), str):
            scale = {"scale": lora["scale"]} if lora.get("scale") is not None else {}
            found.append({"path": located(lora["path"]), **scale})
        else:
            problems.append(Problem(("body", "loras", place, "path"), "Field required", "missing"))
    return found


def _options_of(headers: Mapping[str, str], query: Mapping[str, str], problems: list[Problem]) -> dict[str, object]:
    lifetimes = [_lifetime(headers, problems)]
    if headers.get("x-fal-store-io", "").strip() == "0":
        lifetimes.append(NO_STORE_S)
    options: dict[str, object] = {
        "priority": headers.get("x-fal-queue-priority", "").strip().lower() or None,
        "start_timeout_s": _number("header", "x-fal-request-timeout", headers, problems),
        "object_lifetime_s": min((found for found in lifetimes if found is not None), default=None),
        "max_attempts": 1 if headers.get("x-fal-no-retry", "").strip().lower() in _YES else None,
        "webhook_url": query.get("fal_webhook") or None,
    }
    return {name: value for name, value in options.items() if value is not None}


def _number(part: str, name: str, values: Mapping[str, str], problems: list[Problem]) -> float | None:
    text = values.get(name, "").strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        problems.append(Problem((part, name), f"must be a number from 0 on, not {text[:40]!r}", "float_parsing"))
        return None
    return number


def _lifetime(headers: Mapping[str, str], problems: list[Problem]) -> float | None:
    name = "x-fal-object-lifecycle-preference"
    if not headers.get(name):
        return None
    try:
        seconds = json.loads(headers[name]).get("expiration_duration_seconds")
        return float(seconds) if seconds is not None else None
    except (ValueError, TypeError, AttributeError):
        rule = 'must be JSON such as {"expiration_duration_seconds": 3600}'
        problems.append(Problem(("header", name), rule, "json_invalid"))
        return None


def _whole(name: str, value: object) -> object:
    """The value, without the fraction that JSON may put behind a whole number."""
    return int(value) if name in _WHOLE_NUMBERS and isinstance(value, float) and value.is_integer() else value
