"""A full life, with all that can go wrong with credentials, at the level debug: no secret is told to anyone."""

from __future__ import annotations

import asyncio
import base64
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import grpc
import psutil
import pytest
from cogreel.v1 import admin_pb2, admin_pb2_grpc, queue_pb2_grpc, storage_pb2, storage_pb2_grpc
from cogreel.v1.queue_pb2 import GetWebhookKeysRequest, RequestState
from pydantic import SecretStr

from host.settings import HOSTED_ENDPOINT, Settings
from jobs.broker import Broker, BrokerSettings
from jobs.webhook_keys import read_keyring
from tests.deployment import Caller, eventually, fetch
from tests.end_to_end.collector import Collector
from tests.end_to_end.haystack import Haystack
from tests.end_to_end.tree import Tree
from tests.hostile_server import answer
from tests.webhook_receiver import Receiver

MISSING = "00000000-0000-4000-8000-000000000000"
WRONG = {
    "a wrong key": "W3-wrong-but-well-formed-secret-of-a-key-0z",
    "a malformed key": "W4-this-is-no-key",
    "a wrong NATS password": "W5-wrong-nats-password",
    "a wrong S3 key": "W6-wrong-s3-secret",
    "half of a NATS password": "W7half",
    "a token": "W8-token-of-the-collector",
}
"""Secrets that are of no use here may be of use elsewhere."""
RECEIVERS_TOKEN = "W10-token-by-which-a-receiver-knows-callers"
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(100)


def cogreeld(tree: Tree, *arguments: str) -> str:
    """What a command of the operator prints, who asked for it."""
    command = (sys.executable, "-m", "host.cli", *arguments, "--ready-file", str(tree.ready_file))
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()


@asynccontextmanager
async def text_replica(tree: Tree, log: Path) -> AsyncIterator[str]:
    """A second replica of the service, which logs as text and is refused by S3; gives its address."""
    environment = psutil.Process(tree.pid("service")).environ() | {"COGREEL_LOG_FORMAT": "text"}
    environment |= {"COGREEL_LISTEN": "127.0.0.1:0", "COGREEL_METRICS_LISTEN": ""}
    environment |= {"COGREEL_S3_SECRET_KEY": WRONG["a wrong S3 key"]}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "host.cli", "serve"),
            env=environment,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def port() -> str | None:
        found = re.search(r"service\.listening.* port=(\d+)", log.read_text())
        return found.group(1) if found else None

    try:
        yield f"127.0.0.1:{await eventually(port, bool)}"
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def live(tree: Tree, caller: Caller, hay: Haystack) -> dict[str, str]:
    """Submit, watch, read, cancel and fetch; what a caller is told goes into the haystack. The URL's signature."""
    submitted = await caller.submit(steps=5)
    hay.add("answer to Submit", str(submitted))
    async for event in caller.watch(submitted.request_id):
        hay.add("events", str(event))
    hay.add("answer to GetStatus", str(await caller.status(submitted.request_id, with_logs=True)))
    result = (await caller.result(submitted.request_id)).video
    query = parse_qs(urlsplit(result.video.url).query)
    assert await asyncio.to_thread(fetch, result.video.url)
    with pytest.raises(OSError, match="403"):
        await asyncio.to_thread(fetch, result.video.url.replace("X-Amz-Date=2", "X-Amz-Date=1"))
    cancelled = await caller.submit(steps=50)
    await caller.reaches(cancelled.request_id, RequestState.REQUEST_STATE_RUNNING)
    hay.add("answer to Cancel", str(await caller.cancel(cancelled.request_id)))
    return {"the signature of a URL": query["X-Amz-Signature"][0]}


async def administrate(tree: Tree, operator: str, hay: Haystack) -> dict[str, str]:
    """Make a key over gRPC, upload with it, list keys and workers; the key, and the signature of the upload."""
    metadata = (("authorization", f"Bearer {operator}"),)
    async with grpc.aio.insecure_channel(tree.ready["grpc"]) as channel:
        admin = admin_pb2_grpc.AdminServiceStub(channel)
        made = await admin.CreateApiKey(admin_pb2.CreateApiKeyRequest(tenant="uploader"), metadata=metadata)
        hay.add(
            "answer to ListApiKeys", str(await admin.ListApiKeys(admin_pb2.ListApiKeysRequest(), metadata=metadata))
        )
        hay.add(
            "answer to ListWorkers", str(await admin.ListWorkers(admin_pb2.ListWorkersRequest(), metadata=metadata))
        )
        storage = storage_pb2_grpc.StorageServiceStub(channel)
        description = storage_pb2.CreateUploadRequest(file_name="a.png", content_type="image/png", size=len(PICTURE))
        upload = await storage.CreateUpload(description, metadata=(("authorization", f"Bearer {made.secret}"),))
        put = urllib.request.Request(upload.upload_url, PICTURE, dict(upload.headers), method="PUT")
        await asyncio.to_thread(urllib.request.urlopen, put, timeout=10)
        with pytest.raises(grpc.aio.AioRpcError) as denied:
            await admin.ListApiKeys(
                admin_pb2.ListApiKeysRequest(), metadata=(("authorization", f"Bearer {made.secret}"),)
            )
        hay.add_error("refusal of a caller by AdminService", denied.value)
    return {
        "a key made over gRPC": made.secret.partition(":")[2],
        "the signature of an upload": parse_qs(urlsplit(upload.upload_url).query)["X-Amz-Signature"][0],
    }


async def go_wrong(caller: Caller, keys: dict[str, str], hay: Haystack) -> None:
    """Make calls that are refused, with all kinds of keys."""
    for kind, text in keys.items():
        for scheme in ("Bearer", "Basic"):
            metadata = (("authorization", f"{scheme} {text}"),)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await caller.stub.Submit(caller.submission(), metadata=metadata)
            hay.add_error(f"refusal of {kind} as {scheme}", refused.value)
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await caller.result(MISSING)
    hay.add_error("error of GetResult", missing.value)
    with pytest.raises(grpc.aio.AioRpcError) as invalid:
        await caller.submit("", steps=-1)
    hay.add_error("error of Submit", invalid.value)


async def start_with_wrong_credentials(service: dict[str, str], hay: Haystack) -> None:
    """Start every kind of process with credentials that are refused, or cannot be read."""
    nats = service["COGREEL_NATS_URL"]
    bad_nats = re.sub(r":[^:@]+@", f":{WRONG['a wrong NATS password']}@", nats)
    half = re.sub(r":[^:@]+@", f":{WRONG['half of a NATS password']}/rest@", nats)
    mine = {name: value for name, value in service.items() if name.startswith("COGREEL_")}
    mine |= {"COGREEL_DEVICES": "simulated", "COGREEL_LISTEN": "127.0.0.1:0", "COGREEL_METRICS_LISTEN": ""}
    refused = mine | {"COGREEL_NATS_URL": bad_nats}
    unreadable = mine | {"COGREEL_NATS_URL": half, "COGREEL_LOG_FORMAT": "text"}
    statuses = await asyncio.gather(
        hay.add_command("host.cli", "serve", **refused),
        hay.add_command("host.cli", "worker", **refused),
        hay.add_command("host.cli", "keys", "list", **unreadable),
        hay.add_command("host.cli", "worker", **mine | {"COGREEL_S3_SECRET_KEY": WRONG["a wrong S3 key"]}),
        hay.add_command("cogreel", "list", COGREEL_ADDRESS="127.0.0.1:1", COGREEL_API_KEY=WRONG["a wrong key"]),
        hay.add_command("host.cli", "serve", "--help", **mine),
    )
    *failed, shown = statuses
    assert all(failed)
    assert shown == 0


async def hook(tree: Tree, caller: Caller, hay: Haystack) -> dict[str, str]:
    """Have a webhook delivered, and another one refused; what signs them, and what its receiver is known by."""
    async with Receiver() as receiver, Broker(BrokerSettings(url=tree.ready["nats"], name="test")) as broker:
        receiver.server.answers["/gone"] = answer(status="410 Gone")
        for path in ("/hook", "/gone"):
            url = receiver.server.url(f"{path}?token={RECEIVERS_TOKEN}")
            request_id = (await caller.submit(webhook_url=url)).request_id
            await caller.cancel(request_id)
            told = await eventually(
                lambda of=request_id: caller.status(of),  # type: ignore[misc]
                lambda seen: seen.status.webhook.attempts > 0,
            )
            hay.add("answer to GetStatus of a webhook", str(told))
        for number in range(receiver.count):
            hay.add("webhook", receiver.server.heads[number].partition("\r\n")[2].encode())
            hay.add("webhook", receiver.server.bodies[number])
        hay.add("answer to GetWebhookKeys", str(await caller.stub.GetWebhookKeys(GetWebhookKeysRequest())))
        keys = (await read_keyring(broker)).keys
        hay.add("cogreeld webhook-keys", await asyncio.to_thread(cogreeld, tree, "webhook-keys", "rotate"))
        keys += (await read_keyring(broker)).keys
    forms = {f"webhook key {number} in hexadecimal": key.private.hex() for number, key in enumerate(keys)}
    forms |= {f"webhook key {n} in base64": base64.b64encode(key.private).decode() for n, key in enumerate(keys)}
    return forms | {"a receiver's token": RECEIVERS_TOKEN}


@pytest.mark.long
@pytest.mark.timeout(120)
async def test_no_secret_is_in_what_a_full_life_leaves_behind(tmp_path: Path) -> None:
    hay = Haystack()
    async with Collector() as collector:
        environment = {
            "COGREEL_LOG_LEVEL": "debug",
            "COGREEL_METRICS_LISTEN": "127.0.0.1:0",
            "COGREEL_FETCH_ALLOW": "127.0.0.1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-token={WRONG['a token']}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        async with Tree(tmp_path, devices="simulated", environment=environment) as tree:
            ready = tree.ready
            service = psutil.Process(tree.pid("service")).environ()
            studio = await asyncio.to_thread(cogreeld, tree, "keys", "create", "--tenant", "studio")
            hay.add("cogreeld keys list", await asyncio.to_thread(cogreeld, tree, "keys", "list"))
            secrets = WRONG | {
                "the owner's key": ready["api_key"].partition(":")[2],
                "another key": studio.partition(":")[2],
                "the NATS password": str(urlsplit(ready["nats"]).password),
                "the S3 secret": service["COGREEL_S3_SECRET_KEY"],
            }
            starting = asyncio.create_task(start_with_wrong_credentials(service, hay))
            owner = await tree.caller()
            secrets |= await live(tree, owner, hay)
            secrets |= await hook(tree, owner, hay)
            operator = await asyncio.to_thread(
                cogreeld, tree, "keys", "create", "--tenant", "operators", "--role", "admin"
            )
            secrets |= {"an admin's key": operator.partition(":")[2]} | await administrate(tree, operator, hay)
            hay.add("cogreeld keys revoke", await asyncio.to_thread(cogreeld, tree, "keys", "revoke", studio[:16]))
            keys = {
                "a revoked key": studio,
                "a wrong key": f"{ready['api_key'][:16]}:{WRONG['a wrong key']}",
                "an unknown key": f"{'0' * 16}:{WRONG['a wrong key']}",
                "a malformed key": WRONG["a malformed key"],
            }
            await go_wrong(owner, keys, hay)
            async with (
                text_replica(tree, tmp_path / "replica.txt") as address,
                grpc.aio.insecure_channel(address) as channel,
            ):
                stub = queue_pb2_grpc.QueueServiceStub(channel)
                other = Caller(stub, "default", ready["api_key"], HOSTED_ENDPOINT)
                await go_wrong(other, keys, hay)
                hay.add_command_lines(psutil.Process().children(recursive=True))
                # The store goes while an upload is on its way, and comes back; then a worker and the broker die.
                unlucky = await other.submit(steps=20)
                await other.reaches(unlucky.request_id, RequestState.REQUEST_STATE_RUNNING)
                await tree.kill("s3")
                assert await other.ended(unlucky.request_id) == RequestState.REQUEST_STATE_COMPLETED
                again = await other.submit(steps=20)
                await other.reaches(again.request_id, RequestState.REQUEST_STATE_RUNNING)
                await tree.kill("worker-0")
                await other.ended(again.request_id)
                await tree.kill("nats")
            await starting
            for url in ready["metrics"].values():
                hay.add("metrics", await asyncio.to_thread(fetch, url))
            await hay.add_streams(ready["nats"])
        assert any(name == "x-token" for name, _ in collector.metadata)
        hay.add("spans", str(collector.spans))
    welcome = re.compile(r"^  (API key|export COGREEL).*$", re.MULTILINE)  # what the user is meant to copy
    hay.add("up.txt", welcome.sub("", tree.output.read_text()))
    hay.add("replica.txt", (tmp_path / "replica.txt").read_bytes())
    assert b"store.down" in hay.said["replica.txt"]
    hay.add_files(tree.data_dir / "logs")
    assert {"service.log", "worker-0.log", "nats-server.log", "weed.log", "events", "stream REQ"} <= set(hay.said)
    found = {name: places for name, secret in secrets.items() if (places := hay.holding(secret))}
    assert found.pop("a receiver's token") == ["stream REQ"]  # where the URL must be, to be called
    assert not found


def test_settings_can_be_printed() -> None:
    settings = Settings(nats_url=SecretStr("nats://u:W9-nats@h:4222"), s3_secret_key=SecretStr("W9-s3"))
    for text in (
        repr(settings),
        str(settings),
        repr(settings.broker("test")),
        repr(settings.store()),
        settings.model_dump_json(),
    ):
        assert "W9" not in text
