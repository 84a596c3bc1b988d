"""A whole installation of processes as users run them: each with the credentials of its role alone, and TLS wherever it
can be had.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from cogreel import AsyncCogReel, StateUpdate
from cogreel.connection import Connection
from cogreel.submission import TextToVideo

from files import ObjectStore
from host.children import ChildSpec, KeptChild
from host.engines.ports import choose_ports
from host.health import WORKER, UnreachableError, check
from host.settings import HOSTED_ENDPOINT
from service.server import QUEUE_SERVICE
from tests.roles import RoleNats, role_nats
from tests.s3_roles import RoleS3, role_s3
from tests.waiting import seen

COGREELD = (sys.executable, "-m", "host.cli")
SMALL: TextToVideo = {"prompt": "a lighthouse", "video_size": (64, 64), "use_rife": False}


@dataclass
class Installation:
    """What runs, and where."""

    folder: Path
    nats: RoleNats
    s3: RoleS3
    service: Connection
    http: str
    worker: KeptChild

    async def cogreeld(self, *arguments: str) -> str:
        """What a command prints, run with an operator's credentials."""
        engines = self.nats.environment("operator") | self.s3.environment("service")
        command = (*COGREELD, *arguments)
        done = await asyncio.to_thread(
            subprocess.run, command, env=os.environ | engines, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def log(self, name: str) -> str:
        """What a process has logged."""
        return (self.folder / f"{name}.log").read_text()


async def serves(connection: Connection, service: str) -> bool:
    try:
        return await check(connection, service, timeout_s=2) == "SERVING"
    except UnreachableError:
        return False


@pytest_asyncio.fixture(scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    folder = tmp_path_factory.mktemp("installation")
    ports = choose_ports(["service", "workers", "http"])
    address = f"localhost:{ports['service']}"
    shared = {"COGREEL_ENDPOINTS": f'{{"{HOSTED_ENDPOINT}": "simulated"}}', "COGREEL_LOG_FORMAT": "json"}
    async with AsyncExitStack() as stack:
        nats = await stack.enter_async_context(role_nats(folder))
        s3 = await stack.enter_async_context(role_s3(folder))
        await ObjectStore(s3.owner).ensure_bucket()
        authority = nats.authority
        certificate, key = authority.issue("grpc", "localhost")
        door = authority.issue("http", "localhost")
        shown = authority.issue("gateway")

        async def start(name: str, settings: dict[str, str]) -> KeptChild:
            argv = (*COGREELD, name)
            spec = ChildSpec(name, argv, folder / f"{name}.log", env=shared | settings, stop_timeout_s=10)
            return await stack.enter_async_context(KeptChild(spec))

        worker = await start(
            "worker",
            nats.environment("worker")
            | s3.environment("worker")
            | {
                "COGREEL_DEVICES": "simulated",
                "COGREEL_SIMULATED_STEP_S": "0.01",
                "COGREEL_WORKER_GRACE_S": "1",
                "COGREEL_HEALTH_LISTEN": f"127.0.0.1:{ports['workers']}",
            },
        )
        tls = {
            "COGREEL_LISTEN": address,
            "COGREEL_CERTIFICATE": str(certificate),
            "COGREEL_PRIVATE_KEY": str(key),
            "COGREEL_CLIENT_CA_FILE": str(authority.certificate),
        }
        await start("serve", nats.environment("service") | s3.environment("service") | tls)
        await start(
            "gateway",
            {
                "COGREEL_GATEWAY_LISTEN": f"127.0.0.1:{ports['http']}",
                "COGREEL_GATEWAY_SERVICE": f"https://{address}",
                "COGREEL_GATEWAY_SERVICE_CA_FILE": str(authority.certificate),
                "COGREEL_GATEWAY_SERVICE_CERTIFICATE": str(shown[0]),
                "COGREEL_GATEWAY_SERVICE_PRIVATE_KEY": str(shown[1]),
                "COGREEL_GATEWAY_CERTIFICATE": str(door[0]),
                "COGREEL_GATEWAY_PRIVATE_KEY": str(door[1]),
            },
        )
        caller = authority.issue("caller")
        connection = Connection.resolve(
            f"https://{address}",
            ca_file=authority.certificate,
            client_certificate_file=caller[0],
            client_key_file=caller[1],
        )
        await seen(lambda: serves(connection, QUEUE_SERVICE), bool, within_s=40)
        workers = Connection.resolve(f"127.0.0.1:{ports['workers']}")
        await seen(lambda: serves(workers, WORKER), bool, within_s=40)
        yield Installation(folder, nats, s3, connection, f"https://localhost:{ports['http']}", worker)


def client(installation: Installation, api_key: str) -> AsyncCogReel:
    certificate, key = installation.nats.authority.issue("caller")
    return AsyncCogReel(
        f"https://{installation.service.target}",
        api_key,
        ca_file=installation.nats.authority.certificate,
        client_certificate_file=certificate,
        client_key_file=key,
    )


async def new_key(installation: Installation) -> str:
    return (await installation.cogreeld("keys", "create", "--tenant", "studio")).strip().splitlines()[-1].split()[-1]


async def test_a_video_is_made_and_fetched_and_nothing_was_denied(installation: Installation) -> None:
    async with client(installation, await new_key(installation)) as caller:
        result = await caller.subscribe(**SMALL)
        await caller.download(result, installation.folder / "lighthouse.mp4")
    assert (installation.folder / "lighthouse.mp4").stat().st_size == result.video.file_size
    for name in ("serve", "worker", "gateway"):
        assert "broker.denied" not in installation.log(name)


async def test_the_request_of_a_worker_process_that_is_killed_is_handed_back(installation: Installation) -> None:
    async with client(installation, await new_key(installation)) as caller:
        submitted = await caller.submit(**SMALL)
        request_id = submitted.request_id
        await seen(lambda: caller.status(request_id), lambda answer: answer.status.attempt > 0)
        assert installation.worker.pid is not None
        [device] = psutil.Process(installation.worker.pid).children()
        os.kill(device.pid, signal.SIGKILL)
        states = [update.state async for update in caller.watch(request_id) if isinstance(update, StateUpdate)]
        assert states[-1] == "COMPLETED"
    assert "broker.denied" not in installation.log("worker")


async def test_the_commands_of_operators_work_with_their_credentials(installation: Installation) -> None:
    await seen(partial(installation.cogreeld, "status"), lambda told: "simulated" in told)
    await installation.cogreeld("queue", "pause", HOSTED_ENDPOINT)
    await installation.cogreeld("webhook-keys", "rotate")
    async with client(installation, await new_key(installation)) as caller:
        submitted = await caller.submit(**SMALL)
        await installation.cogreeld("erase", "--yes", "--tenant", "studio", submitted.request_id)


async def test_the_gateway_serves_by_tls_and_reaches_the_service_by_its_certificate(installation: Installation) -> None:
    trusting = ssl.create_default_context(cafile=installation.nats.authority.certificate)
    url = f"{installation.http}/.well-known/jwks.json"

    def webhook_keys() -> int:
        with urllib.request.urlopen(url, context=trusting, timeout=10) as answer:
            return len(json.load(answer)["keys"])

    assert await asyncio.to_thread(webhook_keys) >= 1
