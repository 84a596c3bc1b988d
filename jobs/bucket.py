"""Buckets: streams that keep the last message of each subject, such as the API keys and the pauses."""

from __future__ import annotations

import json

from jobs.broker import Broker, Stored
from jobs.errors import BrokerUnavailableError

WRONG_LAST_SEQUENCE = 10071
WRITE_IN_FLIGHT = 10164  # of another; decides nothing


def bucket_subject(bucket: str, name: str) -> str:
    """Where an entry is kept; `name` may hold wildcards."""
    return f"$KV.{bucket}.{name}"


async def put_entry(broker: Broker, bucket: str, name: str, content: bytes) -> None:
    """Write an entry, in place of the one before. When it returns, the entry is on disk.

    Raises:
        BrokerUnavailableError: the broker does not answer, or has no such bucket.
    """
    subject = bucket_subject(bucket, name)
    reply = await broker.through_election(lambda: broker.request(subject, content))
    error = json.loads(reply.data).get("error")
    if error is not None:
        raise BrokerUnavailableError(str(error["description"]))


async def replace_entry(broker: Broker, bucket: str, name: str, content: bytes, *, expected_seq: int) -> bool:
    """Write an entry, if its last version is still the one at `expected_seq` (0: there is none); False if it is not.

    False decides nothing about a write of one's own that was answered for too late: look again.

    Raises:
        BrokerUnavailableError: the broker does not answer, or has no such bucket.
    """
    headers = {"Nats-Expected-Last-Subject-Sequence": str(expected_seq)}
    subject = bucket_subject(bucket, name)
    reply = await broker.through_election(lambda: broker.request(subject, content, headers=headers))
    error = json.loads(reply.data).get("error")
    if error is None:
        return True
    if error["err_code"] in {WRONG_LAST_SEQUENCE, WRITE_IN_FLIGHT}:
        return False
    raise BrokerUnavailableError(str(error["description"]))


async def read_entries(broker: Broker, bucket: str) -> list[Stored]:
    """All entries of a bucket, oldest first.

    A follower that lags may show an entry that has been replaced as well as its replacement: the later one counts.

    Raises:
        BrokerUnavailableError: the broker does not answer, or has no such bucket.
    """
    stream, everything = f"KV_{bucket}", bucket_subject(bucket, ">")
    last = await broker.last(stream, everything)
    found = [] if last is None else await broker.read(stream, 1, everything, anchor=last.seq)
    latest = {stored.subject: stored for stored in found}
    return sorted(latest.values(), key=lambda stored: stored.seq)
