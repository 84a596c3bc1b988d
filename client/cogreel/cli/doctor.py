"""`doctor`: what is between this machine and the service, and which part of it is broken."""

from __future__ import annotations

import click

from cogreel.cli.exit_codes import ExitCode
from cogreel.cli.findings import Verdict, as_json, as_text
from cogreel.cli.session import Session, pass_session

# What the command ends with where this check is the first to find a problem.
_EXIT_CODES = {
    "packages": ExitCode.UNEXPECTED,
    "address": ExitCode.INVALID_INPUT,
    "connection": ExitCode.UNAVAILABLE,
    "tls": ExitCode.UNAVAILABLE,
    "service": ExitCode.UNAVAILABLE,
    "api key": ExitCode.NOT_ALLOWED,
}


@click.command()
@click.option("--json", "json_output", is_flag=True, help="Print JSON.")
@pass_session
@click.pass_context
def doctor(ctx: click.Context, session: Session, *, json_output: bool) -> None:
    """Look at the way to the service, step by step: address, connection, TLS, health, API key, clock, versions.

    Says of each step what was found, and of what is wrong, why it matters and what to do.

    \b
    Example:
      COGREEL_ADDRESS=https://videos.example.org cogreel doctor
    """
    from cogreel.cli.examination import examine  # noqa: PLC0415 - it needs gRPC, which `--help` does not wait for

    findings = examine(session)
    click.echo(as_json(findings) if json_output else as_text(findings))
    problems = [finding.check for finding in findings if finding.verdict is Verdict.PROBLEM]
    if problems:
        ctx.exit(_EXIT_CODES.get(problems[0], ExitCode.UNEXPECTED))
