"""When one stream is not enough: `python -m bench.streams [--brokers 3]`.

First what a video of 50 steps leaves in REQ and LOG, in messages and bytes, made by a real service and worker. Then how
many states a second go into one stream, and into several over which requests are spread by tenant: each request is
three compare-and-set writes of a record's size, as in `jobs.publisher`, each on disk before it is acknowledged. The
program itself has one stream; the several are only measured here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import secrets
import tempfile
import time
import zlib
from pathlib import Path
from typing import Literal

from bench.queue import Bench, running
from bench.simulation.report import table
from jobs.broker import Broker
from jobs.streams import stream_state
from jobs.subjects import LOG, REQ
from tests.brokers import servers_in

STEPS = 50
VIDEOS = 3
CALLERS = 128
TENANTS = 64


async def left_by_a_video(bench: Bench) -> dict[str, tuple[float, float]]:
    """Messages and bytes that a video leaves in each stream, in the mean."""
    before = {stream: await stream_state(bench.broker, stream) for stream in (REQ, LOG)}
    async with bench.workers(step_s=0.1):
        for _ in range(VIDEOS):
            submitted = await bench.submit("bench/worked", steps=STEPS)
            async for _event in bench.watch(submitted.request_id):
                pass
    after = {stream: await stream_state(bench.broker, stream) for stream in (REQ, LOG)}
    return {
        stream: ((after[stream][0] - seq) / VIDEOS, (after[stream][1] - size) / VIDEOS)
        for stream, (seq, size, _) in before.items()
    }


async def writes_per_s(broker: Broker, streams: int, *, record_bytes: int, seconds: float) -> float:
    """States a second that many callers together get into so many streams."""
    for number in range(streams):
        config = {
            "name": f"PART_{streams}_{number}",
            "subjects": [f"part.{streams}.{number}.>"],
            "storage": "file",
            "num_replicas": broker.settings.replicas,
            "allow_direct": True,
        }
        await broker.api(f"STREAM.CREATE.{config['name']}", config)
    ends = time.perf_counter() + seconds
    written = 0

    async def caller() -> None:
        nonlocal written
        while time.perf_counter() < ends:
            tenant = secrets.randbelow(TENANTS)
            part = zlib.crc32(str(tenant).encode()) % streams
            stem = f"part.{streams}.{part}.{tenant}.{secrets.token_hex(16)}.st"
            seq = 0
            for state in ("QUEUED", "RUNNING", "COMPLETED"):
                headers = {
                    "Nats-Expected-Last-Subject-Sequence": str(seq),
                    "Nats-Expected-Last-Subject-Sequence-Subject": f"{stem}.>",
                }
                while True:
                    reply = await broker.request(f"{stem}.{state}", bytes(record_bytes), headers=headers)
                    answer = json.loads(reply.data)
                    if "error" not in answer:
                        break
                    await asyncio.sleep(0.001)  # another write is in flight, as with several replicas
                seq = answer["seq"]
                written += 1

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    for number in range(streams):
        await broker.api(f"STREAM.DELETE.PART_{streams}_{number}", {})
    return written / seconds


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=8.0)
    wanted = parser.parse_args()
    brokers: Literal[1, 3] = wanted.brokers
    busy = os.getloadavg()[0]
    async with running(1) as bench:
        left = await left_by_a_video(bench)
    print(f"{os.cpu_count()} cores, {platform.machine()}, {brokers} broker(s), load average {busy:.1f} before\n")
    print(
        table(
            [f"a video of {STEPS} steps", "messages", "bytes"],
            [[s, f"{n:.0f}", f"{b:.0f}"] for s, (n, b) in left.items()],
        )
    )
    record_bytes = round(left[REQ][1] / left[REQ][0])
    rows = []
    with tempfile.TemporaryDirectory(prefix="cogreel-bench-") as folder:
        nats = servers_in(Path(folder), brokers)
        async with nats, Broker(nats.settings(name="bench")) as broker:
            await nats.wait_ready()
            for streams in wanted.streams:
                rate = await writes_per_s(broker, streams, record_bytes=record_bytes, seconds=wanted.seconds)
                rows.append([streams, f"{rate:.0f}"])
    print()
    print(table(["streams", f"states of {record_bytes} bytes a second"], rows))


if __name__ == "__main__":
    asyncio.run(main())
