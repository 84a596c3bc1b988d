"""Files as inputs in a whole installation: a worker of one simulated device serves every kind of input."""

from __future__ import annotations

from pathlib import Path

from cogreel.v1.queue_pb2 import RequestState, SubmitRequest
from cogreel.v1.video_pb2 import File

from host.settings import HOSTED_ENDPOINT
from tests.end_to_end.tree import Tree
from tests.errors import refused
from tests.hostile_server import HostileServer, answer
from tests.media import picture, video
from tests.service.uploads import upload


async def test_the_simulated_device_serves_every_kind_of_input_under_the_hosted_names(tree: Tree) -> None:
    caller = await tree.caller()
    text = caller.submission().text_to_video
    image = SubmitRequest(endpoint=f"{HOSTED_ENDPOINT}/image-to-video")
    image.image_to_video.text.CopyFrom(text)
    image.image_to_video.image.CopyFrom(await upload(caller, picture()))
    moving = SubmitRequest()  # the endpoint goes by the kind of input
    moving.video_to_video.text.CopyFrom(text)
    moving.video_to_video.video.CopyFrom(File(file_data=video()))
    for submission in (image, moving, caller.submission()):
        submitted = await caller.stub.Submit(submission, metadata=caller.metadata)
        assert await caller.ended(submitted.request_id) == RequestState.REQUEST_STATE_COMPLETED
    assert (await caller.result(submitted.request_id)).video.model.name == "simulated"


async def test_a_picture_comes_from_a_server_inside_that_the_operator_allows(tmp_path: Path) -> None:
    async with HostileServer() as server, HostileServer() as forbidden:
        server.answers["/a.png"] = forbidden.answers["/a.png"] = answer(picture())
        environment = {
            "COGREEL_FETCH_FROM": "allowed",
            "COGREEL_FETCH_ALLOW": f"pictures.test, 127.0.0.1:{server.port}",
        }
        async with Tree(tmp_path, devices="simulated", environment=environment) as tree:
            caller = await tree.caller()
            submission = SubmitRequest()
            submission.image_to_video.text.CopyFrom(caller.submission().text_to_video)
            submission.image_to_video.image.url = server.url("/a.png")
            submitted = await caller.stub.Submit(submission, metadata=caller.metadata)
            assert await caller.ended(submitted.request_id) == RequestState.REQUEST_STATE_COMPLETED
            submission.image_to_video.image.url = forbidden.url("/a.png")
            error = await refused(caller.stub.Submit(submission, metadata=caller.metadata))
            assert "no address that this installation may fetch from" in error.violations["image_to_video.image.url"]
        assert (len(server.heads), forbidden.heads) == (1, [])
