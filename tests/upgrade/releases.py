"""The previous release: its programs, out of this repository's history, and where what it wrote is kept.

Until there are releases with a tag, it is the commit by which the queue's first version was complete: before files by
URL, LoRAs, video to video, webhooks, profiles and the HTTP gateway.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from tests.chaos.installation import THIS_RELEASE, Release

PREVIOUS_COMMIT = "2176422ac3b16f87acb7cfd004db3a4a600b8627"
KEPT = Path(__file__).with_name("previous_release")
RECORDING = KEPT / "recording.json"
SCHEMA = KEPT / "schema.binpb"


class NoHistoryError(Exception):
    """This tree is not a repository that has the previous release in its history."""


def unpack_previous_release(folder: Path) -> Release:
    """Put the previous release's tree into a folder.

    Raises:
        NoHistoryError: it cannot be had here.
    """
    try:
        archive = subprocess.run(
            ["git", "archive", "--format=tar", PREVIOUS_COMMIT],
            cwd=THIS_RELEASE.folder,
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoHistoryError(f"git has no {PREVIOUS_COMMIT} here") from error
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tree:
        tree.extractall(folder, filter="data")
    return Release(folder)
