"""LoRAs in submissions: how one is named, whose it is, and that the model gets what was named."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from cogreel.v1.queue_pb2 import RequestState, SubmitRequest

from files.fetch_guard import AllowedPlace, FetchSettings
from inference.model import Clip, Generation, Progress
from inference.simulated import SimulatedModel
from jobs.publisher import leader_state
from jobs.subjects import RequestKey
from tests.deployment import Caller, Deployment
from tests.errors import refused
from tests.hostile_server import HostileServer, answer
from tests.loras import lora
from tests.media import picture
from tests.service.uploads import upload

SAFETENSORS = "application/x-safetensors"
ON_HUB = "https://huggingface.co/owner/name/resolve/main/pytorch_lora_weights.safetensors"


class Adaptable(SimulatedModel):
    """A simulated model that remembers the LoRAs that it was given."""

    def __init__(self) -> None:
        super().__init__(step_s=0, frames=9)
        self.given: list[tuple[bytes, float]] = []

    def generate(self, generation: Generation, progress: Progress) -> Clip:
        if generation.lora is not None:
            self.given.append((generation.lora.path.read_bytes(), round(generation.lora.scale, 3)))
        return super().generate(dataclasses.replace(generation, lora=None), progress)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[HostileServer]:
    """A server of somebody else, which serves `/a.safetensors`."""
    async with HostileServer() as running:
        running.answers["/a.safetensors"] = answer(lora(seed=2))
        yield running


@pytest_asyncio.fixture
async def caller(deployment: Deployment, server: HostileServer) -> Caller:
    """Someone whose endpoint takes a LoRA, from that server too."""
    allowed = AllowedPlace.parse(f"127.0.0.1:{server.port}")
    deployment.fetching = FetchSettings(allow=(allowed,), total_s=5, idle_s=1)
    deployment.serve_files()
    for card in deployment.cards.values():
        card.max_loras = 1
    return await deployment.caller(await deployment.service())


def with_lora(
    caller: Caller, path: str, scale: float | None = None, idempotency_key: str | None = None
) -> SubmitRequest:
    submission = caller.submission()
    if idempotency_key is not None:
        submission.idempotency_key = idempotency_key
    submission.text_to_video.num_inference_steps = 1
    submission.text_to_video.loras.add(path=path, scale=scale)
    return submission


async def recorded_path(deployment: Deployment, caller: Caller, submission: SubmitRequest) -> str:
    submitted = await caller.stub.Submit(submission, metadata=caller.metadata)
    found = await leader_state(deployment.broker, RequestKey(caller.tenant, submitted.request_id))
    assert found is not None
    return found[1].submission.text_to_video.loras[0].path


async def test_the_model_gets_the_lora_that_was_uploaded_or_is_on_another_server(
    caller: Caller, deployment: Deployment, server: HostileServer
) -> None:
    model = Adaptable()
    await deployment.worker(model=model)
    uploaded = await upload(caller, lora(seed=1), SAFETENSORS, "style.safetensors")
    for path, scale in ((uploaded.url, 0.5), (server.url("/a.safetensors"), None)):
        submitted = await caller.stub.Submit(with_lora(caller, path, scale), metadata=caller.metadata)
        assert await caller.ended(submitted.request_id) == RequestState.REQUEST_STATE_COMPLETED
    assert model.given == [(lora(seed=1), 0.5), (lora(seed=2), 1.0)]


async def used(caller: Caller, path: str) -> bool:
    """Have a LoRA used; whether it was the one that the worker had kept."""
    submitted = await caller.stub.Submit(with_lora(caller, path), metadata=caller.metadata)
    events = [event async for event in caller.watch(submitted.request_id)]
    assert events[-1].state.state == RequestState.REQUEST_STATE_COMPLETED
    return any("the one that was used before" in event.log.message for event in events)


async def test_a_lora_that_is_named_again_is_fetched_again_only_if_it_has_changed(
    caller: Caller, deployment: Deployment, server: HostileServer
) -> None:
    model, url = Adaptable(), server.url("/a.safetensors")
    await deployment.worker(model=model)
    server.answers["/a.safetensors"] = answer(lora(seed=2), 'ETag: "first"')
    assert not await used(caller, url)
    server.answers["/a.safetensors"] = answer(status="304 Not Modified")
    assert await used(caller, url)
    assert 'If-None-Match: "first"' in server.heads[-1]
    server.answers["/a.safetensors"] = answer(lora(seed=4), 'ETag: "second"')
    assert not await used(caller, url)
    assert [content for content, _ in model.given] == [lora(seed=2), lora(seed=2), lora(seed=4)]


async def test_an_upload_that_is_used_again_is_not_fetched_again(caller: Caller, deployment: Deployment) -> None:
    model = Adaptable()
    await deployment.worker(model=model)
    uploaded = await upload(caller, lora(seed=1), SAFETENSORS, "style.safetensors")
    assert [await used(caller, uploaded.url) for _ in range(2)] == [False, True]
    assert [content for content, _ in model.given] == [lora(seed=1), lora(seed=1)]


async def test_the_same_upload_is_the_same_request_however_its_url_is_signed(
    caller: Caller, deployment: Deployment
) -> None:
    uploaded = await upload(caller, lora(), SAFETENSORS, "style.safetensors")
    path = await recorded_path(deployment, caller, with_lora(caller, uploaded.url, idempotency_key="k"))
    assert path.startswith("object:uploads/")
    resigned = deployment.store.presign_get(path.removeprefix("object:"), 30)
    again = await caller.stub.Submit(with_lora(caller, resigned, idempotency_key="k"), metadata=caller.metadata)
    assert again.existing


async def test_the_model_gets_the_lora_of_a_hub_of_ones_own(deployment: Deployment, server: HostileServer) -> None:
    server.answers["/owner/name/resolve/main/pytorch_lora_weights.safetensors"] = answer(lora(seed=3))
    allowed = AllowedPlace.parse(f"127.0.0.1:{server.port}")
    deployment.fetching = FetchSettings(allow=(allowed,), hub_url=server.url("/"))
    deployment.card.max_loras = 1
    caller = await deployment.caller(await deployment.service())
    model = Adaptable()
    await deployment.worker(model=model)
    submitted = await caller.stub.Submit(with_lora(caller, "owner/name"), metadata=caller.metadata)
    assert await caller.ended(submitted.request_id) == RequestState.REQUEST_STATE_COMPLETED
    assert model.given == [(lora(seed=3), 1.0)]


@pytest.mark.parametrize(
    ("hub_id", "url"),
    [
        ("owner/name", ON_HUB),
        (
            "owner/na.me_2/folder/x-1.safetensors",
            "https://huggingface.co/owner/na.me_2/resolve/main/folder/x-1.safetensors",
        ),
    ],
)
async def test_a_hub_id_stands_for_a_file_on_the_hub(
    caller: Caller, deployment: Deployment, hub_id: str, url: str
) -> None:
    assert await recorded_path(deployment, caller, with_lora(caller, hub_id)) == url


@pytest.mark.parametrize(
    "path", ["style", "a/b/c.bin", "../a/b", "owner/name/../../x.safetensors", "/etc/passwd", "a b/c"]
)
async def test_what_names_nothing_is_refused_with_what_would(caller: Caller, path: str) -> None:
    error = await refused(caller.stub.Submit(with_lora(caller, path), metadata=caller.metadata))
    assert error.reason == "INVALID_INPUT"
    assert "must be a hub id such as owner/name" in error.violations["text_to_video.loras[0].path"]


async def test_a_picture_is_no_lora(caller: Caller) -> None:
    uploaded = await upload(caller, picture())
    error = await refused(caller.stub.Submit(with_lora(caller, uploaded.url), metadata=caller.metadata))
    assert "must be weights in safetensors format" in error.violations["text_to_video.loras[0]"]


async def test_the_lora_of_another_tenant_is_not_found(caller: Caller, deployment: Deployment) -> None:
    theirs = await deployment.caller(await deployment.service())
    uploaded = await upload(theirs, lora(), SAFETENSORS, "style.safetensors")
    error = await refused(caller.stub.Submit(with_lora(caller, uploaded.url), metadata=caller.metadata))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "FILE_NOT_FOUND")


async def test_a_lora_that_the_server_does_not_have_fails_the_request_by_its_field(
    caller: Caller, deployment: Deployment, server: HostileServer
) -> None:
    await deployment.worker()
    submission = with_lora(caller, server.url("/none.safetensors"))
    request_id = (await caller.stub.Submit(submission, metadata=caller.metadata)).request_id
    assert await caller.ended(request_id) == RequestState.REQUEST_STATE_FAILED
    error = await refused(caller.result(request_id))
    assert error.metadata["field"] == "text_to_video.loras[0].path"


async def test_where_nothing_is_fetched_a_hub_id_is_not_served(deployment: Deployment) -> None:
    deployment.fetching = FetchSettings("none")
    deployment.card.max_loras = 1
    caller = await deployment.caller(await deployment.service())
    error = await refused(caller.stub.Submit(with_lora(caller, "owner/name"), metadata=caller.metadata))
    assert (error.code, error.reason) == (grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED")
    assert "upload the file" in error.violations["text_to_video.loras[0].path"]


async def test_an_endpoint_beside_one_that_takes_loras_refuses_them_by_name(
    caller: Caller, deployment: Deployment
) -> None:
    deployment.card.max_loras = 0
    uploaded = await upload(caller, lora(), SAFETENSORS, "style.safetensors")
    error = await refused(caller.stub.Submit(with_lora(caller, uploaded.url), metadata=caller.metadata))
    assert error.violations["text_to_video.loras"] == "simulated takes no LoRAs"
