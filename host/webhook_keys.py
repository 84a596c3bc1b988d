"""What `cogreeld webhook-keys` does: keys that webhooks are signed by, in the broker's bucket, public halves only."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from cogreel.v1.queue_pb2 import WebhookKey

from host.installation import settings_of
from jobs import webhook_keys
from jobs.broker import Broker
from jobs.streams import ensure_webhook_keys_bucket


def _broker(ready_file: Path | None) -> Broker:
    return Broker(settings_of(ready_file).broker("webhook keys"))


def _standard(key: WebhookKey) -> str:
    """The public half as Standard Webhooks writes it."""
    return f"whpk_{base64.b64encode(key.public_key).decode()}"


def _validity(key: WebhookKey, now: datetime) -> str:
    signs = key.signs_from.ToDatetime(UTC) <= now
    said = "signs" if signs else f"signs from {key.signs_from.ToJsonString()}"
    return f"{said}, valid until {key.withdrawn_time.ToJsonString()}" if key.HasField("withdrawn_time") else said


def _as_json(key: WebhookKey) -> dict[str, object]:
    return {
        "key_id": key.key_id,
        "public_key": _standard(key),
        "signs_from": key.signs_from.ToJsonString(),
        "withdrawn": key.withdrawn_time.ToJsonString() if key.HasField("withdrawn_time") else None,
    }


def _print(ring: webhook_keys.Keyring) -> None:
    now = datetime.now(UTC)
    for key in ring.published(now):
        click.echo(f"{key.public.key_id}  {_standard(key.public)}  {_validity(key.public, now)}")


async def list_webhook_keys(ready_file: Path | None, *, json_output: bool = False) -> None:
    """Print a line for each key that is valid, or a JSON array."""
    async with _broker(ready_file) as broker:
        ring = await webhook_keys.read_keyring(broker)
    if json_output:
        click.echo(json.dumps([_as_json(key.public) for key in ring.published(datetime.now(UTC))], indent=2))
    else:
        _print(ring)


async def rotate_webhook_keys(ready_file: Path | None, *, sign_after: timedelta, keep: timedelta) -> None:
    """Make a new key and print what there is now."""
    async with _broker(ready_file) as broker:
        await ensure_webhook_keys_bucket(broker)
        ring = await webhook_keys.rotate_webhook_keys(broker, sign_after=sign_after, keep=keep)
    _print(ring)
