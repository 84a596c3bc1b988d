"""`cogreeld queue`: the commands."""

from __future__ import annotations

from pathlib import Path

import click

from host.command_line import ready_file_option, run_on_engines


@click.group()
def queue() -> None:
    """Pause, drain and resume endpoints, in the NATS of a running `up` or of COGREEL_NATS_URL."""


_endpoint = click.argument("endpoint")
_priority = click.option(
    "--priority", type=click.Choice(["normal", "low"]), help="Only the requests of this priority. Default: both."
)


@queue.command("list")
@ready_file_option
def list_queues(ready_file: Path | None) -> None:
    """List the endpoints that have been served, what waits, is held and runs, and what is paused.

    Example: cogreeld queue list
    """
    from host.queues import list_queues as run_list  # noqa: PLC0415

    run_on_engines(run_list(ready_file))


@queue.command()
@_endpoint
@_priority
@ready_file_option
def pause(endpoint: str, priority: str | None, ready_file: Path | None) -> None:
    """Let nothing more of ENDPOINT start. What runs goes on; submissions are accepted and wait.

    Example: cogreeld queue pause fal-ai/cogvideox-5b --priority low
    """
    from host.queues import pause_queue  # noqa: PLC0415

    run_on_engines(pause_queue(endpoint, priority, ready_file))


@queue.command()
@_endpoint
@_priority
@ready_file_option
def resume(endpoint: str, priority: str | None, ready_file: Path | None) -> None:
    """Let requests of ENDPOINT start again.

    Example: cogreeld queue resume fal-ai/cogvideox-5b
    """
    from host.queues import resume_queue  # noqa: PLC0415

    run_on_engines(resume_queue(endpoint, priority, ready_file))


@queue.command()
@_endpoint
@_priority
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Give up waiting after this time, with exit code 1; it stays paused. Default: wait without end.",
)
@ready_file_option
def drain(endpoint: str, priority: str | None, timeout_s: float | None, ready_file: Path | None) -> None:
    """Pause ENDPOINT and wait until nothing of it runs any more. It stays paused until `resume`.

    Example: cogreeld queue drain fal-ai/cogvideox-5b --timeout 600
    """
    from host.queues import drain_queue  # noqa: PLC0415

    run_on_engines(drain_queue(endpoint, priority, timeout_s, ready_file))
