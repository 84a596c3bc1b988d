"""What a doctor's checks find, and how that is told: to people as text, to programs as JSON."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

import click

_WIDTH = 100
_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    """As it should be."""

    WARNING = "warning"
    """It works, or may work; someone should know."""

    PROBLEM = "problem"
    """Something will not work before this is put right."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check has to say. Unless it is ok, it says why that matters and what to do."""

    check: str
    verdict: Verdict
    found: str
    why: str = ""
    remedy: str = ""


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, Verdict.OK, found)


def warning(check: str, found: str, why: str, remedy: str) -> Finding:
    """Someone should know."""
    return Finding(check, Verdict.WARNING, found, why, remedy)


def problem(check: str, found: str, why: str, remedy: str) -> Finding:
    """Something will not work."""
    return Finding(check, Verdict.PROBLEM, found, why, remedy)


def has_problem(findings: Sequence[Finding]) -> bool:
    """Whether something will not work."""
    return any(finding.verdict is Verdict.PROBLEM for finding in findings)


def as_text(findings: Sequence[Finding]) -> str:
    """A line for each finding; what is not ok is followed by why it matters and what to do. Ends with the sum."""
    name_width = max((len(finding.check) for finding in findings), default=0)
    lines: list[str] = []
    for finding in findings:
        verdict = click.style(finding.verdict.ljust(len(Verdict.WARNING)), fg=_COLOURS[finding.verdict])
        stem = f"{finding.check.ljust(name_width)}  "
        lines += _wrapped(finding.found, f"{stem}{verdict}  ", len(stem) + len(Verdict.WARNING) + 2)
        for label, text in (("why", finding.why), ("do", finding.remedy)):
            if text:
                lines += _wrapped(text, f"{'':{len(stem)}}  {label:>3}: ", len(stem) + 7)
    counts = Counter(finding.verdict for finding in findings)
    sums = [
        f"{counts[verdict]} {verdict}{'' if counts[verdict] == 1 else 's'}"
        for verdict in (Verdict.PROBLEM, Verdict.WARNING)
        if counts[verdict]
    ]
    return "\n".join([*lines, "", f"{', '.join(sums) or 'nothing to complain of'}; {counts[Verdict.OK]} ok"])


def as_json(findings: Sequence[Finding]) -> str:
    """One JSON object: `healthy`, and `findings` with check, verdict, found, why and remedy."""
    document = {"healthy": not has_problem(findings), "findings": [asdict(finding) for finding in findings]}
    return json.dumps(document, indent=2, ensure_ascii=False)


def _wrapped(text: str, first: str, indent: int) -> list[str]:
    """`text` after `first`, which may hold colours, and further lines under it."""
    lines = textwrap.wrap(text, max(_WIDTH - indent, 40), break_long_words=False, break_on_hyphens=False) or [""]
    return [f"{first}{lines[0]}", *(f"{'':{indent}}{line}" for line in lines[1:])]
