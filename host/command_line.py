"""What the commands of `cogreeld` share: running to their end, and telling what fails in a line."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import TypeVar

import click
from minio.error import S3Error

from files import StoreUnavailableError
from host.children import ChildFailedError
from host.engines.errors import DataDirInUseError, EngineMissingError, PortInUseError
from host.installation import THREE_WAYS
from host.logs import configure_logs
from host.settings import Settings, SettingsError, read_settings
from jobs.cards import CardError
from jobs.errors import BrokerUnavailableError, StreamEndedError

_T = TypeVar("_T")

EXPECTED = (
    BrokerUnavailableError,
    CardError,
    ChildFailedError,
    DataDirInUseError,
    EngineMissingError,
    OSError,
    PortInUseError,
    S3Error,
    StoreUnavailableError,
    StreamEndedError,
    ValueError,
)
_REMEDIES: Mapping[type[Exception], str] = {
    BrokerUnavailableError: f"Is this NATS the right one, and does it run with JetStream? {THREE_WAYS}",
    StoreUnavailableError: "Is S3 running? COGREEL_S3_ENDPOINT says where it is, or --ready-file of which "
    "`cogreeld up`. Then run this again.",
    S3Error: "Do COGREEL_S3_ACCESS_KEY and COGREEL_S3_SECRET_KEY belong to this store? Then run this again.",
}

ready_file_option = click.option(
    "--ready-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Of a running `cogreeld up`: use its NATS and its store. Default: those of COGREEL_NATS_URL and COGREEL_S3_*, "
    "or else of the `up` that runs on the default data directory.",
)
"""For commands that talk straight to the engines: to those of the settings, or of a running `up`."""


def run(main: Coroutine[None, None, _T], remedies: Mapping[type[Exception], str] | None = None) -> _T:
    """Run a process to its end; what can be expected to fail is told in a line, without a traceback.

    `remedies` say, for some of it, what to do.
    """
    try:
        return asyncio.run(main)
    except EXPECTED as error:
        click.echo(f"Error: {error}", err=True)
        if remedy := (remedies or {}).get(type(error)):
            click.echo(remedy, err=True)
        sys.exit(1)


def run_on_engines(main: Coroutine[None, None, _T]) -> _T:
    """As `run`, for an operator's command that talks straight to the engines."""
    configure_logs("auto", "error")
    return run(main, _REMEDIES)


def settings_or_exit() -> Settings:
    """The settings of the environment; a variable that cannot be read ends the program."""
    try:
        return read_settings()
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
