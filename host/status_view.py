"""How `cogreeld status` looks: tables for people, one JSON object for programs."""

from __future__ import annotations

import json
from datetime import UTC, timedelta

from cogreel.v1.admin_pb2 import QueueCounts, Worker
from cogreel.v1.queue_pb2 import Priority
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from host.status import Snapshot

_GIB = 1024**3
_NOTHING = "–"
_WIDE = 120  # columns, from which on there is room for the memory of devices and for whole request ids


def as_json(snapshot: Snapshot) -> str:
    """The snapshot for programs: durations in seconds, times in RFC 3339, memory in bytes."""
    return json.dumps(
        {
            "time": snapshot.time.isoformat(),
            "queues": [
                {
                    "endpoint": count.endpoint,
                    "priority": _priority(count),
                    "queued": count.queued,
                    "held": count.held,
                    "running": count.running,
                    "paused_s": snapshot.paused_s(count.endpoint, count.priority),
                    "oldest_s": count.oldest.ToMilliseconds() / 1000 if count.HasField("oldest") else None,
                }
                for count in snapshot.queues
            ],
            "workers": [
                {
                    "name": worker.name,
                    "incarnation": worker.incarnation,
                    "device": worker.device,
                    "device_memory_bytes": worker.device_memory_bytes,
                    "endpoints": list(worker.endpoints),
                    "model": {
                        "name": worker.model.name,
                        "revision": worker.model.revision,
                        "digest": worker.model.digest,
                        "profile": worker.model.profile,
                    },
                    "request_id": worker.request_id or None,
                    "started": worker.started.ToJsonString(),
                    "version": worker.version,
                    "draining": worker.draining,
                }
                for worker in snapshot.workers
            ],
        },
        indent=2,
        ensure_ascii=False,
    )


def as_tables(snapshot: Snapshot, width: int, note: str = "") -> RenderableType:
    """The snapshot for people, on so many columns; `note` says why it is not of this moment."""
    parts: list[RenderableType] = [_queues(snapshot), _workers(snapshot.workers, width)]
    if not snapshot.workers:
        parts.append(Text("No worker answers.", style="yellow"))
    parts += [
        Text(f"Requests wait for {endpoint}, and no worker serves it.", style="red") for endpoint in snapshot.unserved
    ]
    parts.append(Text(f"{snapshot.time.astimezone():%Y-%m-%d %H:%M:%S}", style="dim"))
    if note:
        parts.append(Text(note, style="red"))
    return Group(*parts)


def _queues(snapshot: Snapshot) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("endpoint", no_wrap=True)
    table.add_column("priority")
    for name in ("queued", "held", "running", "oldest"):
        table.add_column(name, justify="right")
    table.add_column("paused", no_wrap=True)
    for count in snapshot.queues:
        oldest = _duration(count.oldest.ToTimedelta()) if count.HasField("oldest") else _NOTHING
        paused_s = snapshot.paused_s(count.endpoint, count.priority)
        paused = Text(_NOTHING)
        if paused_s is not None:
            paused = Text(f"for {_duration(timedelta(seconds=paused_s))}", style="yellow")
        numbers = [str(number) for number in (count.queued, count.held, count.running)]
        table.add_row(Text(count.endpoint), _priority(count), *numbers, oldest, paused)
    return table


def _workers(workers: list[Worker], width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("worker", "device", "model", "request", "since", "draining"):
        table.add_column(name, no_wrap=True)
    wide = width >= _WIDE
    for worker in workers:
        request_id = worker.request_id if wide or not worker.request_id else f"{worker.request_id[:8]}…"
        memory = f" {worker.device_memory_bytes / _GIB:.0f} GiB" if wide and worker.device_memory_bytes else ""
        table.add_row(
            Text(worker.name),
            Text(f"{worker.device}{memory}"),
            Text(worker.model.name.rpartition("/")[2]),
            Text(request_id or _NOTHING),
            f"{worker.started.ToDatetime(UTC).astimezone():%m-%d %H:%M}",
            Text("yes", style="yellow") if worker.draining else _NOTHING,
        )
    return table


def _priority(count: QueueCounts) -> str:
    return Priority.Name(count.priority).removeprefix("PRIORITY_").lower()


def _duration(time: timedelta) -> str:
    """The two greatest units: 12s, 3m 04s, 2h 05m, 1d 03h."""
    seconds = int(time.total_seconds())
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days}d {hours % 24:02}h"
    if hours:
        return f"{hours}h {minutes % 60:02}m"
    return f"{minutes}m {seconds % 60:02}s" if minutes else f"{seconds}s"
