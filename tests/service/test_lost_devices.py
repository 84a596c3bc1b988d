"""What callers see of a device that fails in the middle of a request."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from cogreel.v1 import queue_pb2
from cogreel.v1.queue_pb2 import RequestState

from inference.model import Chunks, Clip, DeviceError, Generation, Progress
from inference.simulated import SimulatedModel
from tests.deployment import Deployment, eventually


class FailingModel(SimulatedModel):
    """Its device is lost when so many chunks are decoded; -1 for before the first step."""

    def __init__(self, after: int) -> None:
        super().__init__(step_s=0, frames=25)
        self._after = after

    def generate(self, generation: Generation, progress: Progress) -> Clip:
        if self._after < 0:
            raise DeviceError("fell off the bus")
        clip = super().generate(generation, progress)
        return replace(clip, chunks=self._failing(clip.chunks))

    def _failing(self, chunks: Chunks) -> Chunks:
        for number, chunk in enumerate(chunks):
            if number == self._after:
                raise DeviceError("fell off the bus")
            yield chunk


@pytest.mark.parametrize("after", [-1, 0, 2])
async def test_another_worker_makes_what_a_lost_device_began_and_it_takes_nothing_more(
    deployment: Deployment, after: int
) -> None:
    caller = await deployment.caller(await deployment.service())
    first, second = await caller.submit(), await caller.submit()
    await deployment.worker(model=FailingModel(after), name="lost")
    told = await eventually(partial(caller.status, first.request_id), lambda told: bool(told.status.failed_attempts))
    (failure,) = told.status.failed_attempts
    assert failure.reason == queue_pb2.FAILURE_REASON_DEVICE
    assert "fell off the bus" in failure.message
    await deployment.worker(name="sound")
    for submitted, attempts in ((first, 2), (second, 1)):
        assert await caller.ended(submitted.request_id) == RequestState.REQUEST_STATE_COMPLETED
        ended = (await caller.status(submitted.request_id)).status
        assert (ended.attempt, ended.worker) == (attempts, "sound")
