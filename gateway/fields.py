"""From fields of the contract to places in an HTTP call: `text_to_video.seed` is `["body", "seed"]` to its sender."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cogreel import Violation

from gateway.answers import Problem
from hosted import inputs

_ELSEWHERE: Mapping[str, tuple[str | int, ...]] = {
    "webhook_url": ("query", "fal_webhook"),
    "start_timeout": ("header", "x-fal-request-timeout"),
    "priority": ("header", "x-fal-queue-priority"),
    "object_lifetime": ("header", "x-fal-object-lifecycle-preference"),
    "idempotency_key": ("header", "idempotency-key"),
}


class _Rule(NamedTuple):
    words: re.Pattern[str]
    type: str
    ctx: Callable[[re.Match[str]], dict[str, object]] | None = None


_NUMBER = r"(-?[\d.]+)"
_RULES = (
    _Rule(re.compile("must be a (?:32|64)-bit integer"), "int_type"),
    _Rule(re.compile("must be a number"), "float_type"),
    _Rule(re.compile("must be true or false"), "bool_type"),
    _Rule(re.compile("must be text"), "string_type"),
    _Rule(re.compile(r"must be at most (\d+) characters"), "string_too_long", lambda m: {"max_length": int(m[1])}),
    _Rule(re.compile(r"must be a multiple of (\d+)"), "multiple_of", lambda m: {"multiple_of": int(m[1])}),
    _Rule(
        re.compile(rf"must be greater than or equal to {_NUMBER}$"), "greater_than_equal", lambda m: {"ge": _n(m[1])}
    ),
    _Rule(re.compile(rf"must be less than or equal to {_NUMBER}$"), "less_than_equal", lambda m: {"le": _n(m[1])}),
    _Rule(re.compile("there is no such file"), "file_download_error"),
)
_RANGE = re.compile(rf"must be greater than or equal to {_NUMBER} and less than or equal to {_NUMBER}")


def place_of(field: str) -> tuple[str | int, ...]:
    """Where a field of `SubmitRequest` stands in a submission over HTTP."""
    return _ELSEWHERE.get(field.partition(".")[0]) or inputs.place_of(field)


def problem_of(violation: Violation, body: Mapping[str, object] | None = None) -> Problem:
    """A violation as an entry of a 422; `body` is what was submitted, to tell which end of a range is missed."""
    place, rule = place_of(violation.field), violation.description
    if (found := _RANGE.search(rule)) is not None:
        value = _value_at(place, body)
        low, high = _n(found[1]), _n(found[2])
        if isinstance(value, int | float) and value > high:
            return Problem(place, rule, "less_than_equal", {"le": high})
        return Problem(place, rule, "greater_than_equal", {"ge": low})
    for words, kind, ctx in _RULES:
        if (match := words.search(rule)) is not None:
            return Problem(place, rule, kind, ctx(match) if ctx is not None else None)
    return Problem(place, rule)


def _value_at(place: tuple[str | int, ...], body: Mapping[str, object] | None) -> object:
    value: object = body
    for step in place[1:]:
        match value, step:
            case Mapping(), str():
                value = value.get(step)
            case list(), int() if step < len(value):
                value = value[step]
            case _:
                return None
    return value


def _n(text: str) -> int | float:
    return float(text) if "." in text else int(text)
