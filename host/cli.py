"""The command `cogreeld`: what operators run."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from host.command_line import run, settings_or_exit
from host.doctor_command import doctor
from host.erase_command import erase
from host.installation import DEFAULT_DATA_DIR
from host.key_commands import keys
from host.logs import configure_logs
from host.queue_commands import queue
from host.status_command import status
from host.webhook_key_commands import webhook_keys

_PEM = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cogreel-server")
def main() -> None:
    """Run CogReel: everything on one machine (up), or its parts in a cluster (serve, gateway, worker)."""


@main.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=DEFAULT_DATA_DIR,
    show_default=True,
    help="Keeps the queue, the videos, the keys and the logs.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=50051, show_default=True, help="gRPC port; 0 for any.")
@click.option("--model", help="A hub id, a directory in diffusers format, or `small`. Default: what fits the device.")
@click.option("--devices", help="cuda:N, cpu or simulated, comma-separated. Default: the GPUs, or else the CPU.")
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path),
    help="Gets addresses, key and pids once all is ready, as DATA_DIR/ready.json does.",
)
@click.option(
    "--http-port",
    type=click.IntRange(0, 65535),
    help="Port of the HTTP gateway; 0 for any. Default: 8080, or any if --port is 0.",
)
@click.option("--https", is_flag=True, help="Serve the gateway over TLS, with a development certificate.")
def up(
    *,
    data_dir: Path,
    port: int,
    model: str | None,
    devices: str | None,
    ready_file: Path | None,
    http_port: int | None,
    https: bool,
) -> None:
    """Run everything on this machine: queue, store, service, gateway and workers.

    Example: cogreeld up --devices simulated --port 0 --ready-file ready.json
    """
    from host.embedded import EmbeddedOptions  # noqa: PLC0415 - a light `--help`
    from host.up import up as run_up  # noqa: PLC0415

    configure_logs("auto", "warning")
    options = EmbeddedOptions(
        data_dir=data_dir,
        port=port,
        model=model,
        devices=devices,
        ready_file=ready_file,
        http_port=http_port,
        https=https,
    )
    run(run_up(options))


@main.command()
@click.option("--listen", help="host:port of the gRPC server. Default: COGREEL_LISTEN.")
@click.option("--insecure", is_flag=True, help="Allow to be reached from other machines without TLS.")
def serve(listen: str | None, insecure: bool) -> None:
    """Run the gRPC service; NATS and S3 by COGREEL_NATS_URL and COGREEL_S3_*.

    Example: COGREEL_NATS_URL=nats://nats:4222 cogreeld serve --listen 0.0.0.0:50051 --insecure
    """
    from host.serve import ListenError  # noqa: PLC0415
    from host.serve import serve as run_service  # noqa: PLC0415

    settings = settings_or_exit()
    changes: dict[str, object] = {"listen": listen or settings.listen, "insecure": insecure or settings.insecure}
    settings = settings.model_copy(update=changes)
    configure_logs(settings.log_format, settings.log_level)
    try:
        run(run_service(settings))
    except ListenError as error:
        raise click.UsageError(str(error)) from error


@main.command()
@click.option("--listen", help="host:port of the HTTP server. Default: COGREEL_GATEWAY_LISTEN.")
@click.option("--service", help="host:port of the gRPC service, or https://…. Default: COGREEL_GATEWAY_SERVICE.")
@click.option("--insecure", is_flag=True, help="Allow to be reached from other machines without TLS.")
def gateway(listen: str | None, service: str | None, insecure: bool) -> None:
    """Run the HTTP gateway, which the published fal clients can call, in front of a gRPC service.

    Example: cogreeld gateway --listen 127.0.0.1:8080 --service 127.0.0.1:50051
    """
    from host.gateway import gateway as run_gateway  # noqa: PLC0415
    from host.serve import ListenError  # noqa: PLC0415

    settings = settings_or_exit()
    changes: dict[str, object] = {
        "gateway_listen": listen or settings.gateway_listen,
        "gateway_service": service or settings.gateway_service,
        "insecure": insecure or settings.insecure,
    }
    settings = settings.model_copy(update=changes)
    configure_logs(settings.log_format, settings.log_level)
    try:
        run(run_gateway(settings))
    except ListenError as error:
        raise click.UsageError(str(error)) from error


@main.command()
@click.option("--devices", help="cuda:N, cpu or simulated, comma-separated. Default: COGREEL_DEVICES.")
@click.option(
    "--model", help="A hub id, a directory in diffusers format, `small` or `small-i2v`. Default: COGREEL_MODEL."
)
def worker(devices: str | None, model: str | None) -> None:
    """Run this machine's workers: one process for each device, restarted when it dies.

    Example: COGREEL_NATS_URL=nats://nats:4222 cogreeld worker --devices cuda:0,cuda:1
    """
    from host.work import work  # noqa: PLC0415

    settings = settings_or_exit()
    settings = settings.model_copy(update={"devices": devices or settings.devices, "model": model or settings.model})
    configure_logs(settings.log_format, settings.log_level)
    run(work(settings))


@main.command()
@click.argument("address", default="127.0.0.1:50051")
@click.option("--service", default="", help="Of which service, such as cogreel.v1.QueueService or cogreel.worker.")
@click.option("--timeout", type=float, default=3.0, show_default=True, help="Seconds to wait for the answer.")
@click.option("--ca-file", type=_PEM, envvar="COGREEL_CA_FILE", help="Authorities to trust, not the public ones. PEM.")
@click.option("--client-certificate-file", type=_PEM, help="Certificate to show, where callers are asked for one. PEM.")
@click.option("--client-key-file", type=_PEM, help="Its private key. PEM.")
def health(
    address: str,
    *,
    service: str,
    timeout: float,
    ca_file: Path | None,
    client_certificate_file: Path | None,
    client_key_file: Path | None,
) -> None:
    """Ask a process for its health by gRPC: exit status 0 if it serves, 1 if not. For containers and units. An address
    that begins with https:// is asked by TLS.

    Example: cogreeld health 127.0.0.1:50051 --service cogreel.v1.QueueService
    """
    from cogreel.connection import Connection  # noqa: PLC0415

    from host.health import UnreachableError, check  # noqa: PLC0415

    try:
        trusted = ca_file if address.startswith(("https://", "grpcs://")) else None
        connection = Connection.resolve(
            address,
            ca_file=trusted,
            client_certificate_file=client_certificate_file,
            client_key_file=client_key_file,
        )
        told = asyncio.run(check(connection, service, timeout_s=timeout))
    except (UnreachableError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(told)
    if told != "SERVING":
        sys.exit(1)


@main.command("fetch-rife")
def fetch_rife() -> None:
    """Fetch the weights of RIFE (20 MB) into COGREEL_RIFE_DIRECTORY, checked by hash.

    Example: COGREEL_RIFE_DIRECTORY=/models/rife cogreeld fetch-rife
    """
    from inference.rife import RifeWeightsError, fetch_rife_weights  # noqa: PLC0415

    try:
        click.echo(fetch_rife_weights(settings_or_exit().rife_directory.expanduser()))
    except RifeWeightsError as error:
        raise click.ClickException(str(error)) from error


@main.command("fetch-model")
@click.option("--model", help="A hub id. Default: COGREEL_MODEL.")
def fetch_model(model: str | None) -> None:
    """Fetch the model's weights and those of RIFE, so that a worker finds them: the hub's files at the revision of the
    model's card into HF_HOME, RIFE's into COGREEL_RIFE_DIRECTORY. What is there already is not fetched again.

    Example: HF_HOME=/models/hub COGREEL_RIFE_DIRECTORY=/models/rife cogreeld fetch-model --model zai-org/CogVideoX-5b
    """
    from inference.model_choice import CardMismatchError, card_for, model_location, model_name  # noqa: PLC0415
    from inference.rife import RifeWeightsError, fetch_rife_weights  # noqa: PLC0415
    from inference.weights import ModelLoadError, resolve_model  # noqa: PLC0415
    from jobs.cards import CardError  # noqa: PLC0415

    settings = settings_or_exit()
    chosen = model or settings.model
    try:
        card = card_for(model_name(chosen, ""), settings.cards().values())
        click.echo(resolve_model(model_location(chosen), card.revision))
        click.echo(fetch_rife_weights(settings.rife_directory.expanduser()))
    except (CardError, CardMismatchError, ModelLoadError, RifeWeightsError) as error:
        raise click.ClickException(str(error)) from error


for command in (doctor, erase, keys, queue, status, webhook_keys):
    main.add_command(command)


if __name__ == "__main__":
    main()
