"""`cogreel list`: the requests of the key's tenant, as a table on a terminal and as lines of fields elsewhere."""

from __future__ import annotations

import sys
from datetime import datetime
from itertools import islice

import click

from cogreel.cli.moments import Moment
from cogreel.cli.saving import print_json
from cogreel.cli.session import Session, pass_session

_STATES = ("queued", "running", "completed", "failed", "cancelled")


@click.command("list")
@click.option(
    "--state",
    "states",
    type=click.Choice(_STATES, case_sensitive=False),
    multiple=True,
    help="List requests in this state; may be given several times.",
)
@click.option("--endpoint", metavar="NAME", help="List requests for this model.")
@click.option(
    "--since",
    type=Moment(),
    metavar="WHEN",
    help="List requests submitted at or after this time: 30m, 2h or 3d ago, today, yesterday, 2026-01-31, "
    "2026-01-31T14:30. Without a zone, it is local time.",
)
@click.option("--before", type=Moment(), metavar="WHEN", help="List requests submitted before this time.")
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="How many to list, beginning with the newest.",
)
@click.option("--all", "everything", is_flag=True, help="List all of them.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one line each.")
@pass_session
def list_requests(
    session: Session,
    *,
    states: tuple[str, ...],
    endpoint: str | None,
    since: datetime | None,
    before: datetime | None,
    limit: int,
    everything: bool,
    as_json: bool,
) -> None:
    """List your requests, newest first.

    Where stdout is no terminal, each request is a line of fields between tabs: id, state, endpoint, the times at
    which it was queued, started and finished, in UTC, or - where that has not happened, and the beginning of its
    prompt. With --json, each line is a RequestStatus of the contract.

    \b
    Examples:
      cogreel list --since today
      cogreel list --state queued --state running
      cogreel list --state queued --all | cut -f1 | xargs -n1 cogreel cancel
    """
    from cogreel.cli.request_table import fields_line, print_table  # noqa: PLC0415 - rich is loaded where it is shown

    with session.connect() as client:
        # One more than is shown, to tell whether there are more.
        found = client.list(
            states=states, endpoint=endpoint, since=since, before=before, limit=None if everything else limit + 1
        )
        shown = found if everything else islice(found, limit)
        if as_json:
            for status in shown:
                print_json(status)
        elif sys.stdout.isatty():
            requests = list(shown)
            if requests:
                print_table(requests)
            else:
                click.echo("There are no such requests.", err=True)
        else:
            for status in shown:
                click.echo(fields_line(status))
        has_more = next(found, None) is not None
    if has_more:
        click.echo(f"There are older ones: --limit {2 * limit}, or --all.", err=True)
