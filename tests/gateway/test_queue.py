"""The queue over HTTP: what the published clients rely on, in statuses, keys and headers."""

from __future__ import annotations

import uuid

import pytest

from tests.deployment import fetch
from tests.gateway.door import QUICK, Door


async def test_a_submission_names_the_request_and_where_it_is_found(door: Door) -> None:
    response = await door.submit()
    assert response.status_code == 200
    body = response.json()
    request_id = body["request_id"]
    assert str(uuid.UUID(request_id)) == request_id == response.headers["x-fal-request-id"]
    request = f"{door.url}/{door.endpoint}/requests/{request_id}"
    assert body == {
        "status": "IN_QUEUE",
        "queue_position": 0,
        "request_id": request_id,
        "response_url": request,
        "status_url": f"{request}/status",
        "cancel_url": f"{request}/cancel",
        "gateway_request_id": request_id,
    }


async def test_a_request_goes_from_the_queue_to_its_video(door: Door) -> None:
    first, second = await door.submitted(), await door.submitted(seed=7)
    waiting = await door.status(second)
    assert waiting.status_code == 202
    assert (waiting.json()["status"], waiting.json()["queue_position"]) == ("IN_QUEUE", 1)
    unfinished = await door.result(second)
    assert unfinished.status_code == 400
    assert unfinished.json()["detail"] == "Request is still in progress"

    await door.deployment.worker(step_s=0.05)
    running = await door.reaches(first, "IN_PROGRESS")
    assert running["logs"] is None
    done = await door.reaches(second, "COMPLETED", "?logs=1")
    assert done["logs"]
    assert done["logs"][0].keys() == {"message", "timestamp", "level", "source"}
    assert done["metrics"]["inference_time"] > 0
    assert "error" not in done
    assert (await door.status(second)).status_code == 200

    result = await door.result(second)
    assert result.status_code == 200
    assert result.headers["x-fal-request-id"] == second
    output = result.json()
    assert (output["seed"], output["prompt"]) == (7, "butterflies")
    assert output["timings"]["inference"] > 0
    video = output["video"]
    assert video["content_type"] == "video/mp4"
    assert len(fetch(video["url"])) == video["file_size"]
    assert (await door.http.get(door.path(second, "/response"))).json()["seed"] == 7


async def test_a_running_request_says_how_far_it_is(door: Door) -> None:
    await door.deployment.worker(step_s=0.1)
    request_id = await door.submitted(num_inference_steps=50)
    progress = (await door.reaches(request_id, "IN_PROGRESS"))["progress"]
    assert progress is None or {"stage", "step", "total", "eta"} == progress.keys()
    assert (await door.cancel(request_id)).status_code == 202


async def test_a_cancelled_request_is_over_for_whoever_polls_it(door: Door) -> None:
    request_id = await door.submitted()
    cancelled = await door.cancel(request_id)
    assert (cancelled.status_code, cancelled.json()) == (202, {"status": "CANCELLATION_REQUESTED"})
    done = (await door.status(request_id)).json()
    assert (done["status"], done["error_type"]) == ("COMPLETED", "client_cancelled")
    result = await door.result(request_id)
    assert result.status_code == 499
    assert result.headers["x-fal-error-type"] == result.json()["error_type"] == "client_cancelled"
    assert (await door.cancel(request_id)).status_code == 202


async def test_a_finished_request_cannot_be_cancelled(door: Door) -> None:
    await door.deployment.worker()
    request_id = await door.submitted()
    await door.reaches(request_id, "COMPLETED")
    refused = await door.cancel(request_id)
    assert (refused.status_code, refused.json()["status"]) == (400, "ALREADY_COMPLETED")


@pytest.mark.parametrize("request_id", ["00000000-0000-4000-8000-000000000000", "no-uuid"])
async def test_a_request_that_is_not_there_is_not_found_on_any_route(shared_door: Door, request_id: str) -> None:
    for answer in (
        await shared_door.status(request_id),
        await shared_door.result(request_id),
        await shared_door.cancel(request_id),
        await shared_door.http.get(shared_door.path(request_id, "/status/stream")),
    ):
        assert (answer.status_code, answer.json()["status"]) == (404, "NOT_FOUND")


async def test_a_request_is_found_under_its_app_and_its_endpoint_and_under_no_other(shared_door: Door) -> None:
    endpoint = f"{shared_door.endpoint}/image"
    submitted = await shared_door.submit(endpoint=endpoint, image_url="https://images.example/a.png")
    request_id = submitted.json()["request_id"]
    for app in (shared_door.endpoint, endpoint):
        assert (await shared_door.http.get(f"/{app}/requests/{request_id}/status")).status_code == 202
        assert (await shared_door.http.get(f"/{app}/requests/{request_id}")).status_code == 400
    for other in (f"{shared_door.endpoint}/video", "fal-ai/another", shared_door.endpoint.partition("/")[0]):
        request = f"/{other}/requests/{request_id}"
        for answer in (
            await shared_door.http.get(f"{request}/status"),
            await shared_door.http.get(f"{request}/status/stream"),
            await shared_door.http.get(request),
            await shared_door.http.put(f"{request}/cancel"),
        ):
            assert (answer.status_code, answer.json()["status"]) == (404, "NOT_FOUND")
            assert answer.headers["x-fal-request-id"] == request_id
    assert (await shared_door.status(request_id)).json()["status"] == "IN_QUEUE"


async def test_another_tenants_request_is_not_found(shared_door: Door) -> None:
    request_id = await shared_door.submitted()
    async with shared_door.stranger() as stranger:
        assert (await stranger.status(request_id)).status_code == 404


@pytest.mark.parametrize(
    "authorization", ["", "Basic abc", "Key", "Key nonsense", f"Key {'0' * 16}:{'A' * 43}", "Key ü"]
)
async def test_a_call_without_a_good_key_is_refused(shared_door: Door, authorization: str) -> None:
    headers = [(b"authorization", authorization.encode())]
    for answer in (
        await shared_door.http.post(f"/{shared_door.endpoint}", json=QUICK, headers=headers),
        await shared_door.http.get(shared_door.path(str(uuid.uuid4()), "/status"), headers=headers),
    ):
        assert answer.status_code == 401
        assert isinstance(answer.json()["detail"], str)


async def test_the_key_may_be_a_bearer_token_too(shared_door: Door) -> None:
    headers = {"authorization": f"Bearer {shared_door.api_key}"}
    assert (await shared_door.http.post(f"/{shared_door.endpoint}", json=QUICK, headers=headers)).status_code == 200


async def test_an_endpoint_that_is_not_served_is_named(shared_door: Door) -> None:
    answer = await shared_door.submit(endpoint="fal-ai/another")
    assert answer.status_code == 404
    assert "fal-ai/another" in answer.json()["detail"]
    assert shared_door.endpoint in answer.json()["detail"]


async def test_a_caller_may_name_its_call(shared_door: Door) -> None:
    named = await shared_door.http.get("/health", headers={"x-request-id": "mine-1"})
    assert named.headers["x-request-id"] == named.headers["x-fal-request-id"] == "mine-1"
    drawn = await shared_door.http.get("/health", headers={"x-request-id": "two words"})
    assert str(uuid.UUID(drawn.headers["x-request-id"])) == drawn.headers["x-request-id"]


@pytest.mark.parametrize(
    ("call", "headers", "content", "status"),
    [
        ("GET /health", {}, b"", 200),
        ("GET /", {}, b"", 200),
        ("GET /playground/main.js", {}, b"", 200),
        ("GET /.well-known/jwks.json", {}, b"", 200),
        ("POST /api/fal/proxy", {}, b"", 400),
        ("POST /fal-ai/any", {"authorization": ""}, b"", 401),
        ("PUT /storage/upload/forged", {}, b"a", 403),
        ("GET /playground/nothing.js", {}, b"", 404),
        ("POST /fal-ai/another", {}, b"{}", 404),
        ("DELETE /no/such", {}, b"", 405),
        ("POST /api/fal/proxy", {"x-fal-target-url": "https://example.com/"}, b"", 412),
        ("POST /ENDPOINT", {}, b"{", 422),
        ("POST /run/ENDPOINT", {}, b"{}", 422),
    ],
)
async def test_every_answer_has_ids_and_every_error_says_what_is_wrong(
    shared_door: Door, call: str, headers: dict[str, str], content: bytes, status: int
) -> None:
    method, path = call.replace("ENDPOINT", shared_door.endpoint).split()
    answer = await shared_door.http.request(method, path, headers=headers, content=content)
    assert answer.status_code == status
    assert answer.headers["x-fal-request-id"] == answer.headers["x-request-id"]
    assert status < 400 or answer.json()["detail"]
