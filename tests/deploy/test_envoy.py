"""Browsers and REST by Envoy: what callers get through it, from a real service."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cogreel import AsyncCogReel
from cogreel.v1 import queue_pb2
from cogreel.v1.queue_pb2 import GetStatusRequest, RequestState, WatchStatusRequest, WatchStatusResponse
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from host.engines import EmbeddedS3
from jobs.pauses import pause, resume
from scripts.envoy import DESCRIPTORS
from tests.brokers import NatsServers
from tests.deploy.envoy import PAGE, Front, front_of
from tests.deployment import Deployment, eventually, fetch, store_in

GRPC_WEB = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
NO_SUCH_REQUEST = "00000000-0000-4000-8000-000000000000"
OF_THE_TRAILER = 0x80  # in the first byte of a frame


@pytest_asyncio.fixture(scope="module")
async def front(nats: NatsServers, s3: EmbeddedS3, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    """Envoy before a service with a worker, for all tests of this module."""
    async with store_in(s3) as store, Deployment(nats.settings(), store) as deployment:
        port = await deployment.service(checkpoint_s=1.0)
        await deployment.worker()
        async with front_of(deployment, tmp_path_factory.mktemp("envoy"), port) as running:
            yield running
        for key in await store.list_keys(""):
            await store.remove(key)


async def test_a_video_is_made_over_rest(front: Front) -> None:
    request_id = await front.submit(idempotency_key="by REST")
    events = [json.loads(line) async for line in lines(front, f"/v1/requests/{request_id}/events")]
    states = [event["state"]["state"] for event in events if "state" in event]
    assert states == ["REQUEST_STATE_QUEUED", "REQUEST_STATE_RUNNING", "REQUEST_STATE_COMPLETED"]
    later = [line async for line in lines(front, f"/v1/requests/{request_id}/events", cursor=events[-2]["cursor"])]
    assert [json.loads(line) for line in later] == events[-1:]
    status = (await front.get(f"/v1/requests/{request_id}", with_logs="true")).json()
    assert status["status"]["state"] == "REQUEST_STATE_COMPLETED"
    assert status["logs"]
    video = (await front.get(f"/v1/requests/{request_id}/result")).json()["video"]["video"]
    assert len(fetch(video["url"])) == int(video["file_size"])
    listed = (await front.get("/v1/requests", page_size="1", states="REQUEST_STATE_COMPLETED")).json()
    assert [found["request_id"] for found in listed["requests"]] == [request_id]


async def lines(front: Front, path: str, **query: str) -> AsyncIterator[str]:
    """The lines of an answer, as they come."""
    async with front.http.stream("GET", path, params=query, headers=front.key) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line:
                yield line


async def test_what_happens_is_told_over_rest_when_it_happens(front: Front) -> None:
    await pause(front.deployment.broker, front.deployment.endpoint)
    request_id = await front.submit()
    seen: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        async for line in lines(front, f"/v1/requests/{request_id}/events"):
            if not seen:  # while nothing else can happen
                assert (await front.post(f"/v1/requests/{request_id}:cancel", None)).status_code == 200
            seen.append(json.loads(line))
    await resume(front.deployment.broker, front.deployment.endpoint)
    states = [event["state"]["state"] for event in seen if "state" in event]
    assert states == ["REQUEST_STATE_QUEUED", "REQUEST_STATE_CANCELLED"]


async def test_uploads_endpoints_and_webhook_keys_are_there_over_rest(front: Front) -> None:
    asked = {"content_type": "image/png", "size": 8, "file_name": "a.png"}
    upload = (await front.post("/v1/uploads", asked)).json()
    put = await front.http.put(upload["upload_url"], content=b"\x89PNG\r\n\x1a\n", headers=upload["headers"])
    assert put.status_code == 200
    endpoints = (await front.get("/v1/endpoints")).json()["endpoints"]
    assert [endpoint["endpoint"] for endpoint in endpoints] == [front.deployment.endpoint]
    keys = await front.http.get("/v1/webhook-keys")
    assert json.loads(keys.json()["jwks"])["keys"]


@dataclass(frozen=True)
class Refusal:
    """A call that is refused, with the HTTP code and, where the service decides it, the reason."""

    path: str
    code: int
    reason: str = ""
    body: dict[str, Any] | str | None = None


REFUSALS = {
    "an invalid field": Refusal("/v1/requests", 400, "INVALID_INPUT", {"text_to_video": {"prompt": " "}}),
    "a long body": Refusal("/v1/requests", 400, "INVALID_INPUT", {"text_to_video": {"prompt": "x" * (8 << 20)}}),
    "no JSON": Refusal("/v1/requests", 400, "", "{"),
    "an unknown endpoint": Refusal("/v1/requests", 404, "ENDPOINT_NOT_FOUND", {"endpoint": "no/such"}),
    "an unknown request": Refusal(f"/v1/requests/{NO_SUCH_REQUEST}", 404, "REQUEST_NOT_FOUND"),
    "no request's id": Refusal("/v1/requests/17", 400, "INVALID_INPUT"),
    "an unknown request's events": Refusal(f"/v1/requests/{NO_SUCH_REQUEST}/events", 404, "REQUEST_NOT_FOUND"),
    "a misspelt query": Refusal("/v1/requests?page_sise=1", 400),
    "an unknown path": Refusal("/v1/videos", 404),
    "administration": Refusal("/cogreel.v1.AdminService/ListWorkers", 404, "", {}),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
async def test_what_is_refused_over_rest_says_so_by_its_code_and_reason(front: Front, refusal: Refusal) -> None:
    body, method = refusal.body, "GET" if refusal.body is None else "POST"
    if isinstance(body, dict):
        body = json.dumps(front.submission() | body)
    headers = front.key | {"content-type": "application/json"}
    answer = await front.http.request(method, refusal.path, content=body, headers=headers)
    assert answer.status_code == refusal.code, answer.text
    if refusal.reason:
        error = answer.json()
        assert refusal.reason in [detail.get("reason") for detail in error["details"]]
        assert error["message"]


async def test_what_depends_on_the_state_is_refused_over_rest(front: Front) -> None:
    assert (await front.http.get("/v1/requests")).status_code == 401
    await pause(front.deployment.broker, front.deployment.endpoint)
    request_id = await front.submit(idempotency_key="once")
    unfinished = await front.get(f"/v1/requests/{request_id}/result")
    assert (unfinished.status_code, unfinished.json()["details"][0]["reason"]) == (400, "REQUEST_NOT_FINISHED")
    conflict = await front.post("/v1/requests", front.submission("moths", idempotency_key="once"))
    assert (conflict.status_code, conflict.json()["details"][0]["reason"]) == (409, "IDEMPOTENCY_CONFLICT")
    violations = await front.post("/v1/requests", front.submission(" "))
    fields = [violation["field"] for violation in violations.json()["details"][1]["field_violations"]]
    assert fields == ["text_to_video.prompt"]
    await resume(front.deployment.broker, front.deployment.endpoint)
    assert await front.caller.ended(request_id) == RequestState.REQUEST_STATE_COMPLETED


def framed(message: queue_pb2.GetStatusRequest | WatchStatusRequest) -> bytes:
    """A message as gRPC and gRPC-Web send it."""
    content = message.SerializeToString()
    return struct.pack(">BI", 0, len(content)) + content


def unframed(content: bytes) -> tuple[list[bytes], dict[str, str]]:
    """The messages of a gRPC-Web answer, and its trailers."""
    messages, trailers = [], {}
    while content:
        flags, length = struct.unpack(">BI", content[:5])
        frame, content = content[5 : 5 + length], content[5 + length :]
        if flags & OF_THE_TRAILER:
            trailers = dict(line.split(":", 1) for line in frame.decode().strip().split("\r\n"))
        else:
            messages.append(frame)
    return messages, trailers


async def test_a_page_watches_a_request_by_grpc_web(front: Front) -> None:
    await pause(front.deployment.broker, front.deployment.endpoint)
    question = framed(WatchStatusRequest(request_id=await front.submit()))
    path = "/cogreel.v1.QueueService/WatchStatus"
    headers = front.key | GRPC_WEB | {"origin": PAGE}
    content = b""
    async with front.http.stream("POST", path, content=question, headers=headers) as answer:
        async for part in answer.aiter_bytes():
            if not content:  # the first event comes while nothing else can happen
                await resume(front.deployment.broker, front.deployment.endpoint)
            content += part
    messages, trailers = unframed(content)
    events = [WatchStatusResponse.FromString(message) for message in messages]
    assert events[-1].state.state == RequestState.REQUEST_STATE_COMPLETED
    assert trailers["grpc-status"].strip() == "0"
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "grpc-status" in answer.headers["access-control-expose-headers"]
    as_text = {"content-type": "application/grpc-web-text+proto", "accept": "application/grpc-web-text+proto"}
    encoded = await front.http.post(path, content=base64.b64encode(question), headers=headers | as_text)
    first, _ = unframed(b64decoded_parts(encoded.text))
    assert WatchStatusResponse.FromString(first[0]).state.state == RequestState.REQUEST_STATE_QUEUED


def b64decoded_parts(text: str) -> bytes:
    """Base64 in parts that are each padded, as gRPC-Web sends it in text."""
    return b"".join(base64.b64decode(text[at : at + 4]) for at in range(0, len(text), 4))


async def test_what_is_refused_by_grpc_web_has_the_codes_of_grpc(front: Front) -> None:
    question = framed(GetStatusRequest(request_id=NO_SUCH_REQUEST))
    path = "/cogreel.v1.QueueService/GetStatus"
    answer = await front.http.post(path, content=question, headers=front.key | GRPC_WEB)
    _, trailers = unframed(answer.content)
    assert (answer.headers.get("grpc-status") or trailers["grpc-status"]).strip() == "5"  # NOT_FOUND
    keyless = await front.http.post(path, content=question, headers=GRPC_WEB)
    assert (keyless.headers.get("grpc-status") or unframed(keyless.content)[1]["grpc-status"]).strip() == "16"


@pytest.mark.parametrize(("origin", "allowed"), [(PAGE, PAGE), ("https://elsewhere.example", None)])
async def test_only_pages_of_named_origins_may_call(front: Front, origin: str, allowed: str | None) -> None:
    asking = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-grpc-web",
    }
    for path in ("/cogreel.v1.QueueService/Submit", "/v1/requests"):
        answer = await front.http.options(path, headers=asking)
        assert answer.headers.get("access-control-allow-origin") == allowed, path
    answer = await front.http.get("/v1/endpoints", headers=front.key | {"origin": origin})
    assert answer.headers.get("access-control-allow-origin") == allowed


async def test_grpc_itself_goes_through_the_same_port(front: Front) -> None:
    async with AsyncCogReel(f"127.0.0.1:{front.port}", front.caller.api_key) as client:
        video = await client.subscribe(
            front.deployment.endpoint, prompt="butterflies", num_inference_steps=3, use_rife=False, video_size=(64, 64)
        )
    assert video.video.file_size


async def test_health_follows_the_service(deployment: Deployment, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        async with deployment.service_running() as port:
            front = await stack.enter_async_context(front_of(deployment, tmp_path, port))
        assert await eventually(front.health, lambda code: code != 200) == 503
        assert (await front.get("/v1/endpoints")).status_code == 503


def test_every_call_that_json_can_make_has_a_path() -> None:
    descriptors = FileDescriptorSet.FromString(DESCRIPTORS.read_bytes())
    without = {
        f"{service.name}.{method.name}"
        for file in descriptors.file
        for service in file.service
        for method in service.method
        if not method.options.HasExtension(annotations_pb2.http)
    }
    assert {name for name in without if not name.startswith("AdminService.")} == {"StorageService.Upload"}
