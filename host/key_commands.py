"""`cogreeld keys`: the commands, and how their options are read."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import click
from cogreel.v1.admin_pb2 import Limits

from host.command_line import ready_file_option, run_on_engines

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}


def duration(text: str) -> timedelta:
    """A duration such as 90s, 15m, 1h, 2d or 1h30m.

    Raises:
        click.BadParameter: it is none.
    """
    if not re.fullmatch(r"(\d{1,6}[smhd])+", text):
        raise click.BadParameter(f"{text!r} is not a duration: write 90s, 15m, 1h, 2d or 1h30m")
    return timedelta(seconds=sum(int(count) * _UNITS_S[unit] for count, unit in re.findall(r"(\d+)([smhd])", text)))


def grace_time(text: str) -> timedelta:
    """A duration that a key may go on working.

    Raises:
        click.BadParameter: it is none, or too long.
    """
    from jobs.keys import LONGEST_GRACE  # noqa: PLC0415 - a light `--help`

    found = duration(text)
    if found > LONGEST_GRACE:
        raise click.BadParameter(f"{text!r} is longer than {LONGEST_GRACE.days}d")
    return found


class _Bytes(click.ParamType[int]):
    """A number of bytes, such as 10GB, 512MiB or 1000000."""

    name = "bytes"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d+)\s*([kmgt]i?b|b|)", str(value).strip(), re.IGNORECASE)
        if match is None:
            self.fail(f"{value!r} is not a number of bytes: write 10GB, 512MiB or 1000000", param, ctx)
        unit = match[2].lower().removesuffix("b")
        factor: int = (1024 if unit.endswith("i") else 1000) ** (" kmgt".index(unit[0]) if unit else 0)
        found = int(match[1]) * factor
        if not 0 < found < 2**63:
            self.fail(f"{value!r} is not between 1 byte and 2^63 bytes", param, ctx)
        return found


@click.group()
def keys() -> None:
    """Make, list, rotate and revoke API keys, in the NATS of a running `up` or of COGREEL_NATS_URL."""


def _limit(name: str, meaning: str) -> click.Option:
    return click.Option([name], type=click.IntRange(1, 2**31 - 1), metavar="N", help=f"Limit of the tenant: {meaning}.")


@keys.command(
    "create",
    params=[
        _limit("--requests-per-minute", "submissions a minute"),
        _limit("--queued", "requests that wait at once"),
        _limit("--running", "requests that run at once; those above it are held"),
        click.Option(
            ["--stored-bytes"],
            type=_Bytes(),
            metavar="SIZE",
            help="Limit of the tenant: bytes of files that are kept, such as 10GB, 512MiB or 1000000.",
        ),
    ],
)
@click.option("--tenant", required=True, help="Who owns what is done with the key.")
@click.option(
    "--role", type=click.Choice(["caller", "admin"]), default="caller", show_default=True, help="What the key may do."
)
@ready_file_option
def create(tenant: str, role: str, ready_file: Path | None, **limits: int | None) -> None:
    """Make a key and print it: it cannot be read again.

    Limits count for the tenant: where several of its keys have one, the strictest counts.

    Example: cogreeld keys create --tenant studio --running 2 --queued 100
    """
    from host.keys import create_key  # noqa: PLC0415 - a light `--help`

    run_on_engines(create_key(tenant, role, Limits(**limits), ready_file))


@keys.command("list")
@click.option("--json", "json_", is_flag=True, help="Print a JSON array.")
@ready_file_option
def list_all(json_: bool, ready_file: Path | None) -> None:
    """List all keys, without their secrets.

    Example: cogreeld keys list
    """
    from host.keys import list_keys  # noqa: PLC0415

    run_on_engines(list_keys(ready_file, json_output=json_))


@keys.command("revoke")
@click.argument("key_id")
@ready_file_option
def revoke(key_id: str, ready_file: Path | None) -> None:
    """Make a key useless, everywhere within a second.

    Example: cogreeld keys revoke 0123456789abcdef
    """
    from host.keys import revoke_key  # noqa: PLC0415

    run_on_engines(revoke_key(key_id, ready_file))


@keys.command("rotate")
@click.argument("key_id")
@click.option(
    "--grace", type=grace_time, metavar="DURATION", default="0s", help="How long the old key goes on working: 1h, 2d."
)
@ready_file_option
def rotate(key_id: str, grace: timedelta, ready_file: Path | None) -> None:
    """Replace a key by one with the same tenant, role and limits, and print that.

    The old one stops at once, or after the grace time, in which its users can change over.

    Example: cogreeld keys rotate 0123456789abcdef --grace 1h
    """
    from host.keys import rotate_key  # noqa: PLC0415

    run_on_engines(rotate_key(key_id, grace, ready_file))
