"""A `cogreeld up` that runs, by its ready file: where its engines are, and whether its processes are alive."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cogreel.cli.findings import Finding, ok, problem

from host.doctor.serving_checks import health
from host.installation import read_ready, with_engines
from host.settings import Settings, read_settings

_OF_ENGINES = ("nats_url", "s3_endpoint", "s3_access_key", "s3_secret_key", "s3_secure")


@dataclass(frozen=True, slots=True)
class Started:
    """What the ready file says: `pids` by role, `grpc` as host:port, `changes` to the settings: engines and devices."""

    data_dir: Path
    grpc: str
    pids: Mapping[str, int]
    changes: Mapping[str, object]
    monitor_url: str


def read_ready_file(path: Path) -> Started:
    """What runs, with the credentials from its data directory.

    Raises:
        ValueError: it is not the ready file of a `cogreeld up`.
        OSError: it or the data directory cannot be read.
    """
    ready = read_ready(path)
    reached = with_engines(read_settings(), ready)
    ports = json.loads((ready.data_dir / "nats/ports.json").read_text(encoding="utf-8"))
    engines = {name: getattr(reached, name) for name in _OF_ENGINES}
    return Started(
        data_dir=ready.data_dir,
        grpc=ready.grpc,
        pids=ready.pids,
        changes={**engines, **_chosen(ready.pids.get("service")), "listen": ready.grpc},
        monitor_url=f"http://127.0.0.1:{ports['monitor']}",
    )


def _chosen(pid: int | None) -> dict[str, object]:
    """What `up` settled on, told from the environment of its service; empty if that is gone."""
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    environment = dict(entry.partition("=")[::2] for entry in content.split("\0"))
    chosen: dict[str, object] = {
        name: environment[variable]
        for name, variable in (("devices", "COGREEL_DEVICES"), ("model", "COGREEL_MODEL"))
        if variable in environment
    }
    if "COGREEL_ENDPOINTS" in environment:
        chosen["endpoints"] = json.loads(environment["COGREEL_ENDPOINTS"])
    return chosen


def as_started(settings: Settings, started: Started) -> Settings:
    """The settings that the processes of a running `up` have."""
    return settings.model_copy(update=dict(started.changes))


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def check_started(started: Started) -> list[Finding]:
    """Whether all processes of `up` are alive, and the service serves."""
    why = "It ran when the ready file was written."
    remedy = f"See the logs in {started.data_dir / 'logs'}. If `cogreeld up` itself is gone, start it again."
    dead = [f"{role} ({pid})" for role, pid in started.pids.items() if not _is_alive(pid)]
    found = [problem("processes", f"not running: {', '.join(dead)}", why, remedy)] if dead else []
    state = await health(started.grpc)
    if state == "serving":
        return [*found, ok("processes", f"the service at {started.grpc} is serving; {', '.join(started.pids)}")]
    said = f"says that it is {state}" if state else "does not answer"
    return [*found, problem("processes", f"the service at {started.grpc} {said}", "Callers are refused.", remedy)]
