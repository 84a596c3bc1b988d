"""Cursors: any replica reads them, nothing else passes for one."""

from __future__ import annotations

import string
import uuid
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.cursor import Place, created_ns, decode, encode
from jobs.errors import CursorExpiredError, CursorInvalidError

REQUEST = str(uuid.UUID(int=0x1234))
CREATED = created_ns("2026-01-02T03:04:05.123456789Z")
URL_SAFE = set(string.ascii_letters + string.digits + "-_")

quickly = settings(deadline=None, database=None)
places = st.builds(
    Place,
    req_seq=st.integers(0, 2**64 - 1),
    log_seq=st.integers(0, 2**64 - 1),
    log_number=st.integers(0, 2**63 - 1),
)


@quickly
@given(place=places, request_id=st.uuids(), created=st.integers(0, 2**63 - 1))
def test_a_cursor_gives_its_place_back(place: Place, request_id: uuid.UUID, created: int) -> None:
    text = encode(place, request_id=str(request_id), stream_created=created)
    assert set(text) <= URL_SAFE
    assert decode(text, request_id=str(request_id), stream_created=created) == place


@quickly
@given(place=places, other=st.uuids())
def test_a_cursor_of_another_request_is_refused(place: Place, other: uuid.UUID) -> None:
    text = encode(place, request_id=REQUEST, stream_created=CREATED)
    with pytest.raises(CursorInvalidError, match="another request"):
        decode(text, request_id=str(other), stream_created=CREATED)


def test_a_cursor_is_of_no_use_once_the_stream_was_made_anew() -> None:
    text = encode(Place(5, 6, 7), request_id=REQUEST, stream_created=CREATED)
    with pytest.raises(CursorExpiredError):
        decode(text, request_id=REQUEST, stream_created=CREATED + 1)


@quickly
@given(st.text(max_size=80) | st.text(alphabet=sorted(URL_SAFE), max_size=80))
def test_text_that_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(CursorInvalidError):
        decode(text, request_id=REQUEST, stream_created=CREATED)


@quickly
@given(place=places, data=st.data())
def test_a_cursor_with_a_byte_too_many_or_too_few_never_crashes_the_reader(place: Place, data: st.DataObject) -> None:
    text = encode(place, request_id=REQUEST, stream_created=CREATED)
    cut = text[: data.draw(st.integers(0, len(text)))] + data.draw(st.text(alphabet="A-_=\n.", max_size=3))
    with suppress(CursorInvalidError, CursorExpiredError):
        assert isinstance(decode(cut, request_id=REQUEST, stream_created=CREATED), Place)


@pytest.mark.parametrize(
    ("created", "nanoseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T00:00:00.1Z", 100_000_000),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1970-01-01T00:01:00.123456789Z", 60_123_456_789),
    ],
)
def test_a_streams_creation_time_is_read_to_the_nanosecond(created: str, nanoseconds: int) -> None:
    assert created_ns(created) == nanoseconds


def test_a_creation_time_agrees_with_the_calendar() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert created_ns("2026-01-02T03:04:05.5Z") == int(moment.timestamp()) * 10**9 + 500_000_000
