"""What `cogreeld doctor` does: settle what to look at, look, and tell."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import click
from cogreel.cli.findings import Finding, as_json, as_text, has_problem, problem

from host.doctor.checks import run_checks
from host.doctor.plan import Plan, Process, checks_of, likely_processes
from host.doctor.running import as_started, read_ready_file
from host.embedded import EmbeddedOptions, settings_for
from host.installation import names_engines, ready_of_running
from host.settings import Settings, SettingsError, read_settings


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    """What `cogreeld doctor` is asked for; None means what the processes would take."""

    data_dir: Path
    process: Process | None = None
    ready_file: Path | None = None
    devices: str | None = None
    model: str | None = None
    listen: str | None = None
    port: int = 50051
    monitor_url: str | None = None
    deep: bool = False


async def diagnosis(options: DoctorOptions) -> list[Finding]:
    """All findings.

    Raises:
        ValueError, OSError: the ready file is none, or cannot be read.
    """
    try:
        plan = _plan(options)
    except SettingsError as error:
        return [
            problem("settings", text, "No process starts with settings that cannot be read.", "Correct the variable.")
            for text in str(error).split("; ")
        ]
    return await run_checks(checks_of(plan, guessed=options.process is None))


def _plan(options: DoctorOptions) -> Plan:
    settings = read_settings()
    ready_file = options.ready_file or _ready_file_here(options, settings)
    started = read_ready_file(ready_file) if ready_file is not None else None
    processes = frozenset({options.process}) if options.process else likely_processes(settings)
    if started is not None:
        processes = frozenset({Process.UP})
    if Process.UP in processes:
        settings = _settings_of_up(options)
    else:
        settings = settings.model_copy(
            update={
                "devices": options.devices or settings.devices,
                "model": options.model or settings.model,
                "listen": options.listen or settings.listen,
            }
        )
    data_dir = options.data_dir.expanduser().absolute()
    if started is not None:
        settings, data_dir = as_started(settings, started), started.data_dir
    monitor_url = options.monitor_url or (started.monitor_url if started is not None else None)
    return Plan(settings, processes, data_dir, started, monitor_url, options.deep)


def _ready_file_here(options: DoctorOptions, settings: Settings) -> Path | None:
    """That of an `up` that runs on the data directory, unless another process or another `up` is asked about."""
    other = options.devices or options.model or (options.process is None and names_engines(settings))
    return ready_of_running(options.data_dir) if options.process in {None, Process.UP} and not other else None


def _settings_of_up(options: DoctorOptions) -> Settings:
    """`up` listens on loopback, and makes addresses and credentials of its own."""
    try:
        settings = settings_for(
            EmbeddedOptions(data_dir=options.data_dir, model=options.model, devices=options.devices)
        )
    except SettingsError:
        raise
    except ValueError as error:  # devices that do not go together
        raise SettingsError(str(error)) from error
    return settings.model_copy(update={"listen": f"127.0.0.1:{options.port}", "insecure": False})


def doctor(options: DoctorOptions, *, json_output: bool) -> int:
    """Look and tell; returns the exit status: 1 if there is a problem.

    Raises:
        ValueError, OSError: the ready file is none, or cannot be read.
    """
    findings = asyncio.run(diagnosis(options))
    click.echo(as_json(findings) if json_output else as_text(findings))
    return 1 if has_problem(findings) else 0
