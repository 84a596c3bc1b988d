"""The live view: the stages of a request with their times, a bar for the one at work, log lines above."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cogreel.cli.timeline import STAGES, Span, Timeline
from cogreel.cli.wording import duration, failed_attempt, place, printable, state
from cogreel.updates import LogTruncatedUpdate, LogUpdate, ProgressUpdate, StateUpdate, Update, queue_place

_FRAMES_PER_SECOND = 10

_LEVEL_STYLES = {"debug": "dim", "info": "", "warn": "yellow", "error": "red"}


class LiveView:
    """Draws on stderr while it is entered; what it drew last stays on the screen."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self._title = printable(title)
        self._console = console or Console(stderr=True, highlight=False)
        self._timeline = Timeline()
        self._note = ""
        self._opened = time.monotonic()
        self._progress_seen = self._opened
        self._spinner = Spinner("dots", style="cyan")
        self._live: Live | None = None

    @property
    def can_animate(self) -> bool:
        """Whether the terminal can be drawn on."""
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def __enter__(self) -> Self:
        self._live = Live(get_renderable=self.render, console=self._console, refresh_per_second=_FRAMES_PER_SECOND)
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def show(self, update: Update) -> None:
        """Draw the update; log lines and failed attempts are printed above the drawing."""
        self._note = ""
        known_failures = len(self._timeline.status.failed_attempts) if self._timeline.status else 0
        self._timeline.apply(update)
        match update:
            case ProgressUpdate():
                self._progress_seen = time.monotonic()
            case LogUpdate():
                self._print(update, printable(update.message), _LEVEL_STYLES.get(update.level, ""))
            case LogTruncatedUpdate():
                self._print(update, "some earlier steps and log lines have expired", "dim")
            case StateUpdate(status=status):
                for failure in status.failed_attempts[known_failures:]:
                    self._print(update, failed_attempt(failure), "yellow")
            case _:
                pass

    def note(self, text: str) -> None:
        """Draw the remark below the stages; before there is a drawing, print it."""
        if self._live is None:
            self._console.print(Text(printable(text), style="yellow"))
        else:
            self._note = printable(text)

    def render(self) -> RenderableType:
        """The drawing as of now."""
        rows = Table.grid(padding=(0, 1), expand=True)
        rows.add_column(width=3, justify="right")
        rows.add_column(width=11)
        rows.add_column(ratio=1)
        rows.add_column(justify="right", no_wrap=True)
        self._add_queue_row(rows)
        for stage in STAGES:
            self._add_stage_row(rows, stage)
        parts: list[RenderableType] = [self._heading(), rows]
        if self._note:
            parts.append(Padding(Text(self._note, style="yellow"), (0, 0, 0, 4)))
        # Room for the `^C` that terminals echo: a drawing that wraps cannot be redrawn in place.
        return Padding(Group(*parts), (0, 3, 0, 0))

    def _heading(self) -> RenderableType:
        heading = Table.grid(padding=(0, 1), expand=True)
        heading.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        heading.add_column(justify="right", no_wrap=True)
        elapsed = duration(time.monotonic() - self._opened)
        heading.add_row(Text(self._title, style="bold"), Text(elapsed, style="dim"))
        status = self._timeline.status
        if status is not None:
            heading.add_row(Text(f"{status.request_id} · seed {status.seed}", style="dim"), "")
        return heading

    def _add_queue_row(self, rows: Table) -> None:
        status, queue = self._timeline.status, self._timeline.queue
        if status is None or queue is None:
            rows.add_row(self._spinner, "queue", "", "")
        elif queue.ended is None:
            waits = queue_place(self._timeline.position, held=status.held)
            rows.add_row(self._spinner, "queue", Text(waits), "")
        else:
            self._add_done_row(rows, "queue", queue, place(status))

    def _add_stage_row(self, rows: Table, stage: str) -> None:
        stages, progress = self._timeline.stages, self._timeline.progress
        span = stages.get(stage)
        if span is None:
            passed = self._has_passed(stage)
            rows.add_row(Text("–" if passed else "·", style="dim"), Text(stage, style="dim"), "", "")
        elif span.ended is not None:
            self._add_done_row(rows, stage, span)
        elif progress is not None and progress.total:
            bar = ProgressBar(total=progress.total, completed=progress.step, complete_style="cyan")
            rows.add_row(self._spinner, Text(stage, style="bold"), bar, self._count(progress))
        else:
            rows.add_row(self._spinner, Text(stage, style="bold"), "", "")

    def _add_done_row(self, rows: Table, name: str, span: Span, detail: str = "") -> None:
        status, last = self._timeline.status, next(reversed(self._timeline.stages), "queue")
        mark, text = Text("✓", style="green"), Text(detail, style="dim")
        if status is not None and self._timeline.broke_off and name == last:
            mark, text = Text("✗", style="red"), Text(state(status), style="red")
        rows.add_row(mark, name, text, Text(duration(span.seconds or 0.0), style="dim"))

    def _has_passed(self, stage: str) -> bool:
        """Whether the stage was left out: a later one has begun, or the request has ended."""
        later = STAGES[STAGES.index(stage) + 1 :]
        return self._timeline.has_ended or any(other in self._timeline.stages for other in later)

    def _count(self, progress: ProgressUpdate) -> Text:
        count = Text(f"{progress.step}/{progress.total}")
        if progress.eta_s is not None:
            left = max(progress.eta_s - (time.monotonic() - self._progress_seen), 0.0)
            count.append(f"  {duration(left)} left", style="dim")
        return count

    def _print(self, update: Update, line: str, style: str) -> None:
        text = Text(f"{update.time.astimezone():%H:%M:%S} ", style="dim")
        text.append(line, style=style)
        self._console.print(text)
