"""Callers who notice nothing: programs on the Python client, which let no error pass and count every video."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from contextlib import aclosing
from pathlib import Path
from typing import Unpack

from cogreel import AsyncCogReel, CogReelError, StateUpdate
from cogreel.submission import TextToVideo

from tests.chaos.callers import event_of
from tests.chaos.history import Fetch, History, Submission
from tests.chaos.installation import ENDPOINT
from tests.deployment import eventually

MADE_WITHIN_S = 60.0  # processes that start beside the work take both cores of a small machine
SMALL: TextToVideo = {"prompt": "butterflies", "num_inference_steps": 10, "use_rife": False, "video_size": (64, 64)}


class ClientLoad:
    """Programs that make one video after the other through `address`, and follow each to its end.

    Whatever error the client hands on ends its program, and with it the test. `retries` has what the client itself
    met and went on after, by its name.
    """

    def __init__(self, address: str, api_key: str, folder: Path, history: History) -> None:
        self.retries: Counter[str] = Counter()
        self.made: list[str] = []
        """The requests that were completed, fetched and checked."""
        self._client = AsyncCogReel(address, api_key, on_retry=self._note)
        self._folder = folder
        self._history = history

    def _note(self, error: CogReelError, _pause_s: float) -> None:
        self.retries[type(error).__name__] += 1

    async def run_until(self, stopped: asyncio.Event, name: str) -> None:
        """One program."""
        number = 0
        while not stopped.is_set():
            number += 1
            request_id = await self.submit(prompt=f"butterflies of {name}, flight {number}")
            await self.follow(request_id, f"{name}.{number}")

    async def submit(self, **options: Unpack[TextToVideo]) -> str:
        """Submit a small video."""
        small: TextToVideo = {**SMALL, **options}
        answer = await self._client.submit(ENDPOINT, **small)
        self._history.add(Submission(time.time(), "front", answer.request_id, None, answer.existing))
        return answer.request_id

    async def follow(self, request_id: str, watcher: str) -> None:
        """Watch a request from its beginning to its end, and fetch its video."""
        last = ""
        async with aclosing(self._client.watch(request_id)) as updates:
            async for update in updates:
                self._history.add(event_of(update.raw, watcher, 0, "front", request_id))
                last = update.state if isinstance(update, StateUpdate) else last
        assert last == "COMPLETED"
        video = await self._client.result(request_id)
        content = (await self._client.download(video, self._folder / f"{request_id}.mp4")).read_bytes()
        self._history.add(Fetch(time.time(), request_id, len(content), hashlib.sha256(content).hexdigest()))
        self.made.append(request_id)

    async def until_more(self, videos: int) -> None:
        """Wait until so many more have been made than now: work goes on with whatever runs."""
        enough = len(self.made) + videos

        async def made() -> int:
            return len(self.made)

        await eventually(made, lambda seen: seen >= enough, within_s=MADE_WITHIN_S)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()
