"""`submit`, `watch`, `status`, `result` and `cancel`: one command for each call of the contract."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from cogreel.cli.generate import submission_hint, tell_how_to_go_on
from cogreel.cli.options import check_options, submission_parameters
from cogreel.cli.request_id import RequestId
from cogreel.cli.saving import check_output, print_json, print_video, save
from cogreel.cli.session import Session, pass_session

if TYPE_CHECKING:
    from cogreel.submission import TextToVideo

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, one line each.")


@click.command(params=submission_parameters())
@_json
@pass_session
def submit(session: Session, *, endpoint: str | None, as_json: bool, **options: Unpack[TextToVideo]) -> None:
    """Queue a request for PROMPT and print its id.

    \b
    Example:
      id=$(cogreel submit "A lighthouse at dusk" --priority low)
    """
    check_options(options)
    with session.connect() as client, submission_hint(options):
        submitted = client.submit(endpoint, **options)
    if as_json:
        print_json(submitted)
    else:
        click.echo(submitted.request_id)


@click.command()
@click.argument("request_id", type=RequestId())
@click.option("--cursor", help="Begin after the update that had this cursor.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors, and what --json prints.")
@_json
@pass_session
def watch(session: Session, request_id: str, cursor: str | None, *, quiet: bool, as_json: bool) -> None:
    """Follow a request to its end. The exit code tells how it ended.

    With --json, each update is a WatchStatusResponse of the contract, on stdout.

    \b
    Examples:
      cogreel watch 9f1c6ad2-3f0e-4a37-9a0c-0d5a7a1b2c3d
      cogreel watch 9f1c6ad2-3f0e-4a37-9a0c-0d5a7a1b2c3d --json | jq -c .progress
    """
    from cogreel.cli.view import open_view  # noqa: PLC0415 - the view needs the contract's messages

    view = open_view(request_id, quiet=quiet)
    with session.connect(view.note) as client:
        try:
            if as_json:
                for update in client.watch(request_id, cursor=cursor):
                    print_json(update.raw)
            else:
                with view:
                    for update in client.watch(request_id, cursor=cursor):
                        view.show(update)
        except KeyboardInterrupt:
            tell_how_to_go_on(request_id)
        client.result(request_id)  # raises what a failed or cancelled request is to be reported as


@click.command()
@click.argument("request_id", type=RequestId())
@click.option("--logs", is_flag=True, help="Print the log lines so far as well.")
@_json
@pass_session
def status(session: Session, request_id: str, *, logs: bool, as_json: bool) -> None:
    """Print where a request stands now.

    \b
    Example:
      cogreel status 9f1c6ad2-3f0e-4a37-9a0c-0d5a7a1b2c3d --logs
    """
    from cogreel.cli.wording import log_line, status_rows, table  # noqa: PLC0415 - it needs the contract's messages

    with session.connect() as client:
        response = client.status(request_id, with_logs=logs)
    if as_json:
        print_json(response)
        return
    click.echo(table(status_rows(response.status)))
    if response.logs_truncated:
        click.echo("(older log lines have expired)")
    for line in response.logs:
        click.echo(log_line(line))


@click.command()
@click.argument("request_id", type=RequestId("COMPLETED"))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Download the video to this file.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@_json
@pass_session
def result(session: Session, request_id: str, *, output: Path | None, force: bool, as_json: bool) -> None:
    """Print the result of a completed request, and download it if asked to.

    \b
    Example:
      cogreel result 9f1c6ad2-3f0e-4a37-9a0c-0d5a7a1b2c3d -o lighthouse.mp4
    """
    if output is not None:
        check_output(output, force=force)
    with session.connect() as client:
        video = client.result(request_id)
        if output is not None:
            save(client, request_id, video, output, force=force)
    print_video(request_id, video, output, as_json=as_json)


@click.command()
@click.argument("request_id", type=RequestId("QUEUED", "RUNNING"))
@_json
@pass_session
def cancel(session: Session, request_id: str, *, as_json: bool) -> None:
    """Cancel a request. Cancelling it again succeeds again.

    \b
    Example:
      cogreel cancel 9f1c6ad2-3f0e-4a37-9a0c-0d5a7a1b2c3d
    """
    with session.connect() as client:
        cancelled = client.cancel(request_id)
    if as_json:
        print_json(cancelled)
    else:
        click.echo(f"cancelled {request_id}")
