"""What whoever starts a machine's workers learns of them by gRPC health checks."""

from __future__ import annotations

import asyncio
import os
import signal

import grpc
import pytest
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc

from files import ObjectStore
from host.cli import main
from host.engines import EmbeddedS3
from host.engines.ports import choose_ports
from host.health import WORKER, workers_health
from host.settings import Settings
from host.worker_pool import WorkerPool
from jobs.broker import Broker
from jobs.streams import ensure_consumers, ensure_streams
from tests.brokers import NatsServers
from tests.waiting import seen

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def health(address: str, service: str) -> int:
    """What a probe of the kubelet is answered."""
    async with grpc.aio.insecure_channel(address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]
        return int((await check(health_pb2.HealthCheckRequest(service=service), timeout=5)).status)


async def test_workers_are_ready_while_every_device_has_its_model(
    nats: NatsServers, s3: EmbeddedS3, store: ObjectStore
) -> None:
    address = f"127.0.0.1:{choose_ports(['health'])['health']}"
    settings = Settings.model_validate(
        {
            "nats_url": nats.url,
            "s3_endpoint": s3.endpoint,
            "s3_access_key": s3.access_key,
            "s3_secret_key": s3.secret_key,
            "s3_bucket": store.bucket.name,
            "devices": "simulated",
            "endpoints": {"test/health": "simulated"},
            "worker_grace_s": 1,
        }
    )
    async with Broker(nats.settings()) as broker:
        await ensure_streams(broker)
        await ensure_consumers(broker, settings.endpoints)
        pool = WorkerPool(settings, broker)
        async with workers_health(address, lambda: pool.ready):
            assert (await health(address, ""), await health(address, WORKER)) == (SERVING, NOT_SERVING)
            async with pool:
                await seen(lambda: health(address, WORKER), lambda status: status == SERVING)
                os.kill(pool.pids["worker-0"], signal.SIGKILL)
                await seen(lambda: health(address, WORKER), lambda status: status == NOT_SERVING)
                assert await health(address, "") == SERVING
                await seen(lambda: health(address, WORKER), lambda status: status == SERVING)
            await seen(lambda: health(address, WORKER), lambda status: status == NOT_SERVING)


async def test_an_address_that_is_taken_is_told() -> None:
    address = f"127.0.0.1:{choose_ports(['health'])['health']}"
    async with workers_health(address, lambda: True):
        with pytest.raises(OSError, match=f"cannot listen on {address} for health checks"):
            async with workers_health(address, lambda: True):
                pass


async def test_the_command_tells_health_by_its_exit_status() -> None:
    address = f"127.0.0.1:{choose_ports(['health'])['health']}"

    async def asked(*arguments: str) -> tuple[int, str]:
        told = await asyncio.to_thread(CliRunner().invoke, main, ["health", address, *arguments])
        return told.exit_code, told.output

    serves = True
    async with workers_health(address, lambda: serves):
        await seen(lambda: asked("--service", WORKER), lambda told: told == (0, "SERVING\n"))
        serves = False
        await seen(lambda: asked("--service", WORKER), lambda told: told == (1, "NOT_SERVING\n"))
        assert await asked() == (0, "SERVING\n")
        code, said = await asked("--service", "cogreel.other")
        assert code == 1
        assert f"{address} does not tell: NOT_FOUND" in said
    code, said = await asked("--timeout", "0.5")
    assert code == 1
    assert f"{address} does not tell: UNAVAILABLE" in said


async def test_no_address_means_nowhere() -> None:
    async with workers_health("", lambda: True):
        pass
