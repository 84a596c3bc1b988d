"""`cogreeld erase`: the command."""

from __future__ import annotations

import uuid
from pathlib import Path

import click

from host.command_line import ready_file_option, run_on_engines


@click.command()
@click.argument("request", type=click.UUID)
@click.option("--tenant", required=True, help="Who owns the request.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@ready_file_option
def erase(request: uuid.UUID, tenant: str, yes: bool, ready_file: Path | None) -> None:
    """Erase everything of a request: its records, its log and its files. There is no way back.

    A request that waits or runs is cancelled first; its worker has 10 s to stop.

    Example: cogreeld erase 3895af16-36e3-5f80-aa7e-a49336a2ffbd --tenant studio
    """
    from host.erase import describe  # noqa: PLC0415 - a light `--help`
    from host.erase import erase as erase_request  # noqa: PLC0415
    from host.installation import settings_of  # noqa: PLC0415
    from jobs.errors import RequestNotFoundError  # noqa: PLC0415
    from jobs.subjects import RequestKey  # noqa: PLC0415

    key = RequestKey(tenant, str(request))
    try:
        settings = settings_of(ready_file)
        described = run_on_engines(describe(settings, key))
        if not yes:
            click.confirm(f"{described}\nErase it with its log and its files, for good?", abort=True, err=True)
        run_on_engines(erase_request(settings, key))
    except RequestNotFoundError as error:
        raise click.ClickException(
            f"tenant {tenant} has no request {request}; it may have been erased, or belong to another tenant"
        ) from error
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"erased {request}")
