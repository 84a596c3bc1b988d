"""LoRA files of earlier requests, kept by content, so that one that is named again need not be fetched again.

A file is used again only where its source still has the same version by the entity tag that it answers with: another
file under the same name is fetched, and one that is gone is gone for everybody.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path
from typing import IO


class LoraCache:
    """At most `max_bytes` of files; those that were not used for longest go first.

    They have no names on the disk: however the process ends, nothing of them is left. Its methods read and write files,
    so they belong in a thread; any may be called from several.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, IO[bytes]] = OrderedDict()
        """By SHA-256, the one that was used last at the end."""
        self._versions: dict[str, tuple[str, str]] = {}
        """The entity tag of each source, and the SHA-256 of what it was."""

    def version(self, source: str) -> str | None:
        """The entity tag of a source's file, if that file is here."""
        with self._lock:
            etag, sha256 = self._versions.get(source, ("", ""))
            return etag if sha256 in self._kept else None

    def take(self, source: str, etag: str, path: Path) -> bool:
        """Copy a source's file to `path`; False if this version of it is not here."""
        with self._lock:
            known, sha256 = self._versions.get(source, ("", ""))
            kept = self._kept.get(sha256)
            if kept is None or known != etag:
                return False
            self._kept.move_to_end(sha256)
            kept.seek(0)
            with path.open("xb") as file:
                shutil.copyfileobj(kept, file)
            return True

    def keep(self, source: str, etag: str, path: Path, *, sha256: str = "") -> None:
        """Keep a copy of the file at `path` as this version of a source, unless it is larger than all that may be.

        `sha256` is its digest in hexadecimal, where that is known.
        """
        if path.stat().st_size > self._max_bytes:
            return
        with path.open("rb") as file:
            sha256 = sha256 or hashlib.file_digest(file, "sha256").hexdigest()
            with self._lock:
                if sha256 not in self._kept:
                    file.seek(0)
                    self._kept[sha256] = kept = tempfile.TemporaryFile()  # noqa: SIM115 - as long as it is kept
                    shutil.copyfileobj(file, kept)
                self._kept.move_to_end(sha256)
                self._versions[source] = (etag, sha256)
                self._make_room()

    def _make_room(self) -> None:
        while sum(kept.seek(0, 2) for kept in self._kept.values()) > self._max_bytes:
            _, oldest = self._kept.popitem(last=False)
            oldest.close()
        self._versions = {source: found for source, found in self._versions.items() if found[1] in self._kept}
