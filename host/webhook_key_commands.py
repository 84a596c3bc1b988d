"""`cogreeld webhook-keys`: the commands, and how their options are read."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from host.command_line import ready_file_option, run_on_engines
from host.key_commands import duration


@click.group("webhook-keys")
def webhook_keys() -> None:
    """List and rotate the keys that webhooks are signed by, in the NATS of a running `up` or of COGREEL_NATS_URL."""


def _overlap(text: str) -> timedelta:
    from jobs.webhook_keys import LONGEST_OVERLAP  # noqa: PLC0415 - a light `--help`

    found = duration(text)
    if found > LONGEST_OVERLAP:
        raise click.BadParameter(f"{text!r} is longer than {LONGEST_OVERLAP.days}d")
    return found


@webhook_keys.command("list")
@click.option("--json", "json_", is_flag=True, help="Print a JSON array.")
@ready_file_option
def list_all(json_: bool, ready_file: Path | None) -> None:
    """List the public halves, newest first, as receivers that use Standard Webhooks are configured with them.

    Example: cogreeld webhook-keys list
    """
    from host.webhook_keys import list_webhook_keys  # noqa: PLC0415 - a light `--help`

    run_on_engines(list_webhook_keys(ready_file, json_output=json_))


@webhook_keys.command("rotate")
@click.option(
    "--sign-after",
    type=_overlap,
    metavar="DURATION",
    default="24h",
    show_default=True,
    help="How long the new key is published before it signs: as long as receivers cache keys.",
)
@click.option(
    "--keep",
    type=_overlap,
    metavar="DURATION",
    default="24h",
    show_default=True,
    help="How long the old keys stay valid after that, for receivers that are configured with one.",
)
@click.option("--now", is_flag=True, help="Sign by the new key and withdraw all others at once: one of them leaked.")
@ready_file_option
def rotate(sign_after: timedelta, keep: timedelta, now: bool, ready_file: Path | None) -> None:
    """Make a new key to sign webhooks by, and withdraw the others later on.

    Example: cogreeld webhook-keys rotate --sign-after 24h --keep 7d
    """
    from host.webhook_keys import rotate_webhook_keys  # noqa: PLC0415

    if now:
        sign_after = keep = timedelta()
    run_on_engines(rotate_webhook_keys(ready_file, sign_after=sign_after, keep=keep))
