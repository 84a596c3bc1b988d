"""Checking messages against the rules that stand in the contract, before anything else looks at them."""

from __future__ import annotations

import re

import protovalidate
from google.protobuf.message import Message

from jobs.errors import InvalidInputError, Violation

# A bound of 32 bits, such as 0.05, spelt out in 64: 0.05000000074505806.
_LONG_FRACTION = re.compile(r"\d+\.\d{7,}")


def check(message: Message) -> None:
    """Check a message by its protovalidate rules.

    Raises:
        InvalidInputError: with one violation for each rule that is broken.
    """
    try:
        protovalidate.validate(message)
    except protovalidate.ValidationError as error:
        raise InvalidInputError([_violation(found) for found in error.violations]) from error


def _violation(found: protovalidate.Violation) -> Violation:
    path = ""
    for element in found.proto.field.elements if found.proto.field else ():
        path += ("." if path else "") + element.field_name
        if element.subscript is not None:
            path += f"[{element.subscript.value}]"
    return Violation(path, _LONG_FRACTION.sub(lambda number: f"{float(number[0]):g}", found.proto.message))
