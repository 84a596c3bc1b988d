"""What watchers are told of stages that go on at the same time."""

from __future__ import annotations

from itertools import groupby

from cogreel.v1 import queue_pb2
from cogreel.v1.video_pb2 import TextToVideoInput

from inference.simulated import SimulatedModel
from tests.deployment import Deployment


async def test_stages_that_overlap_are_told_one_after_another_each_to_its_end(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    await deployment.worker(model=SimulatedModel(step_s=0, decode_s=0.2, frames=49))
    submitted = await caller.submit(text_to_video=TextToVideoInput(use_rife=True))
    events = [event.progress async for event in caller.watch(submitted.request_id) if event.HasField("progress")]
    told = {stage: list(group) for stage, group in groupby(events, key=lambda progress: progress.stage)}
    assert list(told) == list(dict.fromkeys(event.stage for event in events)) == sorted(told)
    ends = {stage: (group[-1].step, group[-1].total) for stage, group in told.items()}
    assert ends[queue_pb2.STAGE_DECODE] == (7, 7)
    assert ends[queue_pb2.STAGE_INTERPOLATE] == (48, 48)
    assert ends[queue_pb2.STAGE_ENCODE] == (98, 98)
    for group in told.values():
        steps = [progress.step for progress in group]
        assert steps == sorted(set(steps))
    # Until decoding is done interpolation waits for it: its pace is known from then on.
    assert told[queue_pb2.STAGE_INTERPOLATE][0].step > 0
    assert not told[queue_pb2.STAGE_INTERPOLATE][0].HasField("eta")
