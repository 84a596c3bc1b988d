"""The progress of one attempt: from the device's thread into the request's log, with times measured on the way."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from cogreel.v1 import queue_pb2
from cogreel.v1.queue_pb2 import LogLevel
from cogreel.v1.video_pb2 import Timings

from inference.model import CancelledError, Stage
from inference.observation import AttemptObservation
from jobs.log_writer import LogWriter

_STAGES = {stage: queue_pb2.Stage.Value(f"STAGE_{stage.name}") for stage in Stage}


class AttemptProgress:
    """Implements `model.Progress` for one attempt; made in the loop's thread, used there and on the device's.

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
        self._seconds: dict[Stage, float] = {}
        self._stage = Stage.PREPARE
        self._stage_began = self._began
        self._total = 0

    @contextmanager
    def stage(self, stage: Stage, total: int = 0) -> Iterator[None]:
        """Enter a stage and measure it."""
        self.check()
        self._stage, self._total, self._stage_began = stage, total, time.monotonic()
        self._tell(0)
        try:
            with self._observation.stage(stage):
                yield
        finally:
            spent = time.monotonic() - self._stage_began
            self._seconds[stage] = self._seconds.get(stage, 0.0) + spent

    def step(self, step: int) -> None:
        """Say that `step` steps of the current stage are done."""
        self._observation.step(self._stage, step)
        self.check()
        self._tell(step)

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
        for stage, seconds in self._seconds.items():
            getattr(timings, stage.value).FromNanoseconds(int(seconds * 1e9))
        timings.queue.FromNanoseconds(int(max(queue_s, 0.0) * 1e9))
        timings.total.FromNanoseconds(int((time.monotonic() - self._began) * 1e9))
        return timings

    def _tell(self, step: int) -> None:
        progress = queue_pb2.Progress(stage=_STAGES[self._stage], step=step, total=self._total)
        if 0 < step < self._total:
            per_step_s = (time.monotonic() - self._stage_began) / step
            progress.eta.FromNanoseconds(int(per_step_s * (self._total - step) * 1e9))
        self._hand_over(partial(self._log.progress, progress))

    def _hand_over(self, write: Callable[[], None]) -> None:
        """Write at once in the loop's own thread: what is only scheduled there would miss the flush that follows."""
        if threading.get_ident() == self._loop_thread:
            write()
        else:
            self._loop.call_soon_threadsafe(write)
