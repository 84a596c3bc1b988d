"""`cogreeld status`: the command."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from host.command_line import ready_file_option, run_on_engines

if TYPE_CHECKING:
    from host.status import Snapshot

_WIDTH_WITHOUT_TERMINAL = 200  # else lines would be broken at 80


@click.command()
@click.option("--once", is_flag=True, help="Print it once and exit, as is done where there is no terminal.")
@click.option("--json", "json_", is_flag=True, help="Print it once as a JSON object.")
@ready_file_option
def status(once: bool, json_: bool, ready_file: Path | None) -> None:
    """Show queues and workers, refreshed each second until Ctrl-C.

    Queues: by endpoint and priority how many requests wait for a worker (queued), wait for their tenant's limit (held)
    and run, how long the oldest queued one has waited, and for how long the queue has been paused. Workers: those that
    answer, each with the request that is on its device, and since when its process runs.

    Example: cogreeld status --json | jq '.queues[].queued'
    """
    from rich.console import Console  # noqa: PLC0415 - a light `--help`
    from rich.live import Live  # noqa: PLC0415

    from host.installation import settings_of  # noqa: PLC0415
    from host.status import look_on, look_once  # noqa: PLC0415
    from host.status_view import as_json, as_tables  # noqa: PLC0415

    console = Console(highlight=False)
    try:
        settings = settings_of(ready_file)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    if json_:
        click.echo(as_json(run_on_engines(look_once(settings))))
        return
    if once or not console.is_terminal:
        if not console.is_terminal:
            console.width = _WIDTH_WITHOUT_TERMINAL
        console.print(as_tables(run_on_engines(look_once(settings)), console.width))
        return
    with (
        Live("Reading the queue …", console=console, auto_refresh=False) as live,
        contextlib.suppress(KeyboardInterrupt),
    ):
        latest: Snapshot | None = None

        def show(snapshot: Snapshot) -> None:
            nonlocal latest
            latest = snapshot
            live.update(as_tables(snapshot, console.width), refresh=True)

        def miss(cause: str) -> None:
            note = f"Not up to date, trying again: {cause}"
            live.update(note if latest is None else as_tables(latest, console.width, note), refresh=True)

        run_on_engines(look_on(settings, show, miss))
