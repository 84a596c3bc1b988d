"""Whether the streams are as the queue needs them, what is in them, and how safely they are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

import urllib3
from cogreel.cli.findings import Finding, ok, problem, warning
from cogreel.v1.queue_pb2 import Priority

from host.doctor.clocks import check_clock
from jobs.broker import ApiError, Broker
from jobs.keys import list_keys
from jobs.pauses import list_pauses
from jobs.subjects import KEYS, LOG, PAUSES, REQ, WEBHOOK_KEYS
from jobs.view import FULL_SHARE

STREAMS = (REQ, LOG, KEYS, PAUSES, WEBHOOK_KEYS)
NO_SUCH_STREAM = 10059
NEARLY_FULL_SHARE = 0.6
MONITOR_WITHIN_S = 2.0

# What the promises of the queue stand on; a stream that another program made may lack it.
_NEEDED: dict[str, dict[str, object]] = {
    REQ: {"storage": "file", "retention": "limits", "discard": "new", "max_age": 0, "allow_direct": True},
    LOG: {"storage": "file", "retention": "limits", "allow_direct": True},
    KEYS: {"storage": "file", "max_msgs_per_subject": 1, "max_age": 0},
    PAUSES: {"storage": "file", "max_msgs_per_subject": 1, "max_age": 0},
    WEBHOOK_KEYS: {"storage": "file", "max_msgs_per_subject": 1, "max_age": 0},
}


async def check_streams(broker: Broker, monitor_urls: Sequence[str], server_ids: Sequence[str]) -> list[Finding]:
    """The streams, their copies, their room; whether what is acknowledged is on disk; NATS's clock; keys and pauses."""
    found: list[Finding] = []
    there: list[str] = []
    for name in STREAMS:
        before = datetime.now(UTC)
        try:
            info = await broker.api(f"STREAM.INFO.{name}", {})
        except ApiError as error:
            if error.code != NO_SUCH_STREAM:
                found.append(_unreadable(name, error))
            continue
        there.append(name)
        found += _check_stream(name, info, broker.settings.replicas)
        if name == REQ and "ts" in info:
            now = before + (datetime.now(UTC) - before) / 2
            found.append(check_clock("nats clock", "the NATS server", datetime.fromisoformat(str(info["ts"])), now))
    if not there:
        found.append(ok("streams", "none yet: the first service or worker makes them"))
    elif not any(finding.check == "streams" for finding in found):
        found.append(ok("streams", f"{', '.join(there)}, in {_copies(broker.settings.replicas)}"))
    found.append(await asyncio.to_thread(_check_durability, monitor_urls, server_ids))
    if KEYS in there:
        found.append(await _check_keys(broker))
    if PAUSES in there:
        found += await _check_pauses(broker)
    return found


def _unreadable(name: str, error: ApiError) -> Finding:
    return problem("streams", f"{name} cannot be looked at: {error}", "The queue is kept in it.", "See NATS's log.")


def _check_stream(name: str, info: dict[str, object], replicas: int) -> list[Finding]:
    config = cast("dict[str, object]", info["config"])
    found: list[Finding] = []
    for setting, needed in _NEEDED[name].items():
        if config.get(setting) != needed:
            found.append(
                problem(
                    "streams",
                    f"{name} has {setting} {config.get(setting)!r} instead of {needed!r}",
                    "What the queue guarantees stands on it: requests could be lost or come back to life.",
                    "Was the stream made by another program? Use a NATS account of CogReel's own, or put the setting "
                    f"right: `nats stream edit {name}`.",
                )
            )
    if config.get("num_replicas") != replicas:
        found.append(
            warning(
                "streams",
                f"{name} is kept in {_copies(cast('int', config.get('num_replicas')))}, but COGREEL_NATS_REPLICAS "
                f"is {replicas}",
                "Each service that starts brings the streams to its own setting.",
                f"Set COGREEL_NATS_REPLICAS={config.get('num_replicas')} everywhere, or start the services anew with "
                f"{replicas}.",
            )
        )
    members = cast(
        "list[dict[str, object]]", cast("dict[str, object]", info.get("cluster") or {}).get("replicas") or []
    )
    away = [str(member.get("name")) for member in members if member.get("offline") or not member.get("current")]
    if away:
        found.append(
            warning(
                "streams",
                f"the copies of {name} at {', '.join(away)} are away or behind",
                "With a further server away, the queue stands still.",
                "Are these servers running, and do they reach each other? See their logs.",
            )
        )
    return found + (_check_room(info, config) if name == REQ else [])


def _check_room(info: dict[str, object], config: dict[str, object]) -> list[Finding]:
    limit, stored = cast("int", config.get("max_bytes", -1)), cast("dict[str, int]", info["state"])["bytes"]
    if limit <= 0 or stored < NEARLY_FULL_SHARE * limit:
        return []
    full = stored >= FULL_SHARE * limit
    return [
        (problem if full else warning)(
            "queue room",
            f"the queue's records take {stored / limit:.0%} of {limit / 1e6:.0f} MB",
            f"{'Submissions are refused' if full else 'From 80 % on, submissions are refused'} with QUEUE_FULL.",
            "Raise COGREEL_QUEUE_MAX_BYTES for all services, or lower COGREEL_RETENTION_S; finished requests are kept "
            "for their lifetime.",
        )
    ]


def _copies(count: int) -> str:
    return "1 copy" if count == 1 else f"{count} copies"


def _check_durability(monitor_urls: Sequence[str], server_ids: Sequence[str]) -> Finding:
    """NATS shows `sync_interval` on its monitoring port only."""
    why = (
        "With NATS's default, what is acknowledged reaches the disk up to two minutes later: a power failure loses "
        "accepted requests."
    )
    seen = 0
    for url in monitor_urls:
        shown = _monitored(url)
        if shown.get("server_id") not in server_ids:
            continue
        seen += 1
        config = cast("dict[str, object]", cast("dict[str, object]", shown.get("jetstream") or {}).get("config") or {})
        if not config.get("sync_always"):
            return problem(
                "nats durability",
                f"{url} shows that sync_interval is not `always`",
                why,
                "Write `sync_interval: always` into `jetstream { … }` of nats-server.conf and restart the server.",
            )
    if seen:
        return ok("nats durability", "sync_interval is `always`: acknowledged means on disk")
    return warning(
        "nats durability",
        f"sync_interval cannot be seen: no monitoring of this server at {', '.join(monitor_urls)}",
        why,
        "Make sure that nats-server.conf says `sync_interval: always`, or name the monitoring port with "
        "--nats-monitor http://host:8222.",
    )


def _monitored(url: str) -> dict[str, object]:
    try:
        answer = urllib3.request("GET", f"{url.rstrip('/')}/varz", timeout=MONITOR_WITHIN_S, retries=False)
        shown = answer.json()
    except (urllib3.exceptions.HTTPError, ValueError):
        return {}
    return shown if isinstance(shown, dict) else {}


async def _check_keys(broker: Broker) -> Finding:
    now = datetime.now(UTC)
    keys = await list_keys(broker)
    valid = [key for key in keys if not key.HasField("revoked") or key.revoked.ToDatetime(UTC) > now]
    if valid:
        return ok("api keys", f"{len(valid)} valid")
    return warning(
        "api keys", "there is none that is valid", "Nobody can call the service.", "cogreeld keys create --tenant NAME"
    )


async def _check_pauses(broker: Broker) -> list[Finding]:
    return [
        warning(
            "pauses",
            f"{pause.endpoint} ({Priority.Name(pause.priority).removeprefix('PRIORITY_').lower()} priority) has been "
            f"paused since {pause.since:%Y-%m-%d %H:%M} UTC",
            "Its requests are accepted and wait.",
            f"cogreeld queue resume {pause.endpoint}",
        )
        for pause in await list_pauses(broker)
    ]
