"""The group `cogreel`: its options, its commands, and what becomes of errors."""

from __future__ import annotations

import click

import cogreel
from cogreel.cli.completion import completion
from cogreel.cli.doctor import doctor
from cogreel.cli.exit_codes import ExitCode
from cogreel.cli.generate import generate
from cogreel.cli.listing import list_requests
from cogreel.cli.logs import logs
from cogreel.cli.opening import open_video
from cogreel.cli.requests import cancel, result, status, submit, watch
from cogreel.cli.session import Session
from cogreel.cli.uploads import upload

_EXIT_CODES = "\b\nExit codes:\n" + "\n".join(f"  {code.value:>3}  {code.description}" for code in ExitCode)


class _ReportingGroup(click.Group):
    """A group that tells people of errors, instead of showing where in the program they came up."""

    def invoke(self, ctx: click.Context) -> None:
        try:
            super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(ExitCode.INTERRUPTED)
        except BrokenPipeError:
            raise  # the reader of our output has left: click ends quietly
        except UnicodeEncodeError as error:
            raise click.UsageError(f"{error.object!r} is not text in UTF-8.") from error
        except OSError as error:
            named = f"{error.filename}: " if error.filename is not None else ""
            click.echo(f"error: {named}{error.strerror or error}", err=True)
            ctx.exit(ExitCode.FILE_PROBLEM)
        except cogreel.CogReelError as error:
            self._report(ctx, error)

    def _report(self, ctx: click.Context, error: cogreel.CogReelError) -> None:
        from cogreel.cli.error_report import report  # noqa: PLC0415 - it needs gRPC, which `--help` does not wait for

        told = report(error, ctx.params["address"])
        click.echo(told, err=True)
        ctx.exit(told.exit_code)


@click.group(cls=_ReportingGroup, epilog=_EXIT_CODES, context_settings={"max_content_width": 100})
@click.option(
    "--address",
    metavar="ADDRESS",
    envvar="COGREEL_ADDRESS",
    show_envvar=True,
    default="localhost:50051",
    show_default=True,
    help="Where the service is: https://host:port for TLS, host:port for plaintext.",
)
@click.option(
    "--api-key",
    metavar="KEY",
    envvar="COGREEL_API_KEY",
    show_envvar=True,
    help="Whom to act for. Prefer the environment: other users of this machine can read command lines.",
)
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False),
    envvar="COGREEL_CA_FILE",
    show_envvar=True,
    help="PEM file of the certificate authorities to trust instead of the public ones.",
)
@click.option(
    "--client-certificate-file",
    type=click.Path(exists=True, dir_okay=False),
    envvar="COGREEL_CLIENT_CERTIFICATE_FILE",
    show_envvar=True,
    help="PEM file of a certificate of one's own, for a service that asks its callers for one.",
)
@click.option(
    "--client-key-file",
    type=click.Path(exists=True, dir_okay=False),
    envvar="COGREEL_CLIENT_KEY_FILE",
    show_envvar=True,
    help="PEM file of its private key.",
)
@click.option(
    "--retry-timeout",
    "retry_timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to go on trying while the service is out of reach.",
)
@click.version_option(package_name="cogreel")
@click.pass_context
def main(
    ctx: click.Context,
    *,
    address: str,
    api_key: str | None,
    ca_file: str | None,
    client_certificate_file: str | None,
    client_key_file: str | None,
    retry_timeout_s: float,
) -> None:
    """Text to video with CogReel.

    \b
    Example:
      cogreel generate "A garden comes to life with butterflies" -o garden.mp4
    """
    ctx.obj = Session(
        address,
        api_key,
        ca_file=ca_file,
        client_certificate_file=client_certificate_file,
        client_key_file=client_key_file,
        retry_timeout_s=retry_timeout_s,
    )


for _command in (
    generate,
    submit,
    list_requests,
    watch,
    status,
    logs,
    result,
    open_video,
    cancel,
    doctor,
    upload,
    completion,
):
    main.add_command(_command)
