"""`cogreel logs`: the log of a request, up to now or to its end."""

from __future__ import annotations

import click

from cogreel.cli.request_id import RequestId
from cogreel.cli.saving import print_json
from cogreel.cli.session import Session, pass_session

_TRUNCATED = "(older log lines have expired)"


@click.command()
@click.argument("request_id", type=RequestId())
@click.option("-f", "--follow", is_flag=True, help="Go on with the lines to come, until the request ends.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one line each.")
@pass_session
def logs(session: Session, request_id: str, *, follow: bool, as_json: bool) -> None:
    """Print the log of a request, oldest line first.

    With --follow it goes on until the request ends, across broken connections and restarts of the service, without a
    line lost or repeated. The exit code is 0 however the request ended; `cogreel watch` tells more.

    With --json, each line is a LogLine of the contract, on stdout.

    \b
    Examples:
      cogreel logs 9f1c6ad2-3f0e-4a37-9a0c-0d5a7a1b2c3d
      cogreel logs -f 9f1c6ad2-3f0e-4a37-9a0c-0d5a7a1b2c3d
      cogreel logs 9f1c6ad2-3f0e-4a37-9a0c-0d5a7a1b2c3d --json | jq -r .message
    """
    from cogreel.cli.wording import log_line, state  # noqa: PLC0415 - it needs the contract's messages
    from cogreel.updates import LogTruncatedUpdate, LogUpdate, StateUpdate  # noqa: PLC0415 - likewise
    from cogreel.v1.queue_pb2 import LogLine  # noqa: PLC0415 - likewise

    def show(line: LogLine) -> None:
        if as_json:
            print_json(line)
        else:
            click.echo(log_line(line))

    with session.connect() as client:
        if not follow:
            response = client.status(request_id, with_logs=True)
            if response.logs_truncated:
                click.echo(_TRUNCATED, err=True)
            for line in response.logs:
                show(line)
            return
        for update in client.watch(request_id):
            match update:
                case LogUpdate():
                    show(update.raw.log)
                case LogTruncatedUpdate():
                    click.echo(_TRUNCATED, err=True)
                case StateUpdate() if update.is_terminal:
                    click.echo(state(update.status), err=True)
                case _:
                    pass
