"""Reading what a doctor's checks found."""

from __future__ import annotations

from collections.abc import Sequence

from cogreel.cli.findings import Finding, Verdict


def only(findings: Sequence[Finding], check: str) -> Finding:
    """The one finding of a check. What is not ok must say why it matters and what to do."""
    found = [finding for finding in findings if finding.check == check]
    assert len(found) == 1, findings
    return told(found[0])


def told(finding: Finding) -> Finding:
    """The finding, which must be of use to someone."""
    assert finding.found
    assert finding.verdict is Verdict.OK or (finding.why and finding.remedy), finding
    return finding


def verdicts(findings: Sequence[Finding]) -> dict[str, Verdict]:
    """The worst verdict of each check."""
    order = list(Verdict)
    worst: dict[str, Verdict] = {}
    for finding in map(told, findings):
        worst[finding.check] = max(worst.get(finding.check, Verdict.OK), finding.verdict, key=order.index)
    return worst
