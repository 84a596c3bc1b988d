"""What is on disk after a campaign: both streams and the bucket, read without any code of the queue's.

The streams are read by the client library's own calls and their messages parsed by the schema alone, so that a fault
in our own reading cannot hide a fault in our own writing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import nats
from nats.aio.client import Client

from files import ObjectStore
from jobs.record_pb2 import LogEntry, Record

READ_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class StoredState:
    """A message of REQ; `stored_at` is the server's time in seconds since 1970."""

    seq: int
    stored_at: float
    subject: str
    record: Record


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """A message of LOG."""

    seq: int
    stored_at: float
    subject: str
    entry: LogEntry


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """An object of the bucket, with the SHA-256 of its bytes."""

    key: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Both streams in the order of their sequences, and all videos."""

    states: list[StoredState]
    entries: list[StoredEntry]
    videos: list[StoredVideo]

    def dump(self, path: Path) -> None:
        """Write everything as JSON lines."""
        with path.open("w", encoding="utf-8") as file:
            for state in self.states:
                file.write(_line("state", state.seq, state.stored_at, state.subject, state.record) + "\n")
            for entry in self.entries:
                file.write(_line("entry", entry.seq, entry.stored_at, entry.subject, entry.entry) + "\n")
            for video in self.videos:
                file.write(json.dumps(["video", video.key, video.size_bytes, video.sha256]) + "\n")

    @classmethod
    def load(cls, path: Path) -> Evidence:
        """Read what `dump` wrote."""
        evidence = cls([], [], [])
        with path.open(encoding="utf-8") as file:
            for text in file:
                match json.loads(text):
                    case ["state", seq, stored_at, subject, data]:
                        record = Record.FromString(base64.b64decode(data))
                        evidence.states.append(StoredState(seq, stored_at, subject, record))
                    case ["entry", seq, stored_at, subject, data]:
                        entry = LogEntry.FromString(base64.b64decode(data))
                        evidence.entries.append(StoredEntry(seq, stored_at, subject, entry))
                    case ["video", key, size_bytes, sha256]:
                        evidence.videos.append(StoredVideo(key, size_bytes, sha256))
        return evidence


def _line(kind: str, seq: int, stored_at: float, subject: str, message: Record | LogEntry) -> str:
    return json.dumps([kind, seq, stored_at, subject, base64.b64encode(message.SerializeToString()).decode()])


async def gather_evidence(nats_url: str, store: ObjectStore) -> Evidence:
    """Read both streams and the bucket, once nothing changes any more.

    Raises:
        nats.errors.TimeoutError: a stream does not answer.
        StoreUnavailableError: the store does not.
    """
    states = await read_states(nats_url)
    async with _connected(nats_url) as client:
        entries = [
            StoredEntry(seq, at, subject, LogEntry.FromString(data))
            async for seq, at, subject, data in _messages(client, "LOG", "log.>")
        ]
    videos = []
    async for stored in store.list_objects("videos/"):
        content = await store.read(stored.key)
        videos.append(StoredVideo(stored.key, len(content), hashlib.sha256(content).hexdigest()))
    return Evidence(states, entries, videos)


async def read_states(nats_url: str) -> list[StoredState]:
    """The whole of REQ; what is no state, such as how far a webhook is, with an empty record.

    Raises:
        nats.errors.TimeoutError: the stream does not answer.
    """
    async with _connected(nats_url) as client:
        return [
            StoredState(seq, at, subject, Record.FromString(data if ".st." in subject else b""))
            async for seq, at, subject, data in _messages(client, "REQ", "req.>")
        ]


@asynccontextmanager
async def _connected(nats_url: str) -> AsyncIterator[Client]:
    client = await nats.connect(nats_url.split(","))
    try:
        yield client
    finally:
        await client.close()


async def _messages(client: Client, stream: str, subjects: str) -> AsyncIterator[tuple[int, float, str, bytes]]:
    jetstream = client.jetstream()
    last_seq = (await jetstream.stream_info(stream)).state.last_seq
    if not last_seq:
        return
    subscription = await jetstream.subscribe(subjects, stream=stream, ordered_consumer=True)
    seq = 0
    while seq < last_seq:
        message = await subscription.next_msg(timeout=READ_WITHIN_S)
        seq = message.metadata.sequence.stream
        yield seq, message.metadata.timestamp.timestamp(), message.subject, message.data
    await subscription.unsubscribe()
