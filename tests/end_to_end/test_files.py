"""Files as inputs in a whole installation: a worker of one simulated device serves every kind of input."""

from __future__ import annotations

from cogreel.v1.queue_pb2 import RequestState, SubmitRequest
from cogreel.v1.video_pb2 import File

from host.settings import HOSTED_ENDPOINT
from tests.end_to_end.tree import Tree
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
