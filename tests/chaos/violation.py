"""What the checker finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken: the rule in words, the request (empty where none is meant), and what was seen."""

    rule: str
    request_id: str
    seen: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.request_id or '-'}: {self.seen}"
