"""Listing a tenant's requests, newest first, in pages: which ones, out of the projection's index.

A page is continued below the sequence of acceptance that ended it, so requests that come or go between two pages
neither repeat nor hide others.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass

from cogreel.v1.queue_pb2 import ListRequestsRequest, RequestState

from jobs.errors import InvalidInputError, Violation
from jobs.projection import Projection
from jobs.states import PUBLIC
from jobs.subjects import RequestKey

DEFAULT_PAGE_SIZE = 100


@dataclass(frozen=True, slots=True)
class Page:
    """Requests, and the token of the next page; empty after the last."""

    keys: list[RequestKey]
    next_token: str


def page_of(projection: Projection, tenant: str, wanted: ListRequestsRequest) -> Page:
    """The page that a request asks for.

    Raises:
        InvalidInputError: the page token is none of ours.
    """
    states: frozenset[RequestState.ValueType] = frozenset(wanted.states)
    below = _decode(wanted.page_token) if wanted.page_token else None
    size = wanted.page_size if wanted.HasField("page_size") else DEFAULT_PAGE_SIZE
    keys: list[RequestKey] = []
    last_seq = 0
    for seq, key in _newest_first(projection, tenant, below):
        entry = projection.entries[key]
        if states and PUBLIC[entry.state] not in states:
            continue
        if wanted.HasField("endpoint") and entry.queue.endpoint != wanted.endpoint:
            continue
        if wanted.HasField("queued_after") and entry.accepted_ns < wanted.queued_after.ToNanoseconds():
            break  # all that follow are older
        if wanted.HasField("queued_before") and entry.accepted_ns >= wanted.queued_before.ToNanoseconds():
            continue
        if len(keys) == size:
            return Page(keys, _encode(last_seq))
        keys.append(key)
        last_seq = seq
    return Page(keys, "")


def _newest_first(projection: Projection, tenant: str, below: int | None) -> Iterable[tuple[int, RequestKey]]:
    index = projection.by_tenant.get(tenant)
    if index is None:
        return
    for seq in index.irange(maximum=below, inclusive=(True, False), reverse=True):
        yield seq, index[seq]


def _encode(seq: int) -> str:
    return base64.urlsafe_b64encode(seq.to_bytes(8, "big")).decode().rstrip("=")


def _decode(token: str) -> int:
    try:
        return int.from_bytes(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True), "big")
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError([Violation("page_token", "must be one that ListRequests returned")]) from error
