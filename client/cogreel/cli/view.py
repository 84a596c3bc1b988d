"""How the course of a request is shown: live on a terminal, line by line elsewhere. Both write to stderr."""

from __future__ import annotations

import sys
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

import click

from cogreel.cli.wording import update_line
from cogreel.updates import ProgressUpdate, StateUpdate, Update


class View(Protocol):
    """Shows updates while it is entered. It may be left and entered again."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def show(self, update: Update) -> None:
        """Show what happened."""

    def note(self, text: str) -> None:
        """Show a remark on the connection; it holds until the next update."""


class PlainView:
    """Lines with their local time, for logs, pipes and terminals that can do no more: of the steps of a stage, only
    the first and one in each tenth.
    """

    def __init__(self) -> None:
        self._held = False
        self._told = ("", 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def show(self, update: Update) -> None:
        """Print the update, if there is anything to read in it."""
        match update:
            case StateUpdate(status=status):
                self._held, self._told = status.held, ("", 0)
            case ProgressUpdate(stage=stage, step=step, total=total):
                reached = stage, 10 * step // total if total else 0
                if reached == self._told:
                    return
                self._told = reached
            case _:
                pass
        line = update_line(update, held=self._held)
        if line is not None:
            click.echo(f"{update.time.astimezone():%H:%M:%S} {line}", err=True)

    def note(self, text: str) -> None:
        """Print the remark."""
        click.echo(f"{datetime.now().astimezone():%H:%M:%S} {text}", err=True)


class QuietView(PlainView):
    """Shows nothing."""

    def show(self, update: Update) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""


def open_view(title: str, *, quiet: bool = False) -> View:
    """The view that suits stderr. `title` says what is being made."""
    if quiet:
        return QuietView()
    if not sys.stderr.isatty():
        return PlainView()
    from cogreel.cli.live_view import LiveView  # noqa: PLC0415 - rich is loaded where it is shown

    view = LiveView(title)
    return view if view.can_animate else PlainView()
