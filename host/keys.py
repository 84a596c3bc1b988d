"""What `cogreeld keys` does: API keys in the broker's bucket, straight, since no key is needed to make the first."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import click
from cogreel.v1.admin_pb2 import ApiKey, Limits, Role

from host.installation import pasted, settings_of
from jobs import keys
from jobs.broker import Broker
from jobs.streams import ensure_keys_bucket


def _broker(ready_file: Path | None) -> Broker:
    return Broker(settings_of(ready_file).broker("keys"))


def _columns(key: ApiKey) -> list[str]:
    if not key.HasField("revoked"):
        validity = "valid"
    elif keys.works(key):
        validity = f"valid until {key.revoked.ToJsonString()}"
    else:
        validity = f"revoked {key.revoked.ToJsonString()}"
    # JSON's quotes where a name has spaces, so that columns stay apart.
    tenant = json.dumps(key.tenant, ensure_ascii=False) if re.search(r"[\s\"]", key.tenant) else key.tenant
    parts = [key.key_id, tenant, keys.role_name(key.role), f"created {key.created.ToJsonString()}", validity]
    limits = [f"{limit.name}={value}" for limit, value in key.limits.ListFields()]
    return [*parts, f"limits {', '.join(limits)}" if limits else ""]


def _described(key: ApiKey) -> str:
    return "  ".join(_columns(key)).rstrip()


def _as_json(key: ApiKey) -> dict[str, object]:
    return {
        "key_id": key.key_id,
        "tenant": key.tenant,
        "role": keys.role_name(key.role),
        "created": key.created.ToJsonString(),
        "revoked": key.revoked.ToJsonString() if key.HasField("revoked") else None,
        "works": keys.works(key),
        "limits": {limit.name: value for limit, value in key.limits.ListFields()},
    }


def _unknown(key_id: str, ready_file: Path | None) -> click.ClickException:
    listing = pasted("keys list", ready_file)
    return click.ClickException(f"there is no key {key_id}; `{listing}` shows those that there are")


async def create_key(tenant: str, role: str, limits: Limits, ready_file: Path | None) -> None:
    """Make a key and print its text."""
    async with _broker(ready_file) as broker:
        await ensure_keys_bucket(broker)
        given = limits if limits.ListFields() else None
        _, text = await keys.create_key(broker, tenant, role=Role.Value(f"ROLE_{role.upper()}"), limits=given)
    click.echo(text)


async def list_keys(ready_file: Path | None, *, json_output: bool = False) -> None:
    """Print a line for each key, or a JSON array."""
    async with _broker(ready_file) as broker:
        found = await keys.list_keys(broker)
    if json_output:
        click.echo(json.dumps([_as_json(key) for key in found], indent=2, ensure_ascii=False))
        return
    rows = [_columns(key) for key in found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


async def revoke_key(key_id: str, ready_file: Path | None) -> None:
    """Revoke a key and print what became of it."""
    async with _broker(ready_file) as broker:
        try:
            key = await keys.revoke_key(broker, key_id)
        except keys.KeyNotFoundError as error:
            raise _unknown(key_id, ready_file) from error
    click.echo(_described(key))


async def rotate_key(key_id: str, grace: timedelta, ready_file: Path | None) -> None:
    """Print the text of a key that replaces another, and on standard error what becomes of that one."""
    async with _broker(ready_file) as broker:
        try:
            rotated = await keys.rotate_key(broker, key_id, grace=grace)
        except keys.KeyNotFoundError as error:
            raise _unknown(key_id, ready_file) from error
        except keys.KeyRevokedError as error:
            creating = pasted("keys create", ready_file)
            raise click.ClickException(f"{error}; make a new one with `{creating}`") from error
    click.echo(rotated.text)
    click.echo(_described(rotated.old), err=True)
