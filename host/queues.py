"""What `cogreeld queue` does: pausing, draining and resuming endpoints, by way of NATS alone."""

from __future__ import annotations

import asyncio
import math
import shlex
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import click
from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL, Priority

from host.installation import pasted, settings_of
from jobs import pauses
from jobs.broker import ApiError, Broker, Stored
from jobs.drain import SETTLED_S, Remaining, draining
from jobs.projection import Projection
from jobs.publisher import key_of, read_record
from jobs.record_pb2 import State
from jobs.streams import ensure_pauses_bucket
from jobs.subjects import LIVE, REQ, untoken
from jobs.tail import StreamTail

_KINDS = {State.STATE_RUNNING: "running", State.STATE_HELD: "held"}
_PRIORITIES = {"normal": PRIORITY_NORMAL, "low": PRIORITY_LOW}


async def pause_queue(endpoint: str, priority: str | None, ready_file: Path | None) -> None:
    """Pause and say so."""
    resume = _resume(endpoint, priority, ready_file)
    async with _queues_of(endpoint, ready_file) as broker:
        await pauses.pause(broker, endpoint, _chosen(priority))
    click.echo(f"paused {_name(endpoint, priority)}: nothing more of it starts; go on with: {resume}")


async def resume_queue(endpoint: str, priority: str | None, ready_file: Path | None) -> None:
    """Resume and say so, and what stays paused."""
    async with _queues_of(endpoint, ready_file) as broker:
        await pauses.resume(broker, endpoint, _chosen(priority))
        left = [found for found in await pauses.list_pauses(broker) if found.endpoint == endpoint]
    still = "".join(f"; {_priority_name(found.priority)} priority is still paused" for found in left)
    click.echo(f"resumed {_name(endpoint, priority)}{still}")


async def drain_queue(endpoint: str, priority: str | None, timeout_s: float | None, ready_file: Path | None) -> None:
    """Pause, then wait until nothing runs, and say what is waited for whenever that changes.

    Raises:
        click.ClickException: something still ran after `timeout_s`, or someone resumed it.
    """
    resume = _resume(endpoint, priority, ready_file)
    told: Remaining | None = None
    idle_since = asyncio.get_running_loop().time()
    async with _queues_of(endpoint, ready_file) as broker:
        await pauses.pause(broker, endpoint, _chosen(priority))
        click.echo(f"paused {_name(endpoint, priority)}", err=True)
        try:
            async with asyncio.timeout(timeout_s), aclosing(draining(broker, endpoint, _chosen(priority))) as left:
                async for remaining in left:
                    if not await _is_paused(broker, endpoint, _chosen(priority)):
                        raise click.ClickException(f"{_name(endpoint, priority)} was resumed meanwhile")
                    if remaining.running:
                        idle_since = asyncio.get_running_loop().time()
                    if remaining != told:
                        click.echo(_told(remaining), err=True)
                        told = remaining
        except TimeoutError as error:
            state = _state(told, asyncio.get_running_loop().time() - idle_since)
            raise click.ClickException(
                f"gave up after {timeout_s:g} s, {state}; it stays paused, go on with: {resume}"
            ) from error
    click.echo(f"drained {_name(endpoint, priority)}: nothing of it runs; go on with: {resume}")


async def list_queues(ready_file: Path | None) -> None:
    """Print a line for each endpoint and priority."""
    async with Broker(settings_of(ready_file).broker("queue")) as broker:
        await ensure_pauses_bucket(broker)
        served = await _served(broker)
        paused = {(found.endpoint, found.priority): found.since for found in await pauses.list_pauses(broker)}
        counts = await _counts(broker)
    rows = [("endpoint", "priority", "waiting", "held", "running", "")]
    for endpoint in sorted({*served, *(endpoint for endpoint, _ in paused)}):
        for priority in pauses.ALL_PRIORITIES:
            waiting, held, running = (str(counts[endpoint, priority, kind]) for kind in ("waiting", "held", "running"))
            since = paused.get((endpoint, priority))
            note = f"paused for {_ago(since)}" if since is not None else ""
            rows.append((endpoint, _priority_name(priority), waiting, held, running, note))
    if len(rows) == 1:
        click.echo("no endpoint has been served from here yet", err=True)
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@asynccontextmanager
async def _queues_of(endpoint: str, ready_file: Path | None) -> AsyncIterator[Broker]:
    """A connection, once it is known that the endpoint has queues: a misspelt one would pause nothing."""
    async with Broker(settings_of(ready_file).broker("queue")) as broker:
        served = await _served(broker)
        if endpoint not in served:
            raise click.ClickException(
                f"there is no endpoint {endpoint!r} here; served so far: {', '.join(served) or 'none'}"
            )
        await ensure_pauses_bucket(broker)
        yield broker


async def _is_paused(broker: Broker, endpoint: str, priorities: Sequence[Priority.ValueType]) -> bool:
    paused = {found.priority for found in await pauses.list_pauses(broker) if found.endpoint == endpoint}
    return paused.issuperset(priorities)


async def _served(broker: Broker) -> list[str]:
    """The endpoints that have queues: the first service that serves one makes its consumers."""
    names: list[str] = []
    try:
        while True:
            answer = await broker.api(f"CONSUMER.NAMES.{REQ}", {"offset": len(names)})
            page = cast("list[str]", answer["consumers"] or [])
            names += page
            if not page or len(names) >= cast("int", answer["total"]):
                break
    except ApiError:  # there is no stream yet
        return []
    tokens = {name.removesuffix("-normal") for name in names if name.endswith("-normal")}
    return sorted(map(untoken, tokens))


async def _counts(broker: Broker) -> Counter[tuple[str, Priority.ValueType, str]]:
    projection = Projection()

    def apply(stored: Stored) -> None:
        if ".st." in stored.subject:
            record = read_record(stored)
            projection.apply(key_of(record), stored.seq, record)

    try:
        async with StreamTail(broker, REQ, f"{LIVE}req.>", apply):
            counted = projection.counts()
    except ApiError:  # as above
        return Counter()
    counts: Counter[tuple[str, Priority.ValueType, str]] = Counter()
    for queue, state, count in counted:
        counts[queue.endpoint, queue.priority, _KINDS.get(state, "waiting")] += count
    return counts


def _chosen(priority: str | None) -> Sequence[Priority.ValueType]:
    return pauses.ALL_PRIORITIES if priority is None else (_PRIORITIES[priority],)


def _priority_name(priority: Priority.ValueType) -> str:
    return next(name for name, value in _PRIORITIES.items() if value == priority)


def _name(endpoint: str, priority: str | None) -> str:
    return endpoint if priority is None else f"{endpoint} ({priority} priority)"


def _resume(endpoint: str, priority: str | None, ready_file: Path | None) -> str:
    chosen = "" if priority is None else f" --priority {priority}"
    return pasted(f"queue resume {shlex.quote(endpoint)}{chosen}", ready_file)


def _told(remaining: Remaining) -> str:
    lost = f"; {remaining.abandoned} lost their worker and wait to be taken over" if remaining.abandoned else ""
    return f"{remaining.running} running{lost}" if remaining.running else f"nothing runs{lost}; making sure"


def _state(left: Remaining | None, idle_s: float) -> str:
    """What a drain that gives up knows."""
    if left is None:
        return "not knowing what runs"
    if left.running:
        return f"{left.running} still run"
    return f"nothing has run for {math.floor(idle_s)} s, but making sure takes {SETTLED_S:g} s"


def _ago(since: datetime) -> str:
    seconds = int((datetime.now(UTC) - since).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{max(seconds, 0)} s"
