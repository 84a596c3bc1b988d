"""Writing a page of the documents that is made from the code, or checking that it is current."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class UndocumentedError(Exception):
    """Something that the page must explain is not explained."""


def notice(script: str, sources: str) -> str:
    """The comment at the head of a page, for whoever wants to change it."""
    return f"<!-- Written by `python -m scripts.{script}` from {sources}: change it there. -->"


def cell(text: str) -> str:
    """Text as a cell of a table."""
    return " ".join(text.split()).replace("|", "&#124;")


def write_or_check(page: Path, make: Callable[[], str], description: str) -> int:
    """Run the command line of a generator; returns the exit status: with `--check` 1 if the page is stale."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if the page is stale")
    check = parser.parse_args().check
    try:
        current = make()
    except UndocumentedError as error:
        print(f"{page.relative_to(ROOT)}: {error}")
        return 1
    if page.is_file() and page.read_text(encoding="utf-8") == current:
        return 0
    print(f"{'stale' if check else 'written'}: {page.relative_to(ROOT)}")
    if not check:
        page.write_text(current, encoding="utf-8")
    return 1 if check else 0
