"""Listing requests and reading logs, by both clients."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import cogreel
import grpc
import pytest
from cogreel import CogReel
from cogreel.v1 import queue_pb2
from cogreel.v1.queue_pb2 import ListRequestsRequest, ListRequestsResponse, RequestState

from tests.client.callers import Caller
from tests.client.scripted_service import REQUEST_ID, Refuse, ScriptedService, event, status, whole_course

OUTAGE = Refuse(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", "going away")


def page(count: int, next_page_token: str = "") -> ListRequestsResponse:
    """A page of so many requests, each with an id of its own."""
    page = ListRequestsResponse(next_page_token=next_page_token)
    for _ in range(count):
        page.requests.add().CopyFrom(status("COMPLETED", request_id=str(uuid.uuid4())))
    return page


def asked(service: ScriptedService) -> list[ListRequestsRequest]:
    return [request for request in service.requests if isinstance(request, ListRequestsRequest)]


def test_pages_are_one_listing(service: ScriptedService, caller: Caller) -> None:
    pages = [page(100, "second"), page(100, "third"), page(7)]
    service.answer("ListRequests", pages[0], pages[1], OUTAGE, pages[2])
    assert caller.listing() == [status for page in pages for status in page.requests]
    assert [request.page_token for request in asked(service)] == ["", "second", "third", "third"]


def test_a_page_may_be_empty_and_not_the_last(service: ScriptedService, caller: Caller) -> None:
    service.answer("ListRequests", page(0, "second"), page(2))
    assert len(caller.listing()) == 2


def test_filters_are_sent(service: ScriptedService, caller: Caller) -> None:
    service.answer("ListRequests", page(1))
    noon = datetime(2030, 1, 1, 12, tzinfo=UTC)
    caller.listing(states=["queued", "RUNNING"], endpoint="small", since=noon, before=noon + timedelta(hours=1))
    (request,) = asked(service)
    assert request.states == [RequestState.REQUEST_STATE_QUEUED, RequestState.REQUEST_STATE_RUNNING]
    assert request.endpoint == "small"
    assert request.queued_after.ToJsonString() == "2030-01-01T12:00:00Z"
    assert request.queued_before.ToJsonString() == "2030-01-01T13:00:00Z"


def test_a_time_without_a_zone_is_local(service: ScriptedService, caller: Caller) -> None:
    service.answer("ListRequests", page(1))
    here = datetime(2030, 1, 1, 12)  # noqa: DTZ001 - the point
    caller.listing(since=here)
    assert asked(service)[0].queued_after.ToDatetime(tzinfo=UTC) == here.astimezone()


def test_a_limit_is_kept_and_asks_for_no_more(service: ScriptedService, caller: Caller) -> None:
    service.answer("ListRequests", page(100, "second"), page(30, "third"))
    assert len(caller.listing(limit=130)) == 130
    assert [request.page_size for request in asked(service)] == [100, 30]


def test_leaving_a_listing_early_asks_for_no_more(service: ScriptedService) -> None:
    service.answer("ListRequests", page(100, "second"))
    with CogReel(service.address) as client:
        next(client.list())
    assert len(asked(service)) == 1


def test_filters_that_make_no_sense_are_named(service: ScriptedService, caller: Caller) -> None:
    with pytest.raises(cogreel.InvalidInputError) as caught:
        caller.listing(states=["DONE"], limit=0)
    assert caught.value.fields == ("states", "limit")
    assert "COMPLETED" in str(caught.value)
    assert service.requests == []


def test_a_log_is_read_as_it_stands(service: ScriptedService, caller: Caller) -> None:
    lines = [queue_pb2.LogLine(attempt=1, message=message) for message in ("first", "second")]
    service.answer("GetStatus", queue_pb2.GetStatusResponse(status=status("RUNNING", attempt=1), logs=lines))
    assert caller.logs(REQUEST_ID) == lines


def test_a_log_is_followed_across_a_broken_connection(service: ScriptedService, caller: Caller) -> None:
    lines = [queue_pb2.LogLine(attempt=1, message=message) for message in ("first", "second", "third")]
    first, second, third = (event(f"c{n}", log=line) for n, line in enumerate(lines))
    end = event("end", state=status("FAILED", attempt=1))
    service.answer("WatchStatus", [*whole_course()[:3], first, OUTAGE], [second, OUTAGE], [third, end])
    assert caller.logs(REQUEST_ID, follow=True) == lines
