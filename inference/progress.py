"""The progress of one attempt: from the device's thread into the request's log, with times measured on the way."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from cogreel.v1 import queue_pb2
from cogreel.v1.queue_pb2 import LogLevel
from cogreel.v1.video_pb2 import Timings

from inference.model import CancelledError, Stage
from inference.observation import AttemptObservation
from jobs.log_writer import LogWriter

_STAGES = {stage: queue_pb2.Stage.Value(f"STAGE_{stage.name}") for stage in Stage}

_OVERLAPPING = frozenset({Stage.DECODE, Stage.INTERPOLATE, Stage.ENCODE})


@dataclass(slots=True)
class _Begun:
    """A stage that was entered: how many of its steps are done, and since when and which step watchers are told of it
    (monotonic seconds); until then it mostly waits for the stage before.
    """

    stage: Stage
    total: int
    step: int = 0
    told_at: float | None = None
    told_from: int = 0


class AttemptProgress:
    """Implements `model.Progress` for one attempt: made in the loop's thread, used there and in two more.

    `wanted` tells, from any thread, whether to go on; `observation` is told of stages and steps.
    """

    def __init__(
        self,
        log: LogWriter,
        loop: asyncio.AbstractEventLoop,
        wanted: Callable[[], bool],
        observation: AttemptObservation,
    ) -> None:
        self._log = log
        self._observation = observation
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._wanted = wanted
        self._began = time.monotonic()
        self._begun: dict[Stage, _Begun] = {}
        self._telling = threading.Lock()

    @contextmanager
    def stage(self, stage: Stage, total: int = 0) -> Iterator[None]:
        """Enter a stage and measure it."""
        self.check()
        with self._telling:
            if stage not in self._begun:
                self._begun[stage] = _Begun(stage, total)
                if self._shown().stage is stage:
                    self._tell(self._begun[stage])
        with self._observation.stage(stage):
            yield

    def step(self, stage: Stage, step: int) -> None:
        """Say that `step` steps of a stage are done."""
        self._observation.step(stage, step)
        self.check()
        with self._telling:
            shown = self._shown()
            self._begun[stage].step = step
            if shown.stage is stage:
                self._tell(shown)
            if (next_shown := self._shown()) is not shown:
                self._tell(next_shown)

    def log(self, message: str, *, level: str = "INFO") -> None:
        """Add a line to the request's log."""
        self.check()
        self._hand_over(partial(self._log.line, message, LogLevel.Value(f"LOG_LEVEL_{level}")))

    def check(self) -> None:
        """Raise CancelledError when the request is no longer wanted."""
        if not self._wanted():
            raise CancelledError

    def timings(self, *, queue_s: float) -> Timings:
        """What each stage took so far; `queue_s` is the time before the attempt."""
        timings = Timings()
        for stage, seconds in self._observation.seconds.items():
            getattr(timings, stage.value).FromNanoseconds(int(seconds * 1e9))
        timings.queue.FromNanoseconds(int(max(queue_s, 0.0) * 1e9))
        timings.total.FromNanoseconds(int((time.monotonic() - self._began) * 1e9))
        return timings

    def _shown(self) -> _Begun:
        """The stage that watchers are told of: of those that overlap the first that is not done, else the last one."""
        begun = list(self._begun.values())
        last = begun[-1]
        if last.stage not in _OVERLAPPING:
            return last
        return next((one for one in begun if one.stage in _OVERLAPPING and one.step < one.total), last)

    def _tell(self, begun: _Begun) -> None:
        progress = queue_pb2.Progress(stage=_STAGES[begun.stage], step=begun.step, total=begun.total)
        now = time.monotonic()
        if begun.told_at is None:
            begun.told_at, begun.told_from = now, begun.step
        elif begun.told_from < begun.step < begun.total:
            per_step_s = (now - begun.told_at) / (begun.step - begun.told_from)
            progress.eta.FromNanoseconds(int(per_step_s * (begun.total - begun.step) * 1e9))
        self._hand_over(partial(self._log.progress, progress))

    def _hand_over(self, write: Callable[[], None]) -> None:
        """Write at once in the loop's own thread: what is only scheduled there would miss the flush that follows."""
        if threading.get_ident() == self._loop_thread:
            write()
        else:
            self._loop.call_soon_threadsafe(write)
