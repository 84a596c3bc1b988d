"""From a finished request to a file, and what is printed about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

import cogreel

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from cogreel.v1.video_pb2 import VideoOutput


def check_output(path: Path, *, force: bool) -> None:
    """Make sure that a video can be written to `path`, before anything is spent on it.

    Raises:
        FileExistsError: it exists, and `force` is not given.
        IsADirectoryError: it is a folder.
        NotADirectoryError: its folder does not exist.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it")
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists; pass --force to replace it")
    if not path.absolute().parent.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: there is no folder {path.absolute().parent}")


def save(client: cogreel.CogReel, request_id: str, video: VideoOutput, path: Path, *, force: bool) -> None:
    """Download a result, naming the request in errors, so that people can try again."""
    try:
        client.download(video, path, overwrite=force)
    except cogreel.DownloadError as error:
        error.request_id = request_id
        raise


def print_video(request_id: str, video: VideoOutput, path: Path | None, *, as_json: bool) -> None:
    """Tell of a result on stdout: where it is, and how it was made."""
    from cogreel.cli.wording import table, video_rows  # noqa: PLC0415 - it needs the contract's messages

    if as_json:
        result = {"request_id": request_id, "path": str(path) if path is not None else None}
        click.echo(json.dumps({**result, "output": message_dict(video)}, ensure_ascii=False))
        return
    click.echo(path if path is not None else video.video.url)
    click.echo(table(video_rows(request_id, video)))


def message_dict(message: Message) -> dict[str, object]:
    """A message of the contract as protobuf JSON with the contract's own field names, defaults included."""
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 - loaded where it is needed

    fields: dict[str, object] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return fields


def print_json(message: Message) -> None:
    """Print a message on stdout, as one line of protobuf JSON."""
    click.echo(json.dumps(message_dict(message), ensure_ascii=False))
