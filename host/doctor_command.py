"""`cogreeld doctor`: the command."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from host.command_line import ready_file_option
from host.installation import DEFAULT_DATA_DIR
from host.logs import configure_logs


@click.command()
@click.argument("process", type=click.Choice(["up", "serve", "worker"]), required=False)
@ready_file_option
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
    the environment names a NATS or an S3, and else at `up`: at the one that runs on the data directory, if one does.
    Ends with 1 if there is a problem.

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
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
