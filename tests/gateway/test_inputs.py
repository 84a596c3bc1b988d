"""Inputs over HTTP: what is taken, and how each rule that is broken is named."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cogreel.v1 import queue_pb2
from cogreel.v1.queue_pb2 import RequestStatus

from gateway.settings import GatewaySettings
from tests.deployment import Deployment
from tests.gateway.door import Door, door_of


async def status_of(door: Door, request_id: str) -> RequestStatus:
    """What the service knows of a request."""
    caller = await door.deployment.caller(door.service_port, tenant="any", api_key=door.api_key)
    answer: queue_pb2.GetStatusResponse = await caller.status(request_id)
    return answer.status


@pytest.mark.parametrize(
    ("given", "loc", "kind", "ctx"),
    [
        ({"num_inference_steps": 99}, ["num_inference_steps"], "less_than_equal", {"le": 50}),
        ({"num_inference_steps": 0}, ["num_inference_steps"], "greater_than_equal", {"ge": 1}),
        ({"num_inference_steps": "many"}, ["num_inference_steps"], "int_type", None),
        ({"num_inference_steps": 2.5}, ["num_inference_steps"], "int_type", None),
        ({"use_rife": "perhaps"}, ["use_rife"], "bool_type", None),
        ({"guidance_scale": "much"}, ["guidance_scale"], "float_type", None),
        ({"guidance_scale": 20.5}, ["guidance_scale"], "less_than_equal", {"le": 20}),
        ({"export_fps": 64}, ["export_fps"], "less_than_equal", {"le": 32}),
        ({"seed": -1}, ["seed"], "greater_than_equal", {"ge": 0}),
        ({"prompt": None}, ["prompt"], "missing", None),
        ({"prompt": "  "}, ["prompt"], "value_error", None),
        ({"prompt": ["a"]}, ["prompt"], "string_type", None),
        ({"prompt": "a" * 9000}, ["prompt"], "string_too_long", {"max_length": 8192}),
        ({"video_size": "huge"}, ["video_size"], "value_error", None),
        ({"video_size": {"width": 65, "height": 64}}, ["video_size", "width"], "multiple_of", {"multiple_of": 16}),
        ({"loras": "one"}, ["loras"], "list_type", None),
        ({"loras": [{"scale": 1}]}, ["loras", 0, "path"], "missing", None),
    ],
)
async def test_a_field_that_breaks_a_rule_is_named(
    shared_door: Door, given: dict[str, Any], loc: list[str | int], kind: str, ctx: dict[str, Any] | None
) -> None:
    answer = await shared_door.submit(**given)
    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert (problem["loc"], problem["type"], problem.get("ctx")) == (["body", *loc], kind, ctx)
    assert problem["msg"]


async def test_all_fields_at_fault_are_named_at_once(shared_door: Door) -> None:
    answer = await shared_door.submit(prompt=None, seed="x", loras=4)
    places = [problem["loc"][-1] for problem in answer.json()["detail"]]
    assert sorted(places) == ["loras", "prompt", "seed"]


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'"text"', b'{"prompt": NaN}', b"\xff", b'{"prompt": "\\ud800"}', b"[" * 100_000]
)
async def test_what_is_no_json_object_is_refused(shared_door: Door, content: bytes) -> None:
    answer = await shared_door.http.post(f"/{shared_door.endpoint}", content=content)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body"]


async def test_no_body_at_all_lacks_the_prompt(shared_door: Door) -> None:
    answer = await shared_door.http.post(f"/{shared_door.endpoint}", headers={"content-type": "application/json"})
    assert [problem["loc"] for problem in answer.json()["detail"]] == [["body", "prompt"]]


async def test_unknown_keys_nulls_and_whole_numbers_with_a_fraction_are_taken(shared_door: Door) -> None:
    request_id = await shared_door.submitted(
        enable_safety_checker=True, negative_prompt=None, seed=5.0, export_fps=16.0
    )
    assert (await status_of(shared_door, request_id)).seed == 5


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(shared_door: Door) -> None:
    answer = await shared_door.http.post(f"/{shared_door.endpoint}", content=b" " * (31 * 1024**2 + 1))
    assert answer.status_code == 413
    assert answer.headers["x-fal-request-id"]


async def test_a_body_that_does_not_say_how_large_it_is_is_read_up_to_the_limit(deployment: Deployment) -> None:
    async with door_of(deployment, GatewaySettings(max_body_bytes=1000)) as door:

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b" " * 100

        answer = await door.http.post(f"/{door.endpoint}", content=pieces())
        assert (answer.status_code, "1000 bytes" in answer.json()["detail"]) == (413, True)
        assert (await door.submit()).status_code == 200


async def test_headers_and_query_become_options_of_the_request(shared_door: Door) -> None:
    headers = {
        "x-fal-queue-priority": "low",
        "x-fal-request-timeout": "30.0",
        "x-fal-no-retry": "1",
        "x-fal-runner-hint": "anywhere",
        "x-fal-object-lifecycle-preference": json.dumps({"expiration_duration_seconds": 600}),
        "x-fal-store-io": "0",
    }
    status = await status_of(shared_door, await shared_door.submitted(headers=headers))
    assert status.priority == queue_pb2.PRIORITY_LOW
    assert status.max_attempts == 1


@pytest.mark.parametrize(
    ("headers", "query", "loc"),
    [
        ({"x-fal-queue-priority": "urgent"}, "", ["header", "x-fal-queue-priority"]),
        ({"x-fal-request-timeout": "soon"}, "", ["header", "x-fal-request-timeout"]),
        ({"x-fal-request-timeout": "0.2"}, "", ["header", "x-fal-request-timeout"]),
        ({"x-fal-object-lifecycle-preference": "never"}, "", ["header", "x-fal-object-lifecycle-preference"]),
        ({}, "?fal_max_queue_length=few", ["query", "fal_max_queue_length"]),
        ({}, "?fal_webhook=ftp://host/path", ["query", "fal_webhook"]),
        ({"idempotency-key": "k" * 300}, "", ["header", "idempotency-key"]),
    ],
)
async def test_an_option_that_breaks_a_rule_is_named(
    shared_door: Door, headers: dict[str, str], query: str, loc: list[str]
) -> None:
    answer = await shared_door.submit(headers=headers, query=query)
    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["detail"]] == [loc]


async def test_a_submission_is_refused_while_more_requests_wait_than_it_allows(door: Door) -> None:
    await door.submitted(query="?fal_max_queue_length=0")
    refused = await door.submit(query="?fal_max_queue_length=0")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    assert (await door.submit(query="?fal_max_queue_length=1")).status_code == 200


async def test_a_request_that_does_not_start_in_time_says_that_it_was_the_callers_limit(shared_door: Door) -> None:
    request_id = await shared_door.submitted(headers={"x-fal-request-timeout": "1"})
    assert (await shared_door.reaches(request_id, "COMPLETED"))["error_type"] == "request_timeout"
    result = await shared_door.result(request_id)
    assert result.status_code == 504
    assert result.headers["x-fal-request-timeout-type"] == "user"
    assert result.json()["error_type"] == result.headers["x-fal-error-type"] == "request_timeout"
