"""`cogreel generate`: from a prompt to a file, with a live view, and a choice when Ctrl-C is pressed."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Unpack

import click

import cogreel
from cogreel.cli.exit_codes import ExitCode
from cogreel.cli.options import check_options, submission_parameters
from cogreel.cli.saving import check_output, print_video, save
from cogreel.cli.session import Session, pass_session

if TYPE_CHECKING:
    from cogreel.cli.view import View
    from cogreel.submission import TextToVideo


@click.command(params=submission_parameters())
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Where to write. Left out, it is REQUEST_ID.mp4 here."
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but the result and errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one line of JSON.")
@pass_session
def generate(
    session: Session,
    *,
    endpoint: str | None,
    output: Path | None,
    force: bool,
    quiet: bool,
    as_json: bool,
    **options: Unpack[TextToVideo],
) -> None:
    """Make a video from PROMPT and download it.

    Progress goes to stderr, the result to stdout. Ctrl-C asks whether to keep watching, to leave, or to cancel.

    \b
    Examples:
      cogreel generate "A garden comes to life with butterflies" -o garden.mp4
      cogreel generate "A lighthouse at dusk" --size landscape_16_9 --steps 30 --seed 42
    """
    from cogreel.cli.view import open_view  # noqa: PLC0415 - the view needs the contract's messages

    if output is not None:
        check_output(output, force=force)
    check_options(options)
    view = open_view(options["prompt"], quiet=quiet)
    with session.connect(view.note) as client:
        with submission_hint(options):
            request_id = client.submit(endpoint, **options).request_id
        path = output or Path(f"{request_id}.mp4")
        try:
            _follow(client, request_id, view)
            video = client.result(request_id)
            save(client, request_id, video, path, force=force)
        except KeyboardInterrupt:
            tell_how_to_go_on(request_id)
    print_video(request_id, video, path, as_json=as_json)


@contextmanager
def submission_hint(options: TextToVideo) -> Iterator[None]:
    """Give the submission an idempotency key; if its fate stays unknown, tell how to find the request by it."""
    key = options.get("idempotency_key") or str(uuid.uuid4())
    options["idempotency_key"] = key
    try:
        yield
    except (KeyboardInterrupt, cogreel.UnavailableError):
        click.echo(
            "The request may have been queued. The same command finds it, instead of making a second one, with\n"
            f"  --idempotency-key {key}",
            err=True,
        )
        raise


class _Choice(Enum):
    WATCH = "w"
    LEAVE = "l"
    CANCEL = "c"


def _follow(client: cogreel.CogReel, request_id: str, view: View) -> None:
    """Show a request to its end, or until the user wants no more."""
    cursor: str | None = None
    while True:
        try:
            with view:
                for update in client.watch(request_id, cursor=cursor):
                    cursor = update.cursor
                    view.show(update)
        except KeyboardInterrupt:
            match _ask():
                case _Choice.WATCH:
                    continue
                case _Choice.CANCEL:
                    with suppress(cogreel.AlreadyFinishedError):  # as the watch is about to show
                        client.cancel(request_id)
                    continue
                case _Choice.LEAVE:
                    tell_how_to_go_on(request_id)
        return


def _ask() -> _Choice:
    """What Ctrl-C was meant to do. Without a terminal, or at a second Ctrl-C, it is to leave."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return _Choice.LEAVE
    try:
        answer = click.prompt(
            "\nKeep watching (w), leave and let it run (l), or cancel it (c)?",
            type=click.Choice([choice.value for choice in _Choice]),
            default=_Choice.LEAVE.value,
            show_choices=False,
            err=True,
        )
    except click.Abort:
        return _Choice.LEAVE
    return _Choice(answer)


def tell_how_to_go_on(request_id: str) -> NoReturn:
    """Say how to find the request again, and end."""
    click.echo(
        f"\nThe request stays. Follow it, fetch it, or cancel it with\n  cogreel watch {request_id}\n"
        f"  cogreel result {request_id} -o FILE\n  cogreel cancel {request_id}",
        err=True,
    )
    click.get_current_context().exit(ExitCode.INTERRUPTED)
