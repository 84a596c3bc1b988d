"""Uploads expire when nobody uses them, and not before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from cogreel.v1.queue_pb2 import RequestState, SubmitRequest
from cogreel.v1.video_pb2 import File

from files import upload_key
from files.multipart import MultipartUploads
from jobs.broker import Broker
from jobs.view import LiveView
from service.pins import Pins
from service.upload_rules import UploadSettings
from service.upload_sweeper import UploadSweeper, UploadSweeperSettings
from tests.deployment import Caller, Deployment, eventually
from tests.errors import refusal_of, refused
from tests.media import picture
from tests.service.test_file_inputs import submit, with_image
from tests.service.test_sweeper import code_of_status
from tests.service.uploads import Multipart, upload

NOW = UploadSweeperSettings(lifetime_s=0.0, margin_s=0.0)


@asynccontextmanager
async def sweeper(deployment: Deployment, settings: UploadSweeperSettings = NOW) -> AsyncIterator[UploadSweeper]:
    """A replica that sweeps when it is told to."""
    async with Broker(deployment.settings) as broker:
        view = LiveView(broker)
        pins = Pins(view)
        async with view:
            yield UploadSweeper(settings, broker, view, deployment.store, pins)


async def keys(deployment: Deployment) -> list[str]:
    return await deployment.store.list_keys("uploads/")


async def swept(upload_sweeper: UploadSweeper, deployment: Deployment, left: int) -> None:
    """Sweep until so many files are left: the store keeps times in whole seconds."""

    async def sweep() -> int:
        await upload_sweeper.sweep()
        return len(await keys(deployment))

    assert await eventually(sweep, lambda count: count <= left) == left


async def outcome(caller: Caller, submission: SubmitRequest) -> str:
    """What becomes of a submission: accepted, or the reason why not."""
    try:
        await submit(caller, submission)
    except grpc.aio.AioRpcError as error:
        return refusal_of(error).reason
    return "accepted"


async def files_caller(deployment: Deployment, **service: float) -> Caller:
    deployment.serve_files()
    return await deployment.caller(await deployment.service(**service))  # type: ignore[arg-type]


async def test_a_file_that_no_request_names_expires(deployment: Deployment) -> None:
    caller = await files_caller(deployment)
    used, unused = await upload(caller, picture(), name="used.png"), await upload(caller, picture(), name="unused.png")
    await submit(caller, with_image(caller, File(url=used.url)))
    await submit(caller, with_image(caller, File(file_data=picture((9, 9, 9)))))
    async with sweeper(deployment) as upload_sweeper:
        await swept(upload_sweeper, deployment, left=2)
        assert not any(key.endswith("unused.png") for key in await keys(deployment))
        error = await refused(submit(caller, with_image(caller, File(url=unused.url))))
        assert error.reason == "FILE_NOT_FOUND"


async def test_a_file_is_kept_until_the_request_that_names_it_is_erased(deployment: Deployment) -> None:
    caller = await files_caller(deployment, retention_s=1)
    file = await upload(caller, picture())
    request_id = (await submit(caller, with_image(caller, File(url=file.url)))).request_id
    async with sweeper(deployment) as upload_sweeper:
        await deployment.worker()
        assert await caller.ended(request_id) == RequestState.REQUEST_STATE_COMPLETED

        async def erased() -> bool:
            await upload_sweeper.sweep()
            return await code_of_status(caller, request_id) == grpc.StatusCode.NOT_FOUND

        # Requests are known to this replica until their retention is over, so it is the other one that erases.
        await eventually(erased, bool)
        assert len(await keys(deployment)) == 1
    async with sweeper(deployment) as upload_sweeper:
        await swept(upload_sweeper, deployment, left=0)


async def test_a_young_file_stays_and_so_does_one_that_was_free_too_shortly(deployment: Deployment) -> None:
    caller = await files_caller(deployment)
    await upload(caller, picture())
    for settings in (
        UploadSweeperSettings(lifetime_s=3600, margin_s=0.0),
        UploadSweeperSettings(lifetime_s=-7200, margin_s=3600),
    ):
        async with sweeper(deployment, settings) as upload_sweeper:
            assert await upload_sweeper.sweep() == 0
            assert await upload_sweeper.sweep() == 0
    assert len(await keys(deployment)) == 1


async def test_an_expired_file_is_not_found_but_for_a_request_that_has_it(deployment: Deployment) -> None:
    deployment.serve_files()
    patient = await deployment.caller(await deployment.service())
    strict_port = await deployment.service(uploads=UploadSettings(lifetime_s=0.001))
    strict = await deployment.caller(strict_port, tenant=patient.tenant)
    file = await upload(patient, picture())

    again = with_image(strict, File(url=file.url))
    await eventually(lambda: outcome(strict, again), lambda told: told == "FILE_NOT_FOUND")
    await submit(patient, with_image(patient, File(url=file.url)))
    await eventually(lambda: outcome(strict, again), lambda told: told == "accepted")


async def test_submissions_and_sweeps_that_race_lose_no_file(deployment: Deployment) -> None:
    """A submission is refused, or its file stays, although files are due at once and sweeps never pause."""
    deployment.serve_files()
    lifetime_s = 2.0  # the store keeps times in whole seconds
    caller = await deployment.caller(await deployment.service(uploads=UploadSettings(lifetime_s=lifetime_s)))
    settings = UploadSweeperSettings(lifetime_s=lifetime_s, margin_s=1.0)
    async with sweeper(deployment, settings) as upload_sweeper:

        async def sweep() -> None:
            while True:
                await upload_sweeper.sweep()

        async def submit_until_it_is_due(number: int) -> str | None:
            """Submit once, at a time of its own around the end of the file's life; the key if it was accepted."""
            file = await upload(caller, picture((number, 0, 0)), name=f"{number}.png")
            await asyncio.sleep(0.2 * number)
            told = await outcome(caller, with_image(caller, File(url=file.url)))
            assert told in {"accepted", "FILE_NOT_FOUND"}
            return f"{number}.png" if told == "accepted" else None

        sweeping = asyncio.create_task(sweep())
        try:
            told = await asyncio.gather(*(submit_until_it_is_due(number) for number in range(16)))
            accepted = {name for name in told if name is not None}
            left = await eventually(lambda: keys(deployment), lambda found: len(found) <= len(accepted))
        finally:
            sweeping.cancel()
    assert 0 < len(accepted) < 16
    assert {key.rpartition("/")[2] for key in left} == accepted


async def test_an_upload_in_parts_that_nobody_finished_is_aborted(deployment: Deployment) -> None:
    caller = await files_caller(deployment)
    begun = await Multipart.begin(caller, picture(), "image/png")
    await begun.put(1)
    multipart = MultipartUploads(deployment.store.bucket)
    async with sweeper(deployment, UploadSweeperSettings(lifetime_s=3600)) as upload_sweeper:
        await upload_sweeper.sweep()
    assert len(await multipart.unfinished("uploads/")) == 1
    async with sweeper(deployment) as upload_sweeper:
        await eventually(upload_sweeper.sweep, lambda removed: removed == 1)
    assert await multipart.unfinished("uploads/") == []
    assert (await refused(begun.presign(1))).reason == "FILE_NOT_FOUND"


async def test_uploads_in_a_bucket_of_another_queue_are_left_alone(deployment: Deployment) -> None:
    await deployment.store.put_bytes(upload_key("nobody", "1", "a.png"), b"x", content_type="image/png")
    await deployment.store.put_bytes("queue", b"1234567890", content_type="text/plain")
    async with sweeper(deployment, UploadSweeperSettings(lifetime_s=-10.0, margin_s=0.0)) as upload_sweeper:
        assert await upload_sweeper.sweep() == 0
    assert len(await keys(deployment)) == 1
