"""Run the previous release and keep what it wrote: `python -m tests.upgrade.record`, once for each new one.

A request is left in each state that a request can be in, on the engines of this machine. Written are the recording and
the release's protobuf schema, as descriptors.
"""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import nats.js.errors
from cogreel.v1.queue_pb2 import PRIORITY_LOW, ListRequestsRequest, RequestState
from google.protobuf.duration_pb2 import Duration

from jobs.broker import Broker
from jobs.subjects import KEYS, LOG, PAUSES, REQ
from tests.chaos.callers import connect
from tests.chaos.installation import ENDPOINT, TENANT, Installation, Release, Shape
from tests.deployment import Caller
from tests.upgrade.recording import Message, Recording
from tests.upgrade.releases import PREVIOUS_COMMIT, RECORDING, SCHEMA, unpack_previous_release

LIMITED_TENANT = "limited"
FOR_LONG = 50  # steps of half a second


class RecordedInstallation(Installation):
    """All programs are the previous release's, and the broker is set up by them."""

    async def prepare(self) -> str:
        await self.create_key(LIMITED_TENANT, "--running", "1")
        return await self.create_key(TENANT)

    async def create_key(self, tenant: str, *limits: str) -> str:
        """A key of that release's making."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "host.cli", "keys", "create", "--tenant", tenant, *limits),
            cwd=self.release.folder,
            env=self._common.environment() | self.release.environment,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        return output.decode().split()[0]


async def make_requests(installation: RecordedInstallation, stack: AsyncExitStack) -> dict[str, str]:
    """Requests in every state, one of which runs until the installation is stopped."""
    replica, channel = connect("service", installation.services[0].settings.listen)
    await stack.enter_async_context(channel)
    caller = Caller(replica.stub, TENANT, installation.api_key, ENDPOINT)
    limited = Caller(
        replica.stub, LIMITED_TENANT, await installation.create_key(LIMITED_TENANT, "--running", "1"), ENDPOINT
    )
    await caller.stub.ListRequests(ListRequestsRequest(), metadata=caller.metadata, wait_for_ready=True)
    requests: dict[str, str] = {}

    async def submit(name: str, by: Caller = caller, *, steps: int = 5, **more: Any) -> str:
        requests[name] = (await by.submit(f"butterflies, {name}", steps=steps, **more)).request_id
        return requests[name]

    await caller.cancel(await submit("cancelled"))
    failed = await submit("failed", start_timeout=Duration(seconds=1))
    assert await caller.ended(failed) == RequestState.REQUEST_STATE_FAILED
    quick = await installation.add_worker(0.01)
    completed = await submit("completed", idempotency_key="completed")
    assert await caller.ended(completed) == RequestState.REQUEST_STATE_COMPLETED
    await quick.kept.stop()
    running, released = await submit("running", steps=FOR_LONG), await submit("released", steps=FOR_LONG)
    await installation.add_worker(0.5)
    await caller.reaches(running, RequestState.REQUEST_STATE_RUNNING)
    draining = await installation.add_worker(0.5)
    await caller.reaches(released, RequestState.REQUEST_STATE_RUNNING)
    await draining.kept.stop()
    await caller.reaches(released, RequestState.REQUEST_STATE_QUEUED)
    await submit("low", priority=PRIORITY_LOW)
    await submit("queued")
    await submit("in line", limited)
    await submit("held", limited)
    return requests


async def read(installation: RecordedInstallation, requests: dict[str, str]) -> Recording:
    """What is in the broker and in the bucket."""
    streams, messages = {}, {}
    async with Broker(installation.broker_settings) as broker:
        listed = await broker.api(f"CONSUMER.LIST.{REQ}", {})
        found = cast("list[dict[str, Any]]", listed["consumers"])
        consumers = [{"stream_name": REQ, "config": consumer["config"]} for consumer in found]
        for name in (REQ, LOG, KEYS, PAUSES):
            info = await broker.api(f"STREAM.INFO.{name}", {})
            streams[name] = cast("dict[str, Any]", info["config"])
            last_seq = cast("dict[str, int]", info["state"])["last_seq"]
            messages[name] = [message async for message in read_stream(broker, name, last_seq)]
    objects = {}
    async for stored in installation.store.list_objects(""):
        objects[stored.key] = base64.b64encode(await installation.store.read(stored.key)).decode()
    return Recording(
        *(PREVIOUS_COMMIT, ENDPOINT, TENANT, installation.api_key, LIMITED_TENANT),
        *(requests, streams, consumers, messages, objects),
    )


async def read_stream(broker: Broker, stream: str, last_seq: int) -> AsyncIterator[Message]:
    """All messages up to a sequence, without the headers that only their publishing needed."""
    jetstream = broker.nc.jetstream()
    for seq in range(1, last_seq + 1):
        try:
            stored = await jetstream.get_msg(stream, seq)
        except nats.js.errors.NotFoundError:
            continue  # an entry of a bucket that was replaced
        headers = {
            name: value for name, value in (stored.headers or {}).items() if not name.startswith("Nats-Expected-")
        }
        yield Message(stored.subject or "", base64.b64encode(stored.data or b"").decode(), headers)


def keep_schema(release: Release) -> None:
    """Write the release's schema, the public one and that of records, as descriptors."""
    buf = str(Path(sys.executable).with_name("buf"))
    arguments = ("build", "proto", "--exclude-source-info", "--output", str(SCHEMA))
    subprocess.run([buf, *arguments], check=True, cwd=release.folder)


async def record(folder: Path, release: Release) -> Recording:
    """Run the release in a folder; returns what it left."""
    shape = Shape(services=1, step_s=())
    async with RecordedInstallation(folder, shape, release) as installation, AsyncExitStack() as stack:
        requests = await make_requests(installation, stack)
        return await read(installation, requests)


def main() -> None:
    """Run the command."""
    with tempfile.TemporaryDirectory() as temporary:
        release = unpack_previous_release(Path(temporary) / "release")
        keep_schema(release)
        asyncio.run(record(Path(temporary) / "data", release)).dump(RECORDING)
    print(f"written: {RECORDING} and {SCHEMA}")


if __name__ == "__main__":
    main()
