"""Takes the output out of a result."""

from __future__ import annotations

from cogreel.errors import ErrorDetails, UnimplementedError
from cogreel.v1.queue_pb2 import GetResultResponse
from cogreel.v1.video_pb2 import VideoOutput


def video_of(response: GetResultResponse) -> VideoOutput:
    """The video of a completed request.

    Raises:
        UnimplementedError: the service made a kind of output that this client does not know.
    """
    if response.WhichOneof("output") != "video":
        details = ErrorDetails("the result is of a kind that this client does not know: upgrade the package cogreel")
        raise UnimplementedError(details, request_id=response.request_id)
    return response.video
