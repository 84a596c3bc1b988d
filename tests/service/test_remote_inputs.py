"""Files of other servers as inputs: what Submit refuses at once, and what the worker fetches when the request runs."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import grpc
import numpy as np
import pytest
import pytest_asyncio
from cogreel.v1.queue_pb2 import RequestState, SubmitRequest
from cogreel.v1.video_pb2 import File

from files.fetch_guard import AllowedPlace, FetchSettings
from jobs.publisher import leader_state
from jobs.subjects import RequestKey
from tests.deployment import Caller, Deployment
from tests.errors import refused
from tests.hostile_server import HostileServer, answer, endless, redirect
from tests.media import GREEN, RED, picture, video
from tests.service.test_file_inputs import frames_of, submit, with_image, with_video
from tests.service.uploads import upload

FIELD = "image_to_video.image.url"


@pytest_asyncio.fixture
async def server() -> AsyncIterator[HostileServer]:
    """A server of somebody else, which serves `/a.png`."""
    async with HostileServer() as running:
        running.answers["/a.png"] = answer(picture(RED), "Content-Type: text/plain")
        yield running


@pytest_asyncio.fixture
async def caller(deployment: Deployment, server: HostileServer) -> Caller:
    """Someone who may have files fetched from that server."""
    deployment.fetching = FetchSettings(allow=(AllowedPlace.parse(f"127.0.0.1:{server.port}"),), total_s=5, idle_s=1)
    deployment.serve_files()
    return await deployment.caller(await deployment.service())


def image_at(caller: Caller, url: str, **more: str) -> SubmitRequest:
    return with_image(caller, File(url=url), **more)


async def failed(caller: Caller, submission: SubmitRequest) -> tuple[str, str, str]:
    """Submit what comes to nothing: failure, field and message, none of which shows a query."""
    request_id = (await submit(caller, submission)).request_id
    assert await caller.ended(request_id) == RequestState.REQUEST_STATE_FAILED
    error = await refused(caller.result(request_id))
    lines = [line.message for line in (await caller.status(request_id, with_logs=True)).logs]
    assert "secret" not in f"{error}{lines}"
    return error.metadata["failure"], error.metadata["field"], error.message


async def test_a_video_begins_with_a_picture_of_another_server(
    caller: Caller, deployment: Deployment, server: HostileServer, tmp_path: Path
) -> None:
    await deployment.worker()
    server.answers |= {"/moved": redirect("/a.png"), "/film": answer(video(GREEN))}
    submitted = await submit(caller, image_at(caller, server.url("/moved?secret#part")))
    frames = await frames_of(caller, submitted.request_id, tmp_path)
    assert np.abs(frames[0].astype(int) - RED).mean() < 6
    lines = [line.message for line in (await caller.status(submitted.request_id, with_logs=True)).logs]
    assert f"Fetching {server.url('/moved')}." in lines
    submitted = await submit(caller, with_video(caller, File(url=server.url("/film")), 0.05))
    frames = await frames_of(caller, submitted.request_id, tmp_path)
    assert np.abs(frames[0].astype(int) - GREEN).mean() < 15


async def test_submitting_asks_nothing_of_the_other_server(caller: Caller, server: HostileServer) -> None:
    first = await submit(caller, image_at(caller, server.url("/a.png?v=1"), idempotency_key="k"))
    again = await submit(caller, image_at(caller, server.url("/a.png?v=1#x"), idempotency_key="k"))
    assert (again.request_id, again.existing) == (first.request_id, True)
    other = image_at(caller, server.url("/a.png?v=2"), idempotency_key="k")
    assert (await refused(submit(caller, other))).reason == "IDEMPOTENCY_CONFLICT"
    assert server.heads == []


async def test_the_record_holds_the_url_and_nothing_that_was_said_of_the_file(
    caller: Caller, deployment: Deployment, server: HostileServer
) -> None:
    file = File(url=server.url("/a.png?v=1"), content_type="video/mp4", file_name="../x", file_size=7)
    submitted = await submit(caller, with_image(caller, file))
    found = await leader_state(deployment.broker, RequestKey(caller.tenant, submitted.request_id))
    assert found is not None
    assert found[1].submission.image_to_video.image == File(url=server.url("/a.png?v=1"))


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://169.254.169.254/latest/meta-data?secret", "no address that this installation may fetch from"),
        ("http://127.0.0.1:1/", "no address that this installation may fetch from"),
        ("http://[::ffff:10.0.0.1]/", "no address that this installation may fetch from"),
        ("http://2130706433/?secret", "four decimal numbers"),
        ("http://user:secret@example.org/", "without user name"),
        ("http://example.org\\@127.0.0.1/?secret", "backslashes"),
        ("https:example.org/secret", "of the form"),
        ("http://example.org/" + "a" * 9000, "at most 8192 bytes"),
    ],
)
async def test_what_can_never_be_fetched_is_refused_by_its_field(caller: Caller, url: str, rule: str) -> None:
    error = await refused(submit(caller, image_at(caller, url)))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT")
    assert rule in error.violations[FIELD]
    assert "secret" not in str(error)


async def test_a_name_that_leads_inside_fails_the_request_by_its_field(
    caller: Caller, deployment: Deployment, server: HostileServer
) -> None:
    deployment.fetching = FetchSettings()  # for the worker, which is who resolves names
    await deployment.worker()
    failure, field, message = await failed(caller, image_at(caller, server.url("/a.png?secret", "localhost")))
    assert (failure, field) == ("INVALID_INPUT", FIELD)
    assert f"http://localhost:{server.port}/a.png is at no address" in message
    assert server.heads == []


async def test_a_redirect_into_the_store_fails_the_request(
    caller: Caller, deployment: Deployment, server: HostileServer
) -> None:
    theirs = await deployment.caller(await deployment.service())
    stolen = (await upload(theirs, picture())).url
    server.answers["/a.png"] = redirect(stolen.replace("X-Amz", "secret"))
    deployment.fetching = dataclasses.replace(deployment.fetching, allow=(AllowedPlace.parse("127.0.0.1"),))
    await deployment.worker()
    failure, field, message = await failed(caller, image_at(caller, server.url("/a.png")))
    assert (failure, field) == ("INVALID_INPUT", FIELD)
    assert "own store" in message


async def test_another_spelling_does_not_hide_a_file_of_our_own(caller: Caller, deployment: Deployment) -> None:
    url = (await upload(caller, picture())).url.partition("?")[0]
    host = url.split("/")[2].partition(":")[0]
    error = await refused(submit(caller, image_at(caller, url.replace(host, f"{host}."))))
    assert error.reason == "FILE_NOT_FOUND"


async def test_what_is_no_picture_fails_the_request_by_its_field(
    caller: Caller, deployment: Deployment, server: HostileServer
) -> None:
    await deployment.worker()
    server.answers["/a.png"] = answer(b"<html>", "Content-Type: image/png")
    failure, field, message = await failed(caller, image_at(caller, server.url("/a.png?secret")))
    assert (failure, field) == ("INVALID_INPUT", FIELD)
    assert "but is of no known kind" in message
    server.answers["/a.png"] = answer(picture()[:-30])
    failure, field, message = await failed(caller, image_at(caller, server.url("/a.png?secret")))
    assert (failure, field) == ("INVALID_INPUT", "image_to_video.image")
    assert "the file is damaged" in message


async def test_a_server_that_does_not_deliver_is_tried_as_often_as_attempts_are_allowed(
    caller: Caller, deployment: Deployment, server: HostileServer
) -> None:
    await deployment.worker()
    server.answers["/a.png"] = answer(status="503 Busy")
    failure, field, message = await failed(caller, image_at(caller, server.url("/a.png?secret")))
    assert (failure, field) == ("INPUT_UNAVAILABLE", FIELD)
    assert message.endswith(f"{server.url('/a.png')} answered 503")
    assert len(server.heads) == 3


async def test_a_request_that_is_cancelled_is_fetched_no_further(
    caller: Caller, deployment: Deployment, server: HostileServer
) -> None:
    await deployment.worker()
    slow = partial(endless, beginning=b"HTTP/1.1 200 OK\r\n\r\n" + picture()[:8], chunk=b"x", pause_s=0.01)
    server.answers["/a.png"] = slow
    request_id = (await submit(caller, image_at(caller, server.url("/a.png")))).request_id
    async with asyncio.timeout(10):
        while not server.heads:  # noqa: ASYNC110 - the server sets no event for it
            await asyncio.sleep(0.01)
    await caller.cancel(request_id)
    await asyncio.wait_for(server.left.wait(), 2)
    following = (await caller.submit()).request_id
    assert await caller.ended(following) == RequestState.REQUEST_STATE_COMPLETED


async def test_an_installation_that_fetches_nothing_says_so(deployment: Deployment) -> None:
    deployment.fetching = FetchSettings(sources="none")
    deployment.serve_files()
    caller = await deployment.caller(await deployment.service())
    error = await refused(submit(caller, image_at(caller, "https://example.org/a.png?secret")))
    assert (error.code, error.reason) == (grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED")
    assert "fetches nothing from other servers" in error.violations[FIELD]


async def test_an_uploaded_file_is_used_though_its_url_may_not_be_fetched(
    caller: Caller, deployment: Deployment
) -> None:
    await deployment.worker()
    uploaded = await upload(caller, picture(RED))  # on loopback, where only `server` is allowed
    submitted = await submit(caller, image_at(caller, uploaded.url))
    assert await caller.ended(submitted.request_id) == RequestState.REQUEST_STATE_COMPLETED
