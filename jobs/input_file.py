"""The file that a submission names as its input, and the form that it has in a record."""

from __future__ import annotations

from dataclasses import dataclass

from cogreel.v1.queue_pb2 import SubmitRequest
from cogreel.v1.video_pb2 import File

OBJECT_SCHEME = "object:"
"""What the url of a file begins with in a record; the key of an object in the bucket follows."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file within a submission: `field` is its path there, and `file` the message itself, not a copy."""

    field: str
    file: File

    @property
    def object_key(self) -> str | None:
        """In a record: the key of the object that it names; None where it names a URL of another server."""
        url = self.file.url
        return url.removeprefix(OBJECT_SCHEME) if url.startswith(OBJECT_SCHEME) else None


def input_file(submission: SubmitRequest) -> InputFile | None:
    """The file that a submission starts from; None for one of text alone."""
    match submission.WhichOneof("input"):
        case "image_to_video":
            return InputFile("image_to_video.image", submission.image_to_video.image)
        case "video_to_video":
            return InputFile("video_to_video.video", submission.video_to_video.video)
        case _:
            return None
