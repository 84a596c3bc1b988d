"""Progress bars for a request, by tqdm or rich: what to hand to `subscribe` as `on_update`.

    client.subscribe(prompt="A garden comes to life", on_update=RichProgress())

The bar counts the denoising steps, where the time goes; the words before it tell the place in the queue, the stage and
how it ended. It ends with the request. To end it also where a watch breaks off, enter it:

    with TqdmProgress() as progress:
        client.subscribe(prompt="A garden comes to life", on_update=progress)
"""

from __future__ import annotations

import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from cogreel.updates import LogUpdate, PositionUpdate, ProgressUpdate, StateUpdate, Update, queue_place

if TYPE_CHECKING:
    from rich.progress import Progress

    from cogreel.v1.queue_pb2 import RequestStatus

_COUNTED_STAGE = "denoise"


class _Drawing(Protocol):
    """A bar on a screen."""

    def draw(self, words: str, step: int, total: int | None) -> None:
        """Draw it anew; `total` is None while it is not known."""

    def print(self, line: str) -> None:
        """Print a line above it."""

    def close(self) -> None:
        """Leave it as it is. Closing it again does nothing."""


class _RequestProgress:
    """Turns the updates of one request into words and a count."""

    def __init__(self, title: str, drawing: _Drawing) -> None:
        self._title = title
        self._drawing = drawing
        self._step, self._total = 0, 0
        self._held = False

    def __call__(self, update: Update) -> None:
        """Draw an update."""
        match update:
            case StateUpdate(state=state, status=status):
                if not update.is_terminal:  # whatever an earlier attempt had done counts no more
                    self._step, self._total = 0, 0
                self._held = status.held
                self._draw(_queued(status) if status.HasField("position") or status.held else state.lower())
                if update.is_terminal:
                    self.close()
            case PositionUpdate(position=position):
                self._draw(f"queued, {queue_place(position, held=self._held)}")
            case ProgressUpdate(stage=stage, step=step, total=total):
                if stage == _COUNTED_STAGE:
                    self._step, self._total = step, total
                self._draw(stage)
            case LogUpdate(level="warn" | "error" as level, message=message):
                self._drawing.print(f"{level}: {message}")
            case _:
                pass

    def close(self) -> None:
        """Leave the bar as it is. Closing it again does nothing."""
        self._drawing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _draw(self, words: str) -> None:
        self._drawing.draw(f"{self._title} {words}".lstrip(), self._step, self._total or None)


class TqdmProgress(_RequestProgress):
    """A bar by tqdm: in a notebook as a widget, where ipywidgets is installed, else as text on stderr.

    It needs `pip install 'cogreel[tqdm]'`, or `'cogreel[notebook]'` for the widget.
    """

    def __init__(self, title: str = "", *, position: int | None = None) -> None:
        """Draw the bar.

        Args:
            title: stands before the words, to tell several bars apart.
            position: the line of the bar, counted from 0, where several are shown at once.

        Raises:
            ImportError: tqdm is not installed.
        """
        super().__init__(title, _TqdmBar(title, position))


class RichProgress(_RequestProgress):
    """A bar by rich: in a notebook where ipywidgets is installed (`cogreel[notebook]`), else on stderr."""

    def __init__(self, title: str = "", *, progress: Progress | None = None) -> None:
        """Draw the bar.

        Args:
            title: stands before the words, to tell several bars apart.
            progress: a display of rich that the caller has started, to which this adds its row: so several requests
                share one. Left out, the bar has a display of its own.
        """
        super().__init__(title, _RichBar(title, progress))


class _TqdmBar:
    _WITHOUT_COUNT = "{desc} [{elapsed}]"
    _COUNTED = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}]"  # the rate would only sink

    def __init__(self, title: str, position: int | None) -> None:
        try:
            from tqdm.auto import tqdm  # noqa: PLC0415 - it is optional
        except ImportError as error:
            raise ImportError("TqdmProgress needs tqdm: pip install 'cogreel[tqdm]'") from error
        self._bar = tqdm(desc=title, position=position, unit="step", dynamic_ncols=True, bar_format=self._WITHOUT_COUNT)

    def draw(self, words: str, step: int, total: int | None) -> None:
        bar = self._bar
        bar.set_description_str(words, refresh=False)
        if total != bar.total or step < bar.n:
            bar.initial = step
            bar.reset(total or float("inf"))  # None would keep the total that it has
        bar.n = step
        if total is None:
            bar.bar_format = self._WITHOUT_COUNT
        else:
            bar.bar_format = None if step < total else self._COUNTED
        bar.refresh()

    def print(self, line: str) -> None:
        self._bar.write(line)

    def close(self) -> None:
        self._bar.close()


class _RichBar:
    def __init__(self, title: str, shared: Progress | None) -> None:
        from rich.console import Console  # noqa: PLC0415 - rich is loaded where it is shown
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = shared or Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._stop: weakref.finalize[[], _RichBar] | None = None
        if shared is None:
            self._progress.start()
            # Also where nobody closes the bar, since a display hides the cursor for as long as it goes on.
            self._stop = weakref.finalize(self, self._progress.stop)
        self._task = self._progress.add_task(title, total=None)

    def draw(self, words: str, step: int, total: int | None) -> None:
        self._progress.update(self._task, description=words, completed=step, total=total)

    def print(self, line: str) -> None:
        self._progress.console.print(line, markup=False, highlight=False)

    def close(self) -> None:
        self._progress.stop_task(self._task)
        if self._stop is not None:
            self._stop()


def _queued(status: RequestStatus) -> str:
    return f"queued, {queue_place(status.position if status.HasField('position') else None, held=status.held)}"
