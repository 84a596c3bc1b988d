"""The files that a submission names, and the form that they have in a record."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cogreel.v1.queue_pb2 import SubmitRequest
from cogreel.v1.video_pb2 import File, Lora

from jobs.cards import input_of

OBJECT_SCHEME = "object:"
"""What the url of a file begins with in a record; the key of an object in the bucket follows."""


class FileKind(StrEnum):
    """What a file is to be."""

    PICTURE = "picture"
    VIDEO = "video"
    LORA = "lora"


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file within a submission: `field` is its path there, and `message` what names it, not a copy."""

    field: str
    kind: FileKind
    message: File | Lora

    @property
    def file(self) -> File:
        """How it is named; a LoRA, by its URL alone."""
        return self.message if isinstance(self.message, File) else File(url=self.message.path)

    @property
    def url_field(self) -> str:
        """The path of the field that has the URL."""
        return f"{self.field}.url" if isinstance(self.message, File) else f"{self.field}.path"

    @property
    def object_key(self) -> str | None:
        """In a record: the key of the object that it names; None where it names a URL of another server."""
        url = self.file.url
        return url.removeprefix(OBJECT_SCHEME) if url.startswith(OBJECT_SCHEME) else None

    def rename(self, file: File) -> None:
        """Name it otherwise, in the submission itself."""
        if isinstance(self.message, File):
            self.message.CopyFrom(file)
        else:
            self.message.path = file.url


def start_file(submission: SubmitRequest) -> InputFile | None:
    """The file that a submission starts from; None for one of text alone."""
    match submission.WhichOneof("input"):
        case "image_to_video":
            return InputFile("image_to_video.image", FileKind.PICTURE, submission.image_to_video.image)
        case "video_to_video":
            return InputFile("video_to_video.video", FileKind.VIDEO, submission.video_to_video.video)
        case _:
            return None


def lora_files(submission: SubmitRequest) -> list[InputFile]:
    """The LoRAs of a submission, in their order."""
    kind = submission.WhichOneof("input") or "text_to_video"
    path = "text_to_video.loras" if kind == "text_to_video" else f"{kind}.text.loras"
    return [InputFile(f"{path}[{place}]", FileKind.LORA, lora) for place, lora in enumerate(input_of(submission).loras)]


def input_files(submission: SubmitRequest) -> list[InputFile]:
    """All files that a submission names."""
    start = start_file(submission)
    return [*([] if start is None else [start]), *lora_files(submission)]
