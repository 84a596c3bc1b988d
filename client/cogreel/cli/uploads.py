"""`cogreel upload`: a file into the store, and its URL on stdout."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cogreel.cli.reading import check_readable
from cogreel.cli.session import Session, pass_session


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--content-type", metavar="TYPE", help="The MIME type. Default: what the content begins like, else by the name."
)
@click.option("--name", "file_name", metavar="NAME", help="The name to store. Default: that of FILE.")
@click.option("--json", "as_json", is_flag=True, help="Print the file as one line of JSON.")
@pass_session
def upload(session: Session, file: Path, content_type: str | None, file_name: str | None, *, as_json: bool) -> None:
    """Upload FILE and print its URL, to use as an input. Unused, it expires after a day.

    \b
    Examples:
      cogreel upload portrait.png
      cogreel generate "She turns her head" --image "$(cogreel upload portrait.png)"
    """
    from rich.console import Console  # noqa: PLC0415 - a light `--help`
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn  # noqa: PLC0415

    from cogreel.cli.saving import print_json  # noqa: PLC0415 - it needs the contract's messages

    check_readable(file)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    console = Console(stderr=True)
    with session.connect() as client, Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(file.name, total=None)
        uploaded = client.upload(
            file,
            content_type=content_type,
            file_name=file_name,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if as_json:
        print_json(uploaded)
    else:
        click.echo(uploaded.url)
