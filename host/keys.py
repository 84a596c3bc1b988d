"""What `cogreeld keys` does: API keys in the broker's bucket, straight, since no key is needed to make the first."""

from __future__ import annotations

import json
from pathlib import Path

import click
from cogreel.v1.admin_pb2 import ApiKey, Role
from pydantic import SecretStr

from host.settings import read_settings
from jobs import keys
from jobs.broker import Broker
from jobs.streams import ensure_keys_bucket


def _broker(ready_file: Path | None) -> Broker:
    settings = read_settings()
    if ready_file is not None:
        url = json.loads(ready_file.read_text(encoding="utf-8"))["nats"]
        settings = settings.model_copy(update={"nats_url": SecretStr(url)})
    return Broker(settings.broker("keys"))


def _described(key: ApiKey) -> str:
    role = Role.Name(key.role).removeprefix("ROLE_").lower()
    revoked = f"revoked {key.revoked.ToJsonString()}" if key.HasField("revoked") else "valid"
    return f"{key.key_id}  {key.tenant}  {role}  created {key.created.ToJsonString()}  {revoked}"


async def create_key(tenant: str, role: str, ready_file: Path | None) -> None:
    """Make a key and print its text."""
    async with _broker(ready_file) as broker:
        await ensure_keys_bucket(broker)
        _, text = await keys.create_key(broker, tenant, role=Role.Value(f"ROLE_{role.upper()}"))
    click.echo(text)


async def list_keys(ready_file: Path | None) -> None:
    """Print a line for each key."""
    async with _broker(ready_file) as broker:
        for key in await keys.list_keys(broker):
            click.echo(_described(key))


async def revoke_key(key_id: str, ready_file: Path | None) -> None:
    """Revoke a key and print what became of it."""
    async with _broker(ready_file) as broker:
        try:
            key = await keys.revoke_key(broker, key_id)
        except keys.KeyNotFoundError as error:
            raise click.ClickException(f"{error}; `cogreeld keys list` shows those that there are") from error
    click.echo(_described(key))
