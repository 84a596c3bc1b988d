"""The example that receives webhooks, against a real service, and against whoever is none."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
import urllib.error
import urllib.request
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest_asyncio

from files.fetch_guard import AllowedPlace, FetchSettings
from jobs.webhook_keys import read_keyring
from service.webhook_signing import signed_headers
from tests.deployment import Caller, Deployment
from tests.examples.test_examples import EXAMPLES
from tests.webhook_receiver import Receiver


@dataclass
class Running:
    """The example, as it runs."""

    url: str
    out: asyncio.StreamReader

    async def line(self) -> str:
        return (await asyncio.wait_for(self.out.readline(), 20)).decode().rstrip()

    async def post(self, headers: Mapping[str, str], body: bytes) -> int:
        """Send what may be a webhook; the status of the answer."""

        def send() -> int:
            request = urllib.request.Request(self.url, body, dict(headers))
            try:
                with urllib.request.urlopen(request, timeout=10) as reply:
                    return int(reply.status)
            except urllib.error.HTTPError as error:
                return error.code

        return await asyncio.to_thread(send)


@pytest_asyncio.fixture
async def port(deployment: Deployment) -> int:
    """Of a service that may call receivers on loopback."""
    deployment.fetching = FetchSettings(allow=(AllowedPlace.parse("127.0.0.1"),))
    return await deployment.service()


@pytest_asyncio.fixture
async def caller(deployment: Deployment, port: int) -> Caller:
    return await deployment.caller(port)


@pytest_asyncio.fixture
async def running(port: int, tmp_path: Path) -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, EXAMPLES / "webhook_receiver.py", "0"),
        cwd=tmp_path,
        env=os.environ | {"COGREEL_ADDRESS": f"127.0.0.1:{port}"},
        stdout=PIPE,
        stderr=PIPE,
    )
    assert process.stdout is not None
    listening = re.fullmatch(r"listening on (http://\S+)", (await process.stdout.readline()).decode().rstrip())
    assert listening is not None
    yield Running(listening[1], process.stdout)
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert err == b"stopped\n"


async def test_it_hears_of_each_end_once(caller: Caller, deployment: Deployment, running: Running) -> None:
    await deployment.worker()
    done = await caller.submit(webhook_url=running.url)
    assert re.fullmatch(rf"{done.request_id}: \d+ bytes", await running.line())
    dropped = await caller.submit(webhook_url=running.url, steps=50)
    await caller.cancel(dropped.request_id)
    assert await running.line() == f"{dropped.request_id}: Invalid status code: 499"


async def test_it_takes_neither_repetitions_nor_what_is_forged_or_old(
    caller: Caller, deployment: Deployment, running: Running
) -> None:
    async with Receiver() as recorder:
        request_id = (await caller.submit(webhook_url=recorder.url)).request_id
        await caller.cancel(request_id)
        await recorder.got(1)
    headers = {name: value for name, value in recorder.headers(0).items() if name.startswith("webhook-")}
    body = recorder.server.bodies[0]
    assert await running.post(headers, body + b" ") == 401
    assert await running.post(headers | {"webhook-id": "msg_other"}, body) == 401
    assert await running.post({}, body) == 401
    keys = (await read_keyring(deployment.broker)).keys
    old = signed_headers(
        keys,
        body,
        request_id=request_id,
        tenant=caller.tenant,
        delivery_id="msg_old",
        timestamp=int(time.time()) - 301,
    )
    assert await running.post(dict(old), body) == 401
    assert await running.post(headers, body) == 204
    assert await running.line() == f"{request_id}: Invalid status code: 499"
    assert await running.post(headers, body) == 204
    last = await caller.submit(webhook_url=running.url)
    await caller.cancel(last.request_id)
    assert await running.line() == f"{last.request_id}: Invalid status code: 499"  # and nothing in between
