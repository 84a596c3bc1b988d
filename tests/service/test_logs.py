"""What is logged of calls and attempts, and under whose name."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import MutableMapping
from typing import Any

import grpc
import pytest
import structlog
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from host.logs import add_trace_id
from inference.model import Clip, Generation, Progress
from inference.simulated import SimulatedModel
from tests.deployment import Deployment
from tests.waiting import until

GONE = "00000000-0000-4000-8000-000000000000"
PROCESSORS = [merge_contextvars, add_trace_id]

_log = structlog.get_logger(__name__)


class Talkative(SimulatedModel):
    """Logs from the device's thread."""

    def generate(self, generation: Generation, progress: Progress) -> Clip:
        _log.info("device.speaks", prompt=generation.prompt)
        return super().generate(generation, progress)


def traceparent(number: int) -> tuple[str, str]:
    """The context of a caller's span, not sampled."""
    return ("traceparent", f"00-{number:032x}-{number:016x}-00")


async def test_attempts_side_by_side_log_under_their_own_names(deployment: Deployment) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    with capture_logs(processors=PROCESSORS) as lines:
        await deployment.worker(model=Talkative(step_s=0.001, frames=49))
        traces: dict[str, str] = {}
        for number in range(1, 6):
            metadata = (*caller.metadata, traceparent(number))
            submitted = await caller.stub.Submit(caller.submission(f"{number}"), metadata=metadata)
            traces[submitted.request_id] = f"{number:032x}"
        await asyncio.gather(*(caller.ended(request_id) for request_id in traces))
        # The callers hear of the ends before the worker says so.
        await until(lambda: [line["event"] for line in lines].count("attempt.completed") == len(traces))
    said: defaultdict[str, list[str]] = defaultdict(list)
    for line in lines:
        if line["event"].startswith(("attempt.", "device.")):
            assert line["attempt"] == 1
            assert line["trace_id"] == traces[line["request_id"]]
            said[line["request_id"]].append(line["event"])
    assert dict(said) == {key: ["attempt.started", "device.speaks", "attempt.completed"] for key in traces}
    prompts = {line["request_id"]: line["prompt"] for line in lines if line["event"] == "device.speaks"}
    assert [prompts[request_id] for request_id in traces] == ["1", "2", "3", "4", "5"]


async def test_the_worker_forgets_the_name_of_what_it_has_done(deployment: Deployment) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    with capture_logs(processors=PROCESSORS) as lines:
        worker = await deployment.worker()
        await caller.ended((await caller.submit()).request_id)
        _log.info("afterwards")
        worker.drain()
    (afterwards,) = [line for line in lines if line["event"] == "afterwards"]
    assert not {"request_id", "attempt", "trace_id"} & set(afterwards)


async def test_each_call_leaves_one_line(deployment: Deployment) -> None:
    port = await deployment.service()
    caller = await deployment.caller(port)
    with capture_logs(processors=PROCESSORS) as lines:

        def own() -> list[MutableMapping[str, Any]]:
            """What is said of this tenant's calls: those of an earlier test may still be ending."""
            calls = [line for line in lines if line["event"] in {"call.served", "call.refused"}]
            return [line for line in calls if line.get("tenant") == caller.tenant]

        await caller.stub.Submit(caller.submission(), metadata=(*caller.metadata, traceparent(7)))
        with pytest.raises(grpc.aio.AioRpcError):
            await caller.result(GONE)
        await until(lambda: len(own()) >= 2)
    served, refused = own()
    assert (served["log_level"], served["method"], served["code"]) == ("debug", "Submit", "OK")
    assert (served["tenant"], served["trace_id"]) == (caller.tenant, f"{7:032x}")
    assert (refused["log_level"], refused["method"], refused["code"]) == ("info", "GetResult", "NOT_FOUND")
    assert (refused["tenant"], refused["reason"]) == (caller.tenant, "REQUEST_NOT_FOUND")
    assert "trace_id" not in refused
