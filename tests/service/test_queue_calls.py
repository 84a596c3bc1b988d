"""What a caller sees of the queue's calls, with a simulated worker."""

from __future__ import annotations

import asyncio
import hashlib

import grpc
import psutil
import pytest
from cogreel.v1 import queue_pb2
from cogreel.v1.queue_pb2 import PRIORITY_LOW, RequestState, WatchStatusResponse

from host.engines import EmbeddedS3
from tests.deployment import Caller, Deployment, fetch
from tests.errors import refused


def numbered(events: list[WatchStatusResponse]) -> list[tuple[str, int]]:
    """The steps and states among events, without what depends on the moment."""
    kept = []
    for event in events:
        if event.HasField("state"):
            kept.append((RequestState.Name(event.state.state), event.state.attempt))
        elif event.HasField("progress"):
            kept.append((f"{queue_pb2.Stage.Name(event.progress.stage)}", event.progress.step))
        elif event.HasField("log"):
            kept.append((event.log.message, event.log.attempt))
    return kept


async def test_a_submitted_prompt_becomes_a_video_that_its_url_serves(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    await deployment.worker()
    submitted = await caller.submit("a garden")
    assert submitted.status.state == RequestState.REQUEST_STATE_QUEUED
    assert await caller.ended(submitted.request_id) == RequestState.REQUEST_STATE_COMPLETED
    output = (await caller.result(submitted.request_id)).video
    content = await asyncio.to_thread(fetch, output.video.url)
    assert hashlib.sha256(content).hexdigest() == output.sha256
    assert output.video.file_size == len(content)
    assert output.video.content_type == "video/mp4"
    assert output.video.file_name.endswith(".mp4")
    assert output.seed == submitted.status.seed
    assert output.prompt == "a garden"
    assert (output.size.width, output.size.height, output.frames, output.fps) == (64, 64, 9, 16)
    assert output.timings.total.ToMilliseconds() >= output.timings.encode.ToMilliseconds() > 0
    assert output.model.name == "simulated"


async def test_a_caller_watches_position_stages_steps_and_lines_in_order(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    submitted = await caller.submit(steps=4)
    events: list[WatchStatusResponse] = []
    stream = caller.watch(submitted.request_id)
    events.append(await anext(stream))
    assert events[0].state.position == 0
    await deployment.worker()
    events += [event async for event in stream]
    seen = numbered(events)
    assert seen[0] == ("REQUEST_STATE_QUEUED", 0)
    assert seen[1] == ("REQUEST_STATE_RUNNING", 1)
    assert seen[-1] == ("REQUEST_STATE_COMPLETED", 1)
    assert [step for stage, step in seen if stage == "STAGE_DENOISE"] == [0, 1, 2, 3, 4]
    stages = [stage for stage, _ in seen if stage.startswith("STAGE_")]
    assert list(dict.fromkeys(stages)) == [
        "STAGE_PREPARE",
        "STAGE_DENOISE",
        "STAGE_DECODE",
        "STAGE_ENCODE",
        "STAGE_UPLOAD",
    ]
    etas = [event.progress.eta.ToNanoseconds() for event in events if event.progress.HasField("eta")]
    assert etas
    assert all(eta > 0 for eta in etas)


async def test_a_late_watcher_sees_the_same_events_as_an_early_one(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    await deployment.worker()
    submitted = await caller.submit(steps=5)
    early = [event async for event in caller.watch(submitted.request_id)]
    late = [event async for event in caller.watch(submitted.request_id)]
    assert numbered(late) == numbered(early)


async def test_a_watch_resumes_from_every_cursor_without_gap_or_repeat(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    await deployment.worker()
    submitted = await caller.submit(steps=5)
    await caller.ended(submitted.request_id)
    whole = [event async for event in caller.watch(submitted.request_id)]
    for index, event in enumerate(whole):
        rest = [after async for after in caller.watch(submitted.request_id, event.cursor)]
        assert numbered(rest) == numbered(whole[index + 1 :])


async def test_a_watch_resumes_at_another_replica(deployment: Deployment) -> None:
    first = await deployment.caller(await deployment.service())
    second = await deployment.caller(await deployment.service(), tenant=first.tenant)
    await deployment.worker(step_s=0.02)
    submitted = await first.submit(steps=20)
    events: list[WatchStatusResponse] = []
    cursor = None
    turn = 0
    while not events or events[-1].state.state != RequestState.REQUEST_STATE_COMPLETED:
        replica = (first, second)[turn % 2]
        turn += 1
        stream = replica.watch(submitted.request_id, cursor)
        async for event in stream:
            cursor = event.cursor
            events.append(event)
            if len(events) % 7 == 0:
                break
        await stream.aclose()
    steps = [e.progress.step for e in events if e.progress.stage == queue_pb2.STAGE_DENOISE]
    assert steps == list(range(21))
    assert turn > 2


async def test_a_quiet_watch_gets_checkpoints_that_resume(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service(checkpoint_s=0.05))
    submitted = await caller.submit()
    stream = caller.watch(submitted.request_id)
    kinds = []
    cursor = ""
    async for event in stream:
        kinds.append(event.WhichOneof("event"))
        cursor = event.cursor
        if kinds.count("checkpoint") == 3:
            break
    await stream.aclose()
    assert kinds[0] == "state"
    await deployment.worker()
    rest = [event async for event in caller.watch(submitted.request_id, cursor)]
    assert numbered(rest)[0] == ("REQUEST_STATE_RUNNING", 1)


async def test_status_tells_progress_while_running_and_lines_when_asked(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    await deployment.worker(step_s=0.05, name="painter")
    submitted = await caller.submit(steps=50)
    status = await caller.reaches(submitted.request_id, RequestState.REQUEST_STATE_RUNNING)
    assert status.worker == "painter"
    async for event in caller.watch(submitted.request_id):
        if event.progress.step >= 3:
            break
    answer = await caller.status(submitted.request_id, with_logs=True)
    assert answer.status.progress.stage == queue_pb2.STAGE_DENOISE
    assert answer.status.progress.step >= 3
    assert answer.status.progress.total == 50
    assert any("painter" in line.message for line in answer.logs)
    assert not (await caller.status(submitted.request_id)).logs
    await caller.cancel(submitted.request_id)


async def test_a_replica_that_starts_late_knows_the_progress_of_a_running_request(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    await deployment.worker(step_s=0.2)
    submitted = await caller.submit(steps=50)
    async for event in caller.watch(submitted.request_id):
        if event.progress.step >= 1:
            break
    newcomer = await deployment.caller(await deployment.service(), tenant=caller.tenant)
    answer = await newcomer.status(submitted.request_id)
    assert answer.status.progress.step >= 1
    await caller.cancel(submitted.request_id)


async def test_the_same_key_and_body_give_the_same_request(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    first = await caller.submit(idempotency_key="order 1")
    second = await caller.submit(idempotency_key="order 1")
    assert (first.existing, second.existing) == (False, True)
    assert second.request_id == first.request_id
    assert second.status.seed == first.status.seed


async def test_many_submissions_at_once_with_one_key_make_one_request(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    answers = await asyncio.gather(*(caller.submit(idempotency_key="burst") for _ in range(30)))
    assert len({answer.request_id for answer in answers}) == 1
    assert sum(not answer.existing for answer in answers) == 1


async def test_the_same_key_with_another_body_is_refused_and_names_the_request(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    first = await caller.submit("one", idempotency_key="order 2")
    error = await refused(caller.submit("two", idempotency_key="order 2"))
    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "IDEMPOTENCY_CONFLICT")
    assert error.resource == ("request", first.request_id)


async def test_two_tenants_may_use_the_same_key(deployment: Deployment) -> None:
    port = await deployment.service()
    one, two = await deployment.caller(port), await deployment.caller(port)
    first, second = await one.submit("a", idempotency_key="k"), await two.submit("b", idempotency_key="k")
    assert first.request_id != second.request_id


async def test_positions_stay_exact_through_completions_and_cancellations(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    waiting = [(await caller.submit(f"number {index}")).request_id for index in range(50)]

    async def positions() -> list[int]:
        answers = await asyncio.gather(*(caller.status(request_id) for request_id in waiting))
        return [answer.status.position for answer in answers]

    assert await positions() == list(range(50))
    for request_id in [waiting[index] for index in (0, 7, 8, 30, 49)]:
        await caller.cancel(request_id)
        waiting.remove(request_id)
    assert await positions() == list(range(45))
    await deployment.worker()
    states = [await caller.ended(request_id) for request_id in waiting]
    assert set(states) == {RequestState.REQUEST_STATE_COMPLETED}
    started = [(await caller.status(request_id)).status.started_time.ToNanoseconds() for request_id in waiting]
    assert started == sorted(started)


async def test_a_watcher_is_told_when_it_moves_up(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    ahead = [(await caller.submit()).request_id for _ in range(3)]
    last = (await caller.submit()).request_id
    positions = []
    async for event in caller.watch(last):
        if event.HasField("state"):
            positions.append(event.state.position)
        elif event.HasField("position"):
            positions.append(event.position.position)
        if positions[-1] == 0:
            break
        await caller.cancel(ahead.pop(0))
    assert positions == sorted(positions, reverse=True)
    assert positions[0] == 3


async def test_normal_priority_goes_before_low(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    low = [(await caller.submit(priority=PRIORITY_LOW)).request_id for _ in range(3)]
    normal = [(await caller.submit()).request_id for _ in range(3)]
    order = [(await caller.status(request_id)).status.position for request_id in normal + low]
    assert order == [0, 1, 2, 3, 4, 5]
    await deployment.worker()
    for request_id in low:
        await caller.ended(request_id)
    started = [(await caller.status(request_id)).status.started_time.ToNanoseconds() for request_id in normal + low]
    assert started == sorted(started)


async def test_two_workers_never_run_the_same_request(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    for name in ("one", "two", "three"):
        await deployment.worker(step_s=0.001, name=name)
    answers = await asyncio.gather(*(caller.submit(f"{index}") for index in range(30)))
    states = await asyncio.gather(*(caller.ended(answer.request_id) for answer in answers))
    assert set(states) == {RequestState.REQUEST_STATE_COMPLETED}
    statuses = [(await caller.status(answer.request_id)).status for answer in answers]
    assert {status.attempt for status in statuses} == {1}
    assert len({status.worker for status in statuses}) > 1


async def test_the_device_takes_the_next_request_while_the_last_one_is_stored(
    deployment: Deployment, s3: EmbeddedS3
) -> None:
    caller = await deployment.caller(await deployment.service())
    await deployment.worker(step_s=0.05)
    first, second = (await caller.submit(steps=4)).request_id, (await caller.submit(steps=4)).request_id
    assert s3.pid is not None
    store = psutil.Process(s3.pid)
    store.suspend()  # what is made now cannot be stored
    try:
        async for event in caller.watch(second):
            if event.progress.step >= 2:
                break
        assert (await caller.status(first)).status.state == RequestState.REQUEST_STATE_RUNNING
    finally:
        store.resume()
    for request_id in (first, second):
        assert await caller.ended(request_id) == RequestState.REQUEST_STATE_COMPLETED


async def test_a_cancelled_queued_request_never_runs(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    doomed, wanted = (await caller.submit()).request_id, (await caller.submit()).request_id
    status = (await caller.cancel(doomed)).status
    assert status.state == RequestState.REQUEST_STATE_CANCELLED
    await deployment.worker()
    await caller.ended(wanted)
    events = numbered([event async for event in caller.watch(doomed)])
    assert events == [("REQUEST_STATE_QUEUED", 0), ("REQUEST_STATE_CANCELLED", 0)]


async def test_cancelling_a_running_request_frees_the_device(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    await deployment.worker(step_s=0.5)
    long = (await caller.submit(steps=50)).request_id
    next_one = (await caller.submit(steps=1)).request_id
    await caller.reaches(long, RequestState.REQUEST_STATE_RUNNING)
    await caller.cancel(long)
    assert await caller.ended(next_one, within_s=10) == RequestState.REQUEST_STATE_COMPLETED
    assert await caller.ended(long) == RequestState.REQUEST_STATE_CANCELLED
    error = await refused(caller.result(long))
    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "REQUEST_CANCELLED")


async def test_cancelling_twice_succeeds_and_cancelling_a_finished_request_does_not(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    cancelled = (await caller.submit()).request_id
    await caller.cancel(cancelled)
    assert (await caller.cancel(cancelled)).status.state == RequestState.REQUEST_STATE_CANCELLED
    await deployment.worker()
    finished = (await caller.submit()).request_id
    await caller.ended(finished)
    error = await refused(caller.cancel(finished))
    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "REQUEST_COMPLETED")
    assert error.metadata["state"] == "COMPLETED"


async def test_cancel_against_finish_has_one_winner(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    await deployment.worker()

    async def race(delay_s: float) -> None:
        request_id = (await caller.submit(steps=1)).request_id
        await asyncio.sleep(delay_s)  # the race is over time itself
        try:
            await caller.cancel(request_id)
            told = grpc.StatusCode.OK
        except grpc.aio.AioRpcError as error:
            told = error.code()
        assert told in {grpc.StatusCode.OK, grpc.StatusCode.FAILED_PRECONDITION}
        state = await caller.ended(request_id)
        wanted = (
            RequestState.REQUEST_STATE_CANCELLED if told == grpc.StatusCode.OK else RequestState.REQUEST_STATE_COMPLETED
        )
        assert state == wanted
        terminal = [e for e in [e async for e in caller.watch(request_id)] if e.state.HasField("finished_time")]
        assert len(terminal) == 1

    for index in range(25):
        await race(index * 0.002)


async def test_a_result_that_is_not_there_yet_says_so(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    submitted = await caller.submit()
    error = await refused(caller.result(submitted.request_id))
    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "REQUEST_NOT_FINISHED")
    assert error.metadata["state"] == "QUEUED"


@pytest.mark.parametrize("method", ["status", "result", "cancel"])
async def test_another_tenants_request_is_not_found(deployment: Deployment, method: str) -> None:
    port = await deployment.service()
    owner, stranger = await deployment.caller(port), await deployment.caller(port)
    submitted = await owner.submit()
    seen = await refused(getattr(stranger, method)(submitted.request_id))
    unknown = await refused(getattr(stranger, method)("00000000-0000-4000-8000-000000000000"))
    assert (seen.code, seen.reason) == (grpc.StatusCode.NOT_FOUND, "REQUEST_NOT_FOUND")
    assert (unknown.code, unknown.reason) == (seen.code, seen.reason)
    assert seen.message.replace(submitted.request_id, "") == unknown.message.replace(
        "00000000-0000-4000-8000-000000000000", ""
    )


async def watch_refused(caller: Caller, request_id: str, cursor: str | None = None) -> tuple[grpc.StatusCode, str]:
    error = await refused(anext(caller.watch(request_id, cursor)))
    return error.code, error.reason


async def test_watching_another_tenants_request_is_not_found(deployment: Deployment) -> None:
    port = await deployment.service()
    owner, stranger = await deployment.caller(port), await deployment.caller(port)
    submitted = await owner.submit()
    assert await watch_refused(stranger, submitted.request_id) == (grpc.StatusCode.NOT_FOUND, "REQUEST_NOT_FOUND")


async def test_a_cursor_of_another_request_or_of_nothing_is_refused(deployment: Deployment) -> None:
    caller = await deployment.caller(await deployment.service())
    one, two = (await caller.submit()).request_id, (await caller.submit()).request_id
    cursor = (await anext(caller.watch(one))).cursor
    assert await watch_refused(caller, two, cursor) == (grpc.StatusCode.OUT_OF_RANGE, "CURSOR_INVALID")
    assert await watch_refused(caller, two, "nonsense!") == (grpc.StatusCode.OUT_OF_RANGE, "CURSOR_INVALID")
