"""The generators of documents refuse to leave something unexplained."""

from __future__ import annotations

import click
import pytest
from cogreel.v1.errors_pb2 import ErrorReason

from scripts import document_commands, document_errors, remedies
from scripts.generated_page import UndocumentedError
from service.errors import CallError


def test_each_error_has_a_section_with_cause_and_remedy() -> None:
    sections = document_errors.page().split("\n## ")
    for name in ErrorReason.keys()[1:]:
        reason = name.removeprefix("ERROR_REASON_")
        section = next(section for section in sections if section.startswith(f"{reason}\n"))
        assert all(row in section for row in ("| code |", "| **cause** |", "| **what to do** |")), reason
        assert f"| {CallError(ErrorReason.Value(name), '').code.name} |" in section


@pytest.mark.parametrize("table", [remedies.ERRORS, remedies.FAILURES], ids=["errors", "failures"])
def test_a_missing_and_a_superfluous_remedy_are_refused(
    table: dict[str, remedies.Remedy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(table, "NO_SUCH_REASON", remedies.Remedy("", ""))
    with pytest.raises(UndocumentedError, match="NO_SUCH_REASON"):
        document_errors.page()
    monkeypatch.delitem(table, "NO_SUCH_REASON")
    monkeypatch.delitem(table, "INTERNAL")
    with pytest.raises(UndocumentedError, match="INTERNAL"):
        document_errors.page()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (click.Command("go"), "has no help"),
        (click.Command("go", help="Go."), "no example"),
        (click.Command("go", help="Go.\n\nExample: go", params=[click.Option(["--far"])]), "--far has no help"),
    ],
)
def test_commands_without_help_or_example_are_refused(
    command: click.Command, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document_commands, "cogreel", click.Group("cogreel", [command], help="All."))
    with pytest.raises(UndocumentedError, match=said):
        document_commands.page()
