"""Write docs/errors.md from the contract, the service and the client, or check that it is current.

    python -m scripts.document_errors           # write
    python -m scripts.document_errors --check   # exit 1 if the page is stale, or an error has no remedy

What a reason means stands in the comments of the contract; its code is the service's, its exception and exit code the
client's; causes and remedies are in `scripts.remedies`.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cogreel.cli.error_report import report
from cogreel.errors import ErrorDetails, typed_error
from cogreel.v1.errors_pb2 import ErrorReason
from cogreel.v1.queue_pb2 import FailureReason
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from scripts.generate_stubs import run_protoc
from scripts.generated_page import ROOT, UndocumentedError, cell, notice, write_or_check
from scripts.remedies import ERRORS, FAILURES, Remedy
from service.errors import CallError

PAGE = ROOT / "docs/errors.md"
_DETAILS = ("BadRequest", "ResourceInfo", "RetryInfo")
_INTRODUCTION = """\
Every refused call is a `google.rpc.Status`. Its `ErrorInfo` has the domain `cogreel.v1` and one of the reasons below;
further details are named with each. The Python client raises the exception named here, with `reason`, `metadata`,
`violations` and `retry_after`, and the command `cogreel` ends with the exit code. Treat a reason that you do not
know by its code: newer services may send more.

`BadRequest` names each field and the rule that it breaks, `ResourceInfo` the request, endpoint or file that the error
speaks of, `RetryInfo` when to try again. An error says nothing about the fate of a request unless its code is
FAILED_PRECONDITION: UNAVAILABLE, DEADLINE_EXCEEDED and CANCELLED speak of the call alone."""
_OTHERS = """\
## Without a reason

An error without `ErrorInfo` of this domain did not come from CogReel, but from gRPC or from a proxy on the way.

| code | cause | what to do |
|---|---|---|
| UNAVAILABLE | nothing listens at the address, or the connection broke | `cogreel doctor` says which part of the \
way is broken; the client repeats by itself |
| DEADLINE_EXCEEDED | the caller's own deadline passed; a request that was submitted goes on | ask again, with a \
longer deadline |
| CANCELLED | the caller, a proxy, or a server under a burst of calls cancelled the call | repeat it, with jitter |
| UNIMPLEMENTED | something else than CogReel listens there, or a proxy serves other paths | `cogreel doctor` |
| RESOURCE_EXHAUSTED | a message above 32 MiB | upload large files instead of sending them inline |
| INTERNAL, UNKNOWN | a proxy does not speak HTTP/2, or answers for a service that is away | `cogreel doctor`, and the \
proxy's log |
"""


@dataclass(frozen=True, slots=True)
class Specified:
    """An enum's value as the contract describes it: its short name and its comment, on one line."""

    name: str
    comment: str


def specified(proto: str, enum_name: str, prefix: str) -> list[Specified]:
    """The values of an enum that are sent, with their comments."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "set")
        run_protoc("--include_source_info", f"--descriptor_set_out={out}", proto)
        file = FileDescriptorSet.FromString(out.read_bytes()).file[0]
    comments = {tuple(location.path): location.leading_comments for location in file.source_code_info.location}
    number, enum = next((n, enum) for n, enum in enumerate(file.enum_type) if enum.name == enum_name)
    return [
        Specified(value.name.removeprefix(prefix), " ".join(comments[5, number, 2, n].split()).removeprefix(prefix))
        for n, value in enumerate(enum.value)
        if value.number != 0
    ]


def page() -> str:
    """The whole page.

    Raises:
        UndocumentedError: a reason has no remedy, or its comment names another code than the service sends.
    """
    errors = specified("cogreel/v1/errors.proto", "ErrorReason", "ERROR_REASON_")
    failures = specified("cogreel/v1/queue.proto", "FailureReason", "FAILURE_REASON_")
    _check_complete("ErrorReason", errors, ERRORS)
    _check_complete("FailureReason", failures, FAILURES)
    lines = ["# Errors", "", notice("document_errors", "the contract and `scripts/remedies.py`"), "", _INTRODUCTION, ""]
    lines += _table(errors)
    for value in errors:
        lines += _error(value)
    lines += [_OTHERS, *_failures(failures)]
    return "\n".join(lines).rstrip() + "\n"


def _check_complete(enum: str, values: list[Specified], remedies: Mapping[str, Remedy]) -> None:
    names = {value.name for value in values}
    if missing := names - set(remedies):
        raise UndocumentedError(f"{enum}: no remedy in scripts/remedies.py for {', '.join(sorted(missing))}")
    if unknown := set(remedies) - names:
        raise UndocumentedError(
            f"{enum}: scripts/remedies.py knows {', '.join(sorted(unknown))}, the contract does not"
        )


def _code(value: Specified) -> str:
    sent = CallError(ErrorReason.Value(f"ERROR_REASON_{value.name}"), "").code.name
    if not value.comment.startswith(f"{value.name} ({sent}): "):
        raise UndocumentedError(f"{value.name}: the service sends {sent}, its comment in errors.proto says otherwise")
    return sent


def _table(errors: list[Specified]) -> Iterator[str]:
    yield "| reason | code |"
    yield "|---|---|"
    for value in errors:
        yield f"| [{value.name}](#{value.name.lower()}) | {_code(value)} |"
    yield ""


def _error(value: Specified) -> Iterator[str]:
    remedy = ERRORS[value.name]
    error = typed_error(ErrorDetails("", reason=value.name))
    exit_code = report(error, "").exit_code
    meaning = value.comment.partition("): ")[2]
    yield f"## {value.name}"
    yield ""
    yield f"{meaning[0].upper()}{meaning[1:]}"
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield f"| code | {_code(value)} |"
    yield f"| details | {cell(_details(meaning))} |"
    yield f"| Python | `{type(error).__name__}` |"
    yield f"| exit code of `cogreel` | {exit_code.value} |"
    yield from _rows(remedy)


def _rows(remedy: Remedy) -> Iterator[str]:
    yield f"| **cause** | {cell(remedy.cause)} |"
    yield f"| **what to do** | {cell(remedy.remedy)} |"
    if remedy.operator:
        yield f"| **operators** | {cell(remedy.operator)} |"
    yield ""


def _details(meaning: str) -> str:
    named = [f"`{detail}`" for detail in _DETAILS if detail in meaning]
    keys = re.search(r"metadata keys? ((?:`\w+`(?:,| and)? ?)+)", meaning)
    if keys is not None:
        named += [f"metadata {key}" for key in re.findall(r"`\w+`", keys[1])]
    return ", ".join(named) or "–"


def _failures(failures: list[Specified]) -> Iterator[str]:
    yield "## Why a request failed"
    yield ""
    yield "A request that ended as FAILED carries a `Failure` in its status, and one for each earlier attempt. Its"
    yield "`message` is for people, its `reason` one of these; REQUEST_FAILED names it in the metadata key `failure`."
    yield ""
    for value in failures:
        FailureReason.Value(f"FAILURE_REASON_{value.name}")
        text = value.comment.removeprefix(value.name)
        text = text.removeprefix(": ") if text.startswith(": ") else f"It{text}"
        yield f"### {value.name}"
        yield ""
        yield f"{text[0].upper()}{text[1:]}"
        yield ""
        yield "| | |"
        yield "|---|---|"
        yield from _rows(FAILURES[value.name])


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page, __doc__.splitlines()[0]))
