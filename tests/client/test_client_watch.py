"""A watch looks unbroken to its caller, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import aclosing
from typing import Any

import grpc
import pytest
from cogreel import (
    AsyncCogReel,
    CogReel,
    CogReelError,
    CursorError,
    LogUpdate,
    NotFoundError,
    PositionUpdate,
    PreviewUpdate,
    ProgressUpdate,
    StateUpdate,
    UnavailableError,
)
from cogreel.v1 import queue_pb2
from cogreel.v1.queue_pb2_grpc import QueueServiceStub

from tests.client.callers import Caller
from tests.client.scripted_service import REQUEST_ID, Hold, Refuse, ScriptedService, event, status, whole_course

OUTAGE = Refuse(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", "going away")


def cursors_asked(service: ScriptedService) -> list[str | None]:
    """Where each of the streams began."""
    requests = [
        request for request in service.asked("WatchStatus") if isinstance(request, queue_pb2.WatchStatusRequest)
    ]
    return [request.cursor if request.HasField("cursor") else None for request in requests]


def test_updates_are_typed_and_in_order(service: ScriptedService, caller: Caller) -> None:
    service.answer("WatchStatus", whole_course())
    updates = caller.watch(REQUEST_ID)

    assert [update.cursor for update in updates] == [f"c{n}" for n in (1, 1, *range(2, 12))]
    queued, moved, running = updates[:3]
    assert isinstance(queued, StateUpdate)
    assert (queued.state, queued.is_terminal, queued.status.position) == ("QUEUED", False, 2)
    assert isinstance(moved, PositionUpdate)
    assert moved.position == 0
    assert isinstance(running, StateUpdate)
    assert running.state == "RUNNING"
    log = updates[4]
    assert isinstance(log, LogUpdate)
    assert (log.level, log.attempt) == ("warn", 1)
    assert "226 tokens" in log.message
    step = updates[6]
    assert isinstance(step, ProgressUpdate)
    assert (step.stage, step.step, step.total, step.eta_s) == ("denoise", 2, 3, 1.5)
    assert updates[6].time.isoformat() == "2030-01-01T00:00:06.500000+00:00"
    assert isinstance(updates[-1], StateUpdate)
    assert updates[-1].is_terminal


def test_a_stream_that_breaks_is_resumed_without_gap_or_duplicate(service: ScriptedService, caller: Caller) -> None:
    course = whole_course()
    service.answer("WatchStatus", [*course[:3], OUTAGE], [*course[3:7], OUTAGE], course[7:])
    updates = caller.watch(REQUEST_ID)
    assert [update.raw for update in updates] == course
    assert cursors_asked(service) == [None, course[2].cursor, course[6].cursor]


def test_a_stream_that_ends_without_an_outcome_is_resumed(service: ScriptedService, caller: Caller) -> None:
    course = whole_course()
    service.answer("WatchStatus", course[:5], course[5:])
    service.answer("GetStatus", queue_pb2.GetStatusResponse(status=status("RUNNING", attempt=1)))
    assert [update.raw for update in caller.watch(REQUEST_ID)] == course
    assert cursors_asked(service) == [None, course[4].cursor]


def test_an_end_in_order_while_the_request_finishes_loses_nothing(service: ScriptedService, caller: Caller) -> None:
    course = whole_course()
    service.answer("WatchStatus", course[:5], course[5:])
    service.answer("GetStatus", queue_pb2.GetStatusResponse(status=status("COMPLETED")))
    assert [update.raw for update in caller.watch(REQUEST_ID)] == course


def test_watching_on_from_the_end_yields_nothing(service: ScriptedService, caller: Caller) -> None:
    service.answer("WatchStatus", [])
    service.answer("GetStatus", queue_pb2.GetStatusResponse(status=status("COMPLETED")))
    assert caller.watch(REQUEST_ID, "c11") == []


def test_checkpoints_are_not_shown_and_still_move_the_cursor(service: ScriptedService, caller: Caller) -> None:
    course = whole_course()
    checkpoint = event("checkpoint-1", checkpoint=queue_pb2.Checkpoint())
    service.answer("WatchStatus", [*course[:5], checkpoint, OUTAGE], course[5:])
    assert [update.raw for update in caller.watch(REQUEST_ID)] == course
    assert cursors_asked(service) == [None, "checkpoint-1"]


def test_events_of_a_newer_service_are_passed_over(service: ScriptedService, caller: Caller) -> None:
    course = whole_course()
    # An event in a field that this version of the contract does not have (number 100, one byte string).
    unknown = queue_pb2.WatchStatusResponse.FromString(event("c1").SerializeToString() + b"\xa2\x06\x01x")
    service.answer("WatchStatus", [course[0], unknown, *course[1:]])
    assert [update.raw for update in caller.watch(REQUEST_ID)] == course


def test_previews_bring_their_picture(service: ScriptedService, caller: Caller) -> None:
    preview = queue_pb2.Preview(attempt=1, step=2, content_type="image/webp", data=b"RIFF")
    service.answer("WatchStatus", [event("c1", preview=preview), event("c2", state=status("COMPLETED"))])
    shown = caller.watch(REQUEST_ID)[0]
    assert isinstance(shown, PreviewUpdate)
    assert (shown.step, shown.content_type, shown.data) == (2, "image/webp", b"RIFF")


def test_a_cancellation_that_nobody_asked_for_is_an_outage(service: ScriptedService, caller: Caller) -> None:
    course = whole_course()
    burst = Refuse(grpc.StatusCode.CANCELLED)
    service.answer("WatchStatus", burst, [*course[:6], burst], course[6:])
    assert [update.raw for update in caller.watch(REQUEST_ID)] == course


def test_a_given_cursor_is_where_the_watch_begins(service: ScriptedService, caller: Caller) -> None:
    course = whole_course()
    service.answer("WatchStatus", course[4:])
    assert [update.raw for update in caller.watch(REQUEST_ID, "c3")] == course[4:]
    assert cursors_asked(service) == ["c3"]


@pytest.mark.parametrize("reason", ["CURSOR_EXPIRED", "CURSOR_INVALID"])
def test_a_useless_cursor_is_told_at_once(service: ScriptedService, caller: Caller, reason: str) -> None:
    service.answer("WatchStatus", Refuse(grpc.StatusCode.OUT_OF_RANGE, reason))
    with pytest.raises(CursorError) as caught:
        caller.watch(REQUEST_ID, "old")
    assert caught.value.reason == reason
    assert caught.value.request_id == REQUEST_ID
    assert len(service.asked("WatchStatus")) == 1


def test_an_unknown_request_is_told_at_once(service: ScriptedService, caller: Caller) -> None:
    service.answer("WatchStatus", Refuse(grpc.StatusCode.NOT_FOUND, "REQUEST_NOT_FOUND"))
    with pytest.raises(NotFoundError):
        caller.watch(REQUEST_ID)


def test_an_outage_that_lasts_ends_the_watch(service: ScriptedService, impatient_caller: Caller) -> None:
    service.answer("WatchStatus", [*whole_course()[:2], OUTAGE], OUTAGE)
    began = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        impatient_caller.watch(REQUEST_ID)
    assert caught.value.reason == "SHUTTING_DOWN"
    assert caught.value.request_id == REQUEST_ID
    assert time.monotonic() - began < 5
    assert len(service.asked("WatchStatus")) > 2


def test_streams_that_keep_ending_without_a_message_end_the_watch(
    service: ScriptedService, impatient_caller: Caller
) -> None:
    service.answer("WatchStatus", [])
    service.answer("GetStatus", queue_pb2.GetStatusResponse(status=status("RUNNING", attempt=1)))
    with pytest.raises(UnavailableError, match="before the request did"):
        impatient_caller.watch(REQUEST_ID)


def test_the_service_may_restart_in_the_middle_of_a_watch(service: ScriptedService, caller: Caller) -> None:
    course = whole_course()
    service.answer("WatchStatus", [*course[:5], Hold()], course[5:])

    def restart() -> None:
        service.holding.wait()
        service.stop()
        service.start()

    restarting = threading.Thread(target=restart)
    restarting.start()
    updates = caller.watch(REQUEST_ID)
    restarting.join()
    assert [update.raw for update in updates] == course


def test_leaving_a_watch_ends_its_stream(service: ScriptedService) -> None:
    service.answer("WatchStatus", [*whole_course()[:3], Hold()])
    with CogReel(service.address) as client:
        updates = client.watch(REQUEST_ID)
        assert next(updates).cursor == "c1"
        service.holding.wait()
        updates.close()
        service.wait_until_released()


def test_a_watch_is_started_out_of_reach_of_ctrl_c(service: ScriptedService, monkeypatch: pytest.MonkeyPatch) -> None:
    service.answer("WatchStatus", whole_course())
    starters: list[threading.Thread] = []

    def observed_stub(channel: grpc.Channel) -> QueueServiceStub:
        stub = QueueServiceStub(channel)
        start: Any = stub.WatchStatus

        def observed(*args: object, **kwargs: object) -> object:
            starters.append(threading.current_thread())
            return start(*args, **kwargs)

        monkeypatch.setattr(stub, "WatchStatus", observed)
        return stub

    monkeypatch.setattr("cogreel.client.QueueServiceStub", observed_stub)
    with CogReel(service.address) as client:
        assert len(list(client.watch(REQUEST_ID))) == len(whole_course())
    # Python raises KeyboardInterrupt in the main thread only.
    assert len(starters) == 1
    assert starters[0] is not threading.main_thread()


def test_a_closed_client_says_so() -> None:
    client = CogReel("localhost:1")
    client.close()
    with pytest.raises(ValueError, match="the client is closed"):
        client.endpoints()
    with pytest.raises(ValueError, match="the client is closed"):
        next(client.watch(REQUEST_ID))


def test_closing_in_another_thread_ends_a_watch(service: ScriptedService) -> None:
    service.answer("WatchStatus", [*whole_course()[:3], Hold()])
    with CogReel(service.address) as client:

        def close() -> None:
            service.holding.wait()
            client.close()

        closer = threading.Thread(target=close)
        closer.start()
        with pytest.raises(CogReelError):
            list(client.watch(REQUEST_ID))
        closer.join()


async def test_leaving_an_async_watch_ends_its_stream(service: ScriptedService) -> None:
    service.answer("WatchStatus", [*whole_course()[:3], Hold()])
    async with AsyncCogReel(service.address) as client:
        async with aclosing(client.watch(REQUEST_ID)) as updates:
            assert (await anext(updates)).cursor == "c1"
            await asyncio.to_thread(service.holding.wait)
        await asyncio.to_thread(service.wait_until_released)


async def test_cancelling_a_task_that_watches_cancels_it(service: ScriptedService) -> None:
    service.answer("WatchStatus", [Hold()])

    async with AsyncCogReel(service.address) as client:

        async def watch() -> None:
            async for _ in client.watch(REQUEST_ID):
                pass

        task = asyncio.create_task(watch())
        await asyncio.to_thread(service.holding.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(service.wait_until_released)
    assert len(service.asked("WatchStatus")) == 1
