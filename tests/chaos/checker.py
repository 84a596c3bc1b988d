"""The history checker: decides from what was seen and what is on disk whether the queue kept its word.

It imports nothing of the queue's logic, only the schema of its records, and works out for itself what must hold.
`python -m tests.chaos.checker FOLDER` judges again what a campaign left in a folder.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.caller_rules import (
    acknowledgement_violations,
    call_violations,
    repeat_violations,
    result_violations,
)
from tests.chaos.evidence import Evidence
from tests.chaos.history import History
from tests.chaos.position_rules import position_violations
from tests.chaos.request_rules import by_request, state_violations
from tests.chaos.running_rules import cancel_violations
from tests.chaos.violation import Violation
from tests.chaos.watch_rules import watch_violations

HISTORY_FILE = "history.jsonl"
EVIDENCE_FILE = "evidence.jsonl"


def check(history: History, evidence: Evidence) -> list[Violation]:
    """Every promise that was broken; empty if the queue kept its word."""
    return list(_all_violations(history, evidence))


def _all_violations(history: History, evidence: Evidence) -> Iterator[Violation]:
    requests = by_request(evidence.states)
    yield from state_violations(requests)
    yield from result_violations(requests, evidence, history)
    yield from acknowledgement_violations(requests, history)
    yield from repeat_violations(requests, history)
    yield from watch_violations(requests, evidence.entries, history)
    yield from position_violations(requests, history)
    yield from cancel_violations(requests, evidence.entries, history)
    yield from call_violations(requests, history)


def main(folder: Path) -> int:
    """Judge what lies in a folder; returns 1 if a promise was broken."""
    violations = check(History.load(folder / HISTORY_FILE), Evidence.load(folder / EVIDENCE_FILE))
    for violation in violations:
        print(violation)
    print(f"{len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
