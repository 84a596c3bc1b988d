"""How many requests wait and run, by endpoint and priority, as operators are shown it."""

from __future__ import annotations

import time
from collections.abc import Iterable

from cogreel.v1.admin_pb2 import QueueCounts
from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL

from jobs.projection import Projection, QueueName
from jobs.record_pb2 import State


def queue_counts(projection: Projection, endpoints: Iterable[str] = ()) -> list[QueueCounts]:
    """Every queue in which there is something, and those of the endpoints in any case. From any thread."""
    shown = {
        queue: QueueCounts(endpoint=queue.endpoint, priority=queue.priority)
        for queue in (QueueName(name, priority) for name in endpoints for priority in (PRIORITY_NORMAL, PRIORITY_LOW))
    }
    for queue, state, count in projection.counts():
        counted = shown.setdefault(queue, QueueCounts(endpoint=queue.endpoint, priority=queue.priority))
        match state:
            case State.STATE_QUEUED:
                counted.queued = count
            case State.STATE_HELD:
                counted.held = count
            case State.STATE_RUNNING:
                counted.running = count
    for queue, counted in shown.items():
        since_ns = projection.oldest_ns(queue)
        if since_ns is not None:
            counted.oldest.FromNanoseconds(max(0, time.time_ns() - since_ns))
    return [shown[queue] for queue in sorted(shown)]
