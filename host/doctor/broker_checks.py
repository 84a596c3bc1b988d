"""Whether NATS can be reached and is set up as the queue needs it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, urlsplit

import nats
import nats.errors
from cogreel.cli.dialling import dial
from cogreel.cli.findings import Finding, ok, problem, warning

from host.doctor.stream_checks import check_streams
from host.settings import Settings
from jobs.broker import Broker

ANSWER_WITHIN_S = 2.0
OLDEST_VERSION = (2, 12)  # of nats-server: what the embedded engine asks for
NATS_WHY = "Requests, their states and the API keys live in NATS: nothing starts without it."
URL_FORM = "Write COGREEL_NATS_URL as nats://user:password@host:port, several comma-separated."


@dataclass(frozen=True, slots=True)
class Server:
    """One of the servers in the URL: how it introduced itself, or what is wrong with it."""

    where: str
    url: str
    info: Mapping[str, object]
    trouble: Finding | None = None

    @property
    def version(self) -> str:
        """Of nats-server."""
        return str(self.info.get("version", "of an unknown version"))

    @property
    def usual_monitor(self) -> str:
        """Where its monitoring is, if it is on and at its usual port."""
        return f"http://{self.where.rpartition(':')[0]}:8222"


async def check_broker(settings: Settings, monitor_url: str | None = None) -> list[Finding]:
    """NATS, each of its servers, JetStream, the streams, durability and clock."""
    urls = [url.strip() for url in settings.nats_url.get_secret_value().split(",")]
    servers = await asyncio.gather(*map(_introduced, urls))
    answering = [server for server in servers if server.trouble is None]
    found = [server.trouble for server in servers if server.trouble is not None]
    if not answering:
        return found
    found.append(ok("nats", f"nats-server {answering[0].version} at {', '.join(s.where for s in answering)}"))
    found += _versions(answering)
    found += _cluster_size(answering, settings.nats_replicas)
    reachable = replace(settings.broker("doctor"), url=",".join(server.url for server in answering))
    async with Broker(reachable) as broker:
        jetstream = await _check_jetstream(broker)
        found.append(jetstream)
        if jetstream.why:
            return found
        monitors = [monitor_url] if monitor_url else [server.usual_monitor for server in answering]
        ids = [str(server.info.get("server_id")) for server in answering]
        return [*found, *await check_streams(broker, monitors, ids)]


async def _introduced(url: str) -> Server:
    """Dial a server, read how it introduces itself, and log in."""
    parts = urlsplit(url if "://" in url else f"nats://{url}")
    try:
        host, port = parts.hostname, parts.port or 4222
    except ValueError:
        host, port = None, 0
    if not host:
        finding = problem(
            "nats",
            "COGREEL_NATS_URL is not of the form nats://user:password@host:port",
            NATS_WHY,
            f"{URL_FORM} Characters such as / @ # % in a password are written as %2F %40 %23 %25.",
        )
        return Server("?", url, {}, finding)
    where = f"{host}:{port}"
    unreachable = await asyncio.to_thread(dial, host, port)
    if unreachable is not None:
        return Server(where, url, {}, problem("nats", unreachable.found, NATS_WHY, f"{unreachable.remedy} {URL_FORM}"))
    try:
        info = await _info(host, port)
    except (TimeoutError, OSError, ValueError):
        finding = problem(
            "nats",
            f"what listens at {where} does not speak NATS",
            NATS_WHY,
            "Is it the port for clients (4222 by default), not the one for monitoring or for other servers?",
        )
        return Server(where, url, {}, finding)
    return Server(where, url, info, await _refusal(where, url, parts))


async def _info(host: str, port: int) -> Mapping[str, object]:
    async with asyncio.timeout(ANSWER_WITHIN_S):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            keyword, _, text = (await reader.readline()).partition(b" ")
        finally:
            writer.close()
    info = json.loads(text) if keyword == b"INFO" else None
    if not isinstance(info, dict):
        raise ValueError("no INFO")  # noqa: TRY004 - what was read, not what was passed
    return info


async def _refusal(where: str, url: str, parts: SplitResult) -> Finding | None:
    """What the server has against us; None if it lets us in."""

    async def quiet(_: Exception) -> None:
        """The library would log a traceback; the outcome is what `connect` raises."""

    try:
        client = await nats.connect(
            url, name="cogreel doctor", allow_reconnect=False, connect_timeout=ANSWER_WITHIN_S, error_cb=quiet
        )
    except (nats.errors.Error, OSError, TimeoutError) as error:
        if "authorization" in str(error).lower():
            who = f"user {parts.username!r} with this password" if parts.username else "a connection without a user"
            return problem(
                "nats",
                f"{where} refuses {who}",
                NATS_WHY,
                "Compare with `authorization` in nats-server.conf. Characters such as / @ # % in a password are "
                "written as %2F %40 %23 %25 in COGREEL_NATS_URL.",
            )
        return problem("nats", f"{where} answers, but a connection fails: {error}", NATS_WHY, URL_FORM)
    await client.close()
    return None


def _versions(servers: Sequence[Server]) -> list[Finding]:
    old = [
        server
        for server in servers
        if tuple(int(part) for part in server.version.split(".")[:2] if part.isdigit()) < OLDEST_VERSION
    ]
    return [
        problem(
            "nats version",
            f"{server.where} runs nats-server {server.version}",
            "The queue needs 2.12 or later; 2.15 is what is tested.",
            "Update nats-server.",
        )
        for server in old
    ]


def _cluster_size(servers: Sequence[Server], replicas: int) -> list[Finding]:
    """Whether there can be as many copies as are asked for. Servers that share a cluster name each other."""
    info = servers[0].info
    named = info.get("connect_urls")
    if "cluster" not in info:
        count = 1
    elif isinstance(named, list):
        count = len(named)
    else:  # they were told not to advertise each other
        return []
    if count < replicas:
        there = "the server is not part of a cluster" if "cluster" not in info else f"the cluster shows {count} servers"
        return [
            problem(
                "nats replicas",
                f"COGREEL_NATS_REPLICAS is {replicas}, but {there}",
                "A stream cannot have more copies than there are servers: it cannot be made.",
                f"Set COGREEL_NATS_REPLICAS={1 if count < 3 else 3}, or start {replicas} servers as one cluster.",
            )
        ]
    if count >= 3 and replicas == 1:
        return [
            warning(
                "nats replicas",
                f"there are {count} servers, but COGREEL_NATS_REPLICAS is 1",
                "The queue is kept by one server alone: while that one is away, it stands still.",
                "Set COGREEL_NATS_REPLICAS=3 for all services and workers.",
            )
        ]
    return [ok("nats replicas", f"{replicas} wanted, {count} possible")]


async def _check_jetstream(broker: Broker) -> Finding:
    why = "The queue is a JetStream stream."
    off = 'Write `jetstream { store_dir: "…", sync_interval: always }` into nats-server.conf, with that space.'
    try:
        reply = await broker.nc.request("$JS.API.INFO", b"", timeout=ANSWER_WITHIN_S)
    except nats.errors.NoRespondersError:
        return problem("jetstream", "JetStream is off", why, off)
    except nats.errors.TimeoutError:
        remedy = (
            "May the user publish to `$JS.API.>` and subscribe to `_INBOX.>`? A denied permission looks like silence."
        )
        return problem("jetstream", "JetStream does not answer", why, remedy)
    answer = json.loads(reply.data)
    if "error" in answer:
        description = answer["error"].get("description", "")
        return problem("jetstream", f"JetStream refuses: {description}", why, f"Turn it on for this account. {off}")
    limit, used = answer["limits"]["max_storage"], answer["storage"]
    wanted = broker.settings.max_queue_bytes + broker.settings.max_log_bytes
    if 0 <= limit < wanted:
        return problem(
            "jetstream",
            f"the account may store {limit} bytes, but the streams reserve {wanted}",
            "JetStream refuses to make streams that exceed the account's limit.",
            "Raise the account's limit, or lower COGREEL_QUEUE_MAX_BYTES and COGREEL_LOG_MAX_BYTES.",
        )
    return ok("jetstream", f"on, {used / 1e6:.1f} MB stored")
