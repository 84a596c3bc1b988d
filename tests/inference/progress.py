"""A `Progress` that remembers what it was told and can call the work off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from inference.model import CancelledError, Stage


class RecordingProgress:
    """Remembers stages as they begin, steps and log lines in order; cancels by itself at a step, or when told to.

    `cancel_at` is a stage and the step of it whose report is answered with `CancelledError`.
    """

    def __init__(self, *, cancel_at: tuple[Stage, int] | None = None) -> None:
        self.stages: list[tuple[Stage, int]] = []
        self.steps: list[tuple[Stage, int]] = []
        self.logs: list[tuple[str, str]] = []
        self.entered: dict[Stage, threading.Event] = {stage: threading.Event() for stage in Stage}
        self._cancel_at = cancel_at
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """From now on every call raises `CancelledError`. May be called from any thread."""
        self._cancelled.set()

    @contextmanager
    def stage(self, stage: Stage, total: int = 0) -> Iterator[None]:
        self.check()
        if (stage, total) not in self.stages:
            self.stages.append((stage, total))
        self.entered[stage].set()
        yield

    def step(self, stage: Stage, step: int) -> None:
        self.check()
        current = (stage, step)
        self.steps.append(current)
        if current == self._cancel_at:
            self.cancel()
            self.check()

    def log(self, message: str, *, level: str = "INFO") -> None:
        self.check()
        self.logs.append((level, message))

    def check(self) -> None:
        if self._cancelled.is_set():
            raise CancelledError
