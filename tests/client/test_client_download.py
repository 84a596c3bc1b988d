"""A video arrives whole and checked, or not at all."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path

import pytest
from cogreel import AsyncCogReel, CogReelError, DownloadError
from cogreel.v1.video_pb2 import File

from tests.client.callers import Caller
from tests.client.file_server import FileServer
from tests.deployment import eventually


def test_the_file_appears_with_its_content(files: FileServer, caller: Caller, tmp_path: Path) -> None:
    path = tmp_path / "garden.mp4"
    assert caller.download(files.output(), path) == path
    assert path.read_bytes() == files.content
    assert list(tmp_path.iterdir()) == [path]


def test_a_url_will_do(files: FileServer, caller: Caller, tmp_path: Path) -> None:
    caller.download(files.url, tmp_path / "garden.mp4")
    assert (tmp_path / "garden.mp4").read_bytes() == files.content


def test_an_existing_file_is_not_touched_unasked(files: FileServer, caller: Caller, tmp_path: Path) -> None:
    path = tmp_path / "garden.mp4"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        caller.download(files.output(), path)
    assert path.read_text() == "mine"
    assert files.hits == 0
    caller.download(files.output(), path, overwrite=True)
    assert path.read_bytes() == files.content


@pytest.mark.parametrize("failures", [[503, 500], [0], [0, 429]])
def test_a_store_in_trouble_is_asked_again(
    files: FileServer, caller: Caller, tmp_path: Path, failures: list[int]
) -> None:
    files.failures = deque(failures)
    caller.download(files.output(), tmp_path / "garden.mp4")
    assert (tmp_path / "garden.mp4").read_bytes() == files.content


def test_an_expired_url_is_told_and_leaves_nothing(files: FileServer, caller: Caller, tmp_path: Path) -> None:
    files.failures = deque([403])
    with pytest.raises(DownloadError, match="403"):
        caller.download(files.output(), tmp_path / "garden.mp4")
    assert list(tmp_path.iterdir()) == []
    assert files.hits == 1


def test_other_bytes_than_the_service_stored_are_refused(files: FileServer, caller: Caller, tmp_path: Path) -> None:
    output = files.output()
    files.content = files.content[:-1] + b"x"
    path = tmp_path / "garden.mp4"
    path.write_text("older")
    with pytest.raises(DownloadError, match="SHA-256"):
        caller.download(output, path, overwrite=True)
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_store_that_stays_away_is_given_up(impatient_caller: Caller, tmp_path: Path) -> None:
    with FileServer() as gone:
        output = gone.output()
    with pytest.raises(DownloadError, match="out of reach"):
        impatient_caller.download(output, tmp_path / "garden.mp4")
    assert list(tmp_path.iterdir()) == []


def test_other_schemes_are_refused(caller: Caller, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="http"):
        caller.download("file:///etc/hostname", tmp_path / "garden.mp4")


async def test_a_cancelled_download_leaves_nothing(tmp_path: Path) -> None:
    with FileServer() as gone:
        url = gone.url
    trying = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_retry(_error: CogReelError, _pause_s: float) -> None:
        loop.call_soon_threadsafe(trying.set)

    async with AsyncCogReel("localhost:1", on_retry=on_retry) as client:
        downloading = asyncio.create_task(client.download(File(url=url), tmp_path / "garden.mp4"))
        await trying.wait()
        downloading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await downloading
    await eventually(lambda: asyncio.to_thread(lambda: list(tmp_path.iterdir())), lambda names: names == [])
