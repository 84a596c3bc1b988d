"""The command `cogreeld`: what operators run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path

import click

from files import StoreUnavailableError
from host.children import ChildFailedError
from host.engines.errors import DataDirInUseError, EngineMissingError, PortInUseError
from host.logs import configure_logs
from host.settings import Settings, SettingsError, read_settings
from jobs.cards import CardError
from jobs.errors import BrokerUnavailableError

DEFAULT_DATA_DIR = Path("~/.local/share/cogreel")

_EXPECTED = (
    BrokerUnavailableError,
    CardError,
    ChildFailedError,
    DataDirInUseError,
    EngineMissingError,
    OSError,
    PortInUseError,
    StoreUnavailableError,
    ValueError,
)


def _run(main: Coroutine[None, None, None]) -> None:
    """Run a process to its end; what can be expected to fail is told in a line, without a traceback."""
    try:
        asyncio.run(main)
    except _EXPECTED as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


def _settings() -> Settings:
    try:
        return read_settings()
    except SettingsError as error:
        raise click.ClickException(str(error)) from error


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cogreel-server")
def main() -> None:
    """Run CogReel: everything on one machine (up), or its parts in a cluster (serve, worker)."""


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
@click.option("--ready-file", type=click.Path(path_type=Path), help="Gets addresses, key and pids once all is ready.")
def up(data_dir: Path, port: int, model: str | None, devices: str | None, ready_file: Path | None) -> None:
    """Run everything on this machine: queue, store, service and workers.

    Example: cogreeld up --devices simulated --port 0 --ready-file ready.json
    """
    from host.embedded import EmbeddedOptions  # noqa: PLC0415 - a light `--help`
    from host.up import up as run_up  # noqa: PLC0415

    configure_logs("auto", "warning")
    options = EmbeddedOptions(data_dir=data_dir, port=port, model=model, devices=devices, ready_file=ready_file)
    _run(run_up(options))


@main.command()
@click.option("--listen", help="host:port of the gRPC server. Default: COGREEL_LISTEN.")
@click.option("--insecure", is_flag=True, help="Allow to be reached from other machines without TLS.")
def serve(listen: str | None, insecure: bool) -> None:
    """Run the gRPC service; NATS and S3 by COGREEL_NATS_URL and COGREEL_S3_*.

    Example: COGREEL_NATS_URL=nats://nats:4222 cogreeld serve --listen 0.0.0.0:50051 --insecure
    """
    from host.serve import ListenError  # noqa: PLC0415
    from host.serve import serve as run_service  # noqa: PLC0415

    settings = _settings()
    changes: dict[str, object] = {"listen": listen or settings.listen, "insecure": insecure or settings.insecure}
    settings = settings.model_copy(update=changes)
    configure_logs(settings.log_format, settings.log_level)
    try:
        _run(run_service(settings))
    except ListenError as error:
        raise click.UsageError(str(error)) from error


@main.command()
@click.option("--devices", help="cuda:N, cpu or simulated, comma-separated. Default: COGREEL_DEVICES.")
@click.option("--model", help="A hub id, a directory in diffusers format, or `small`. Default: COGREEL_MODEL.")
def worker(devices: str | None, model: str | None) -> None:
    """Run this machine's workers: one process for each device, restarted when it dies.

    Example: COGREEL_NATS_URL=nats://nats:4222 cogreeld worker --devices cuda:0,cuda:1
    """
    from host.work import work  # noqa: PLC0415

    settings = _settings()
    settings = settings.model_copy(update={"devices": devices or settings.devices, "model": model or settings.model})
    configure_logs(settings.log_format, settings.log_level)
    _run(work(settings))


@main.command()
@click.argument("process", type=click.Choice(["up", "serve", "worker"]), required=False)
@click.option(
    "--ready-file", type=click.Path(path_type=Path, exists=True), help="Of a running `cogreeld up`: look at that one."
)
@click.option(
    "--data-dir", type=click.Path(path_type=Path), default=DEFAULT_DATA_DIR, show_default=True, help="Of `up`."
)
@click.option("--port", type=click.IntRange(0, 65535), default=50051, show_default=True, help="Of `up`.")
@click.option("--listen", help="Of `serve`. Default: COGREEL_LISTEN.")
@click.option("--devices", help="Of the workers. Default: COGREEL_DEVICES, or for `up` what is here.")
@click.option("--model", help="Of the workers. Default: COGREEL_MODEL, or for `up` what fits the device.")
@click.option("--nats-monitor", metavar="URL", help="NATS's monitoring port, such as http://nats:8222.")
@click.option("--deep", is_flag=True, help="Hash a large model too, where its card names a digest: minutes.")
@click.option("--json", "json_output", is_flag=True, help="Print JSON.")
def doctor(
    *,
    process: str | None,
    ready_file: Path | None,
    data_dir: Path,
    port: int,
    listen: str | None,
    devices: str | None,
    model: str | None,
    nats_monitor: str | None,
    deep: bool,
    json_output: bool,
) -> None:
    """Look at the settings and at this machine, and say what is wrong, why it matters and what to do.

    Looks at what `cogreeld up`, `serve` or `worker` would need here; left out, at a cluster's service and worker where
    the environment names a NATS or an S3, and else at `up`. Ends with 1 if there is a problem.

    Example: cogreeld doctor worker --devices cuda:0,cuda:1
    """
    from host.doctor.command import DoctorOptions  # noqa: PLC0415
    from host.doctor.command import doctor as run_doctor  # noqa: PLC0415
    from host.doctor.plan import Process  # noqa: PLC0415

    configure_logs("auto", "error")
    options = DoctorOptions(
        data_dir=data_dir,
        process=Process(process) if process else None,
        ready_file=ready_file,
        devices=devices,
        model=model,
        listen=listen,
        port=port,
        monitor_url=nats_monitor,
        deep=deep,
    )
    try:
        sys.exit(run_doctor(options, json_output=json_output))
    except ValueError as error:
        raise click.ClickException(str(error)) from error


@main.command("fetch-rife")
def fetch_rife() -> None:
    """Fetch the weights of RIFE (20 MB) into COGREEL_RIFE_DIRECTORY, checked by hash.

    Example: COGREEL_RIFE_DIRECTORY=/models/rife cogreeld fetch-rife
    """
    from inference.rife import RifeWeightsError, fetch_rife_weights  # noqa: PLC0415

    try:
        click.echo(fetch_rife_weights(_settings().rife_directory.expanduser()))
    except RifeWeightsError as error:
        raise click.ClickException(str(error)) from error


@main.group()
def keys() -> None:
    """Make, list and revoke API keys, in the NATS of COGREEL_NATS_URL or of a running `up` (--ready-file)."""
    configure_logs("auto", "error")  # each try to connect would be a line


_ready_file = click.option(
    "--ready-file", type=click.Path(path_type=Path, exists=True), help="Of a running `cogreeld up`: use its NATS."
)


@keys.command("create")
@click.option("--tenant", required=True, help="Who owns what is done with the key.")
@click.option(
    "--role", type=click.Choice(["caller", "admin"]), default="caller", show_default=True, help="What the key may do."
)
@_ready_file
def create(tenant: str, role: str, ready_file: Path | None) -> None:
    """Make a key and print it: it cannot be read again.

    Example: cogreeld keys create --tenant studio
    """
    from host.keys import create_key  # noqa: PLC0415

    _run(create_key(tenant, role, ready_file))


@keys.command("list")
@_ready_file
def list_all(ready_file: Path | None) -> None:
    """List all keys, without their secrets.

    Example: cogreeld keys list
    """
    from host.keys import list_keys  # noqa: PLC0415

    _run(list_keys(ready_file))


@keys.command("revoke")
@click.argument("key_id")
@_ready_file
def revoke(key_id: str, ready_file: Path | None) -> None:
    """Make a key useless, everywhere within a second.

    Example: cogreeld keys revoke 0123456789abcdef
    """
    from host.keys import revoke_key  # noqa: PLC0415

    _run(revoke_key(key_id, ready_file))


@main.group()
def queue() -> None:
    """Pause, drain and resume endpoints, in the NATS of COGREEL_NATS_URL or of a running `up` (--ready-file)."""
    configure_logs("auto", "error")  # each try to connect would be a line


_endpoint = click.argument("endpoint")
_priority = click.option(
    "--priority", type=click.Choice(["normal", "low"]), help="Only the requests of this priority. Default: both."
)


@queue.command("list")
@_ready_file
def list_queues(ready_file: Path | None) -> None:
    """List the endpoints that have been served, what waits and runs, and what is paused.

    Example: cogreeld queue list
    """
    from host.queues import list_queues as run_list  # noqa: PLC0415

    _run(run_list(ready_file))


@queue.command()
@_endpoint
@_priority
@_ready_file
def pause(endpoint: str, priority: str | None, ready_file: Path | None) -> None:
    """Let nothing more of ENDPOINT start. What runs goes on; submissions are accepted and wait.

    Example: cogreeld queue pause fal-ai/cogvideox-5b --priority low
    """
    from host.queues import pause_queue  # noqa: PLC0415

    _run(pause_queue(endpoint, priority, ready_file))


@queue.command()
@_endpoint
@_priority
@_ready_file
def resume(endpoint: str, priority: str | None, ready_file: Path | None) -> None:
    """Let requests of ENDPOINT start again.

    Example: cogreeld queue resume fal-ai/cogvideox-5b
    """
    from host.queues import resume_queue  # noqa: PLC0415

    _run(resume_queue(endpoint, priority, ready_file))


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
@_ready_file
def drain(endpoint: str, priority: str | None, timeout_s: float | None, ready_file: Path | None) -> None:
    """Pause ENDPOINT and wait until nothing of it runs any more. It stays paused until `resume`.

    Example: cogreeld queue drain fal-ai/cogvideox-5b --timeout 600
    """
    from host.queues import drain_queue  # noqa: PLC0415

    _run(drain_queue(endpoint, priority, timeout_s, ready_file))


if __name__ == "__main__":
    main()
