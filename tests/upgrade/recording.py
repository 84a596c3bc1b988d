"""What the previous release left behind in a broker and a bucket: written by `record`, played back before a test.

Streams and consumers are made anew with the configuration that the release gave them, and their messages published
byte for byte and in order, so that sequences which records name are right again. Times are those of the playback.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from files import ObjectStore
from jobs.broker import Broker
from jobs.subjects import LOG, REQ


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a stream; its `data` is in base64."""

    subject: str
    data: str
    headers: dict[str, str]

    @property
    def content(self) -> bytes:
        """The bytes."""
        return base64.b64decode(self.data)


@dataclass(frozen=True, slots=True)
class Recording:
    """`requests` has the id of each request by what was done to it, such as `completed` or `held`."""

    commit: str
    endpoint: str
    tenant: str
    api_key: str
    limited_tenant: str
    requests: dict[str, str]
    streams: dict[str, dict[str, Any]] = field(default_factory=dict)
    consumers: list[dict[str, Any]] = field(default_factory=list)
    messages: dict[str, list[Message]] = field(default_factory=dict)
    objects: dict[str, str] = field(default_factory=dict)

    def dump(self, path: Path) -> None:
        """Write it, one message a line."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Recording:
        """Read what `dump` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        messages = {name: [Message(**message) for message in found] for name, found in content.pop("messages").items()}
        return cls(**content, messages=messages)

    async def play(self, broker: Broker, store: ObjectStore) -> None:
        """Put all of it into an empty broker and an empty bucket."""
        for name, config in self.streams.items():
            await broker.api(f"STREAM.CREATE.{name}", config | {"num_replicas": broker.settings.replicas}, timeout_s=10)
        for name, messages in self.messages.items():
            for number, message in enumerate(messages, 1):
                stored = await broker.request(message.subject, message.content, headers=message.headers or None)
                answer = json.loads(stored.data)
                assert answer.get("stream") == name, answer
                assert name not in {REQ, LOG} or answer["seq"] == number, answer  # which records name
        for consumer in self.consumers:
            subject = f"CONSUMER.CREATE.{consumer['stream_name']}.{consumer['config']['name']}"
            filtered = cast("str", consumer["config"].get("filter_subject", ""))
            await broker.api(f"{subject}.{filtered}" if filtered else subject, consumer, timeout_s=10)
        for key, content in self.objects.items():
            await store.put_bytes(key, base64.b64decode(content), content_type="video/mp4")
