"""Erasing one request: objects first, since nothing names them once its records are gone, then log and records.

The sweeper erases what has been kept long enough; an operator may have any request deleted, finished or not.
"""

from __future__ import annotations

import asyncio
import time

import structlog

from files import ObjectStore, parse_video_key, request_prefix
from jobs import states
from jobs.broker import Broker
from jobs.cancellation import cancel
from jobs.control import Holding, ask_holding, tell_cancelled
from jobs.erasure import erase
from jobs.errors import AlreadyFinishedError
from jobs.publisher import confirmed_state, key_of
from jobs.record_pb2 import Record
from jobs.subjects import LOG, RequestKey, log_subject

LET_GO_WITHIN_S = 10.0  # a worker stops at its next step; the longest, of CogVideoX-5B, take some seconds
ASK_AGAIN_S = 0.1
# A replica that missed the end of a request would take it for living for ever, were it erased before the replica
# notices: it compares itself with the stream each second.
SEEN_BY_ALL_S = 2.0

_log = structlog.get_logger(__name__)


async def erase_ended(
    broker: Broker, store: ObjectStore, key: RequestKey, *, until_seq: int, until_log_seq: int
) -> None:
    """Erase a request that has ended, up to its terminal state at `until_seq` and its entry at `until_log_seq`.

    Erasing twice is harmless, and what was interrupted can be repeated.

    Raises:
        StoreUnavailableError, BrokerUnavailableError: an engine does not answer.
    """
    for object_key in await store.list_keys(request_prefix(key.tenant, key.request_id)):
        # By its place in the queue: not those of a request that was erased and submitted anew since.
        queued_seq = int(parse_video_key(object_key).file_name.removesuffix(".mp4"))
        if queued_seq < until_seq:
            await store.remove(object_key)
    await erase(broker, key, until_seq=until_seq, until_log_seq=until_log_seq)
    _log.info("request.erased", request_id=key.request_id)


async def delete_request(broker: Broker, store: ObjectStore, key: RequestKey) -> None:
    """Cancel a request, unless it has ended, and erase everything of it.

    If it runs, its worker is given up to 10 s to stop, so that it writes no further lines. A video that it is just
    storing becomes an orphan, which the worker or the sweeper removes.

    Raises:
        RequestNotFoundError: the tenant has no such request.
        StoreUnavailableError, BrokerUnavailableError: an engine does not answer; repeating is safe.
    """
    try:
        _, cancelled = await cancel(broker, key)
    except AlreadyFinishedError:
        pass
    else:
        await _until_let_go(broker, cancelled)
    last_entry = await broker.last(LOG, log_subject(key))  # before the state: it belongs to it, or to none
    found = await confirmed_state(broker, key)
    if found is None or found[1].state not in states.TERMINAL:
        return  # somebody else erased it meanwhile; what there is now was submitted anew
    ended_for_s = time.time() - found[1].finished_time.ToNanoseconds() / 1e9
    await asyncio.sleep(min(SEEN_BY_ALL_S, max(0.0, SEEN_BY_ALL_S - ended_for_s)))
    until_log_seq = last_entry.seq if last_entry is not None else 0
    await erase_ended(broker, store, key, until_seq=found[0], until_log_seq=until_log_seq)


async def _until_let_go(broker: Broker, record: Record) -> None:
    """Wait until the worker of the last attempt has stopped, or cannot be reached."""
    key, incarnation = key_of(record), record.worker.incarnation
    if not incarnation:
        return
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LET_GO_WITHIN_S
    while await ask_holding(broker, incarnation, key, record.attempt) is Holding.MINE:
        if loop.time() >= deadline:
            _log.warning("erasing.worker_goes_on", request_id=key.request_id, worker=record.worker.name)
            return
        await tell_cancelled(broker, incarnation, key)
        await asyncio.sleep(ASK_AGAIN_S)
