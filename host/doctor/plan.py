"""Which checks matter for which process, and in what order they are told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cogreel.cli.findings import Finding
from cogreel.v1.admin_pb2 import ModelCard

from host.devices import PROBE_WITHIN_S
from host.doctor.broker_checks import check_broker
from host.doctor.checks import Check, Findings, in_thread
from host.doctor.device_checks import check_devices
from host.doctor.machine_checks import (
    check_data_dir,
    check_engines,
    check_environment,
    check_platform,
    check_temporary_dir,
)
from host.doctor.model_checks import check_model, check_rife
from host.doctor.package_checks import check_packages, no_worker_here, torch_is_installed
from host.doctor.running import Started, check_started
from host.doctor.serving_checks import check_listening, read_cards
from host.doctor.store_checks import check_bucket_owner, check_store
from host.installation import names_engines
from host.settings import Settings
from inference.model_choice import SIMULATED

MODEL_WITHIN_S = 30.0
HASHING_WITHIN_S = 1800.0  # 22 GB from a cold network disk


class Process(StrEnum):
    """What a machine is looked at for: the commands of `cogreeld`."""

    UP = "up"
    SERVE = "serve"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to look at.

    `settings` are those that the processes would have. `data_dir` is that of `up`; `started` an `up` that runs, whose
    engines are looked at. `monitor_url` is NATS's monitoring port, `deep` hashes large models too.
    """

    settings: Settings
    processes: frozenset[Process]
    data_dir: Path
    started: Started | None = None
    monitor_url: str | None = None
    deep: bool = False


def likely_processes(settings: Settings) -> frozenset[Process]:
    """What a machine is for, told from its settings: those of a cluster name NATS or S3."""
    if names_engines(settings):
        return frozenset({Process.SERVE, Process.WORKER})
    return frozenset({Process.UP})


def checks_of(plan: Plan, *, guessed: bool) -> list[Check]:
    """The checks, in the order in which they are told. `guessed` processes need not all be possible here."""
    settings, processes = plan.settings, plan.processes
    simulated = SIMULATED in settings.device_list()
    no_worker = guessed and processes > {Process.WORKER} and not simulated and not torch_is_installed()
    if no_worker:
        processes -= {Process.WORKER}
    works = bool(processes & {Process.UP, Process.WORKER})
    checks = [
        in_thread("settings", lambda: check_environment(os.environ)),
        in_thread("platform", check_platform),
        in_thread("packages", lambda: _packages(processes, simulated=simulated, no_worker=no_worker)),
    ]
    if Process.UP in processes:
        checks.append(in_thread("engines", check_engines))
        checks.append(in_thread("data directory", lambda: check_data_dir(plan.data_dir, settings)))
    if plan.started is not None:
        started = plan.started
        checks.append(Check("processes", lambda: check_started(started)))
    if Process.UP not in processes or plan.started is not None:
        checks.append(Check("nats", lambda: check_broker(settings, plan.monitor_url)))
        checks.append(Check("s3", lambda: check_store(settings)))
        checks.append(Check("s3 bucket", lambda: check_bucket_owner(settings)))
    if processes & {Process.UP, Process.SERVE}:
        checks.append(Check("listen", lambda: check_listening(settings)))
    cards, card_findings = read_cards(settings.endpoints)
    checks.append(Check("endpoints", lambda: _done(card_findings)))
    if works:
        limit_s = (HASHING_WITHIN_S if plan.deep else MODEL_WITHIN_S) + PROBE_WITHIN_S
        checks.append(Check("model", lambda: _model_and_devices(plan, list(cards.values())), limit_s))
        fetches = Process.UP in processes
        checks.append(in_thread("rife", lambda: check_rife(settings, fetched_at_start=fetches)))
        checks.append(in_thread("temporary files", check_temporary_dir))
    return checks


async def _model_and_devices(plan: Plan, cards: Sequence[ModelCard]) -> Findings:
    """Together, since how large a device must be depends on the model."""
    model, found = await asyncio.to_thread(check_model, plan.settings, cards, deep=plan.deep)
    return [*found, *await check_devices(plan.settings, model)]


async def _done(findings: Sequence[Finding]) -> Findings:
    return findings


def _packages(processes: frozenset[Process], *, simulated: bool, no_worker: bool) -> list[Finding]:
    works = processes & {Process.UP, Process.WORKER}
    found = check_packages([("simulated" if simulated else "worker")] if works else [])
    return [*found, no_worker_here()] if no_worker else found
