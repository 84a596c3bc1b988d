"""What `cogreeld keys` does: API keys in the broker's bucket, straight, since no key is needed to make the first."""

from __future__ import annotations

from pathlib import Path

import click
from cogreel.v1.admin_pb2 import ApiKey, Role

from host.operator_broker import operator_broker
from jobs import keys
from jobs.streams import ensure_keys_bucket


def _described(key: ApiKey) -> str:
    role = Role.Name(key.role).removeprefix("ROLE_").lower()
    revoked = f"revoked {key.revoked.ToJsonString()}" if key.HasField("revoked") else "valid"
    return f"{key.key_id}  {key.tenant}  {role}  created {key.created.ToJsonString()}  {revoked}"


async def create_key(tenant: str, role: str, ready_file: Path | None) -> None:
    """Make a key and print its text."""
    async with operator_broker("keys", ready_file) as broker:
        await ensure_keys_bucket(broker)
        _, text = await keys.create_key(broker, tenant, role=Role.Value(f"ROLE_{role.upper()}"))
    click.echo(text)


async def list_keys(ready_file: Path | None) -> None:
    """Print a line for each key."""
    async with operator_broker("keys", ready_file) as broker:
        for key in await keys.list_keys(broker):
            click.echo(_described(key))


async def revoke_key(key_id: str, ready_file: Path | None) -> None:
    """Revoke a key and print what became of it."""
    async with operator_broker("keys", ready_file) as broker:
        try:
            key = await keys.revoke_key(broker, key_id)
        except keys.KeyNotFoundError as error:
            raise click.ClickException(f"{error}; `cogreeld keys list` shows those that there are") from error
    click.echo(_described(key))
