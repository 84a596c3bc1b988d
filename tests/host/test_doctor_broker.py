"""What the doctor finds about NATS: on servers that are really down, closed, misconfigured or misused."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cogreel.cli.findings import Finding, Verdict
from pydantic import SecretStr

from host.children import Child, ChildSpec
from host.doctor.broker_checks import check_broker
from host.doctor.clocks import check_clock
from host.engines import EmbeddedNats
from host.engines.engine import find_program
from host.engines.ports import choose_ports
from host.settings import Settings
from jobs.broker import Broker, BrokerSettings
from jobs.keys import create_key
from jobs.pauses import pause
from jobs.streams import ensure_streams
from tests.host.diagnoses import only, verdicts
from tests.waiting import until


def settings_for(url: str, **more: object) -> Settings:
    return Settings(nats_url=SecretStr(url), **more)  # type: ignore[arg-type]  # checked by pydantic


async def diagnose(url: str, monitor_url: str | None = None, **more: object) -> list[Finding]:
    return await check_broker(settings_for(url, **more), monitor_url)


def monitor_of(nats: EmbeddedNats, folder: Path) -> str:
    return f"http://127.0.0.1:{json.loads((folder / 'nats/ports.json').read_text())['monitor']}"


@asynccontextmanager
async def nats_server(folder: Path, *lines: str) -> AsyncIterator[tuple[str, str]]:
    """A server with a configuration of the test's own; where clients connect, and its monitoring."""
    ports = choose_ports(["client", "monitor"])
    config = folder / "own.conf"
    where = [f'listen: "127.0.0.1:{ports["client"]}"', f'http: "127.0.0.1:{ports["monitor"]}"']
    config.write_text("\n".join([*where, *lines]))
    spec = ChildSpec("own nats", (str(find_program("nats-server")), "-c", str(config)), folder / "own.log")
    async with Child(spec):
        await until(lambda: "Server is ready" in (folder / "own.log").read_text())
        yield f"127.0.0.1:{ports['client']}", f"http://127.0.0.1:{ports['monitor']}"


async def test_a_server_as_it_should_be(one_nats: EmbeddedNats, tmp_path: Path) -> None:
    async with Broker(BrokerSettings(one_nats.url)) as broker:
        await ensure_streams(broker)
        await create_key(broker, "studio")
    found = await diagnose(one_nats.url, monitor_of(one_nats, tmp_path))
    expected = {"nats", "nats replicas", "jetstream", "nats clock", "streams", "nats durability", "api keys"}
    assert verdicts(found) == dict.fromkeys(expected, Verdict.OK)


async def test_nothing_listens() -> None:
    port = choose_ports(["nobody"])["nobody"]
    finding = only(await diagnose(f"nats://user:secret@127.0.0.1:{port}"), "nats")
    assert finding.verdict is Verdict.PROBLEM
    assert f"127.0.0.1:{port}" in finding.found
    assert "refused" in finding.found


async def test_a_name_that_does_not_exist() -> None:
    assert "cannot be resolved" in only(await diagnose("nats://nats.invalid:4222"), "nats").found


async def test_a_wrong_password_is_told_without_showing_it(one_nats: EmbeddedNats) -> None:
    wrong = f"nats://cogreel:wrong-word@127.0.0.1:{one_nats.port}"
    found = await diagnose(wrong)
    assert "refuses user 'cogreel'" in only(found, "nats").found
    assert "wrong-word" not in str(found)


async def test_a_missing_user(one_nats: EmbeddedNats) -> None:
    assert "without a user" in only(await diagnose(f"127.0.0.1:{one_nats.port}"), "nats").found


@pytest.mark.parametrize("url", ["nats://cogreel:p/w#d@127.0.0.1:4222", "nats://", "nats://host:port"])
async def test_a_url_that_is_none(url: str) -> None:
    finding = only(await diagnose(url), "nats")
    assert "not of the form" in finding.found
    assert "p/w#d" not in str(finding)


async def test_another_kind_of_server(one_nats: EmbeddedNats, tmp_path: Path) -> None:
    port = monitor_of(one_nats, tmp_path).rpartition(":")[2]
    assert "does not speak NATS" in only(await diagnose(f"nats://127.0.0.1:{port}"), "nats").found


async def test_jetstream_is_off(tmp_path: Path) -> None:
    async with nats_server(tmp_path) as (where, _):
        found = await diagnose(where)
    assert only(found, "jetstream").found == "JetStream is off"
    assert "nats-server.conf" in only(found, "jetstream").remedy


async def test_a_user_who_may_not_use_jetstream(tmp_path: Path) -> None:
    deny = 'publish: { deny: ["$JS.API.>"] }'
    users = f"authorization {{ users: [{{ user: a, password: b, permissions: {{ {deny} }} }}] }}"
    async with nats_server(tmp_path, "jetstream {", f"store_dir: {tmp_path}", "}", users) as (where, _):
        found = await diagnose(f"nats://a:b@{where}")
    assert "does not answer" in only(found, "jetstream").found
    assert "permission" in only(found, "jetstream").remedy


async def test_the_default_sync_interval_is_a_problem(tmp_path: Path) -> None:
    async with nats_server(tmp_path, "jetstream {", f"store_dir: {tmp_path}", "}") as (where, monitor):
        finding = only(await diagnose(where, monitor), "nats durability")
        assert finding.verdict is Verdict.PROBLEM
        assert "sync_interval: always" in finding.remedy


async def test_a_sync_interval_that_cannot_be_seen_is_said_to_be(one_nats: EmbeddedNats) -> None:
    nobody = f"http://127.0.0.1:{choose_ports(['nobody'])['nobody']}"
    finding = only(await diagnose(one_nats.url, nobody), "nats durability")
    assert finding.verdict is Verdict.WARNING
    assert "cannot be seen" in finding.found


async def test_more_replicas_than_servers(one_nats: EmbeddedNats) -> None:
    finding = only(await diagnose(one_nats.url, nats_replicas=3), "nats replicas")
    assert finding.verdict is Verdict.PROBLEM
    assert "COGREEL_NATS_REPLICAS=1" in finding.remedy


async def test_a_stream_that_another_program_made(one_nats: EmbeddedNats) -> None:
    async with Broker(BrokerSettings(one_nats.url)) as broker:
        config = {"name": "REQ", "subjects": ["req.>"], "storage": "memory", "max_age": 10**12, "allow_direct": True}
        await broker.api("STREAM.CREATE.REQ", config)
    found = [finding for finding in await diagnose(one_nats.url) if finding.check == "streams"]
    assert {finding.verdict for finding in found} == {Verdict.PROBLEM}
    wrong = " ".join(finding.found for finding in found)
    assert all(setting in wrong for setting in ("storage", "max_age", "discard"))


async def test_a_queue_that_is_nearly_full(one_nats: EmbeddedNats) -> None:
    async with Broker(BrokerSettings(one_nats.url, max_queue_bytes=100_000)) as broker:
        await ensure_streams(broker)
        for size, verdict in ((65_000, Verdict.WARNING), (20_000, Verdict.PROBLEM)):
            await broker.request(f"req.a.b.{size}", secrets.token_bytes(size))
            assert only(await diagnose(one_nats.url), "queue room").verdict is verdict


async def test_missing_keys_and_paused_endpoints(one_nats: EmbeddedNats) -> None:
    async with Broker(BrokerSettings(one_nats.url)) as broker:
        await ensure_streams(broker)
        await pause(broker, "a/model")
    found = await diagnose(one_nats.url)
    assert "cogreeld keys create" in only(found, "api keys").remedy
    pauses = [finding for finding in found if finding.check == "pauses"]
    assert len(pauses) == 2
    assert pauses[0].remedy == "cogreeld queue resume a/model"


async def test_streams_that_are_not_there_yet_are_no_problem(one_nats: EmbeddedNats) -> None:
    found = only(await diagnose(one_nats.url), "streams")
    assert (found.verdict, found.found) == (Verdict.OK, "none yet: the first service or worker makes them")


@pytest.mark.parametrize(
    ("ahead_s", "verdict", "side"),
    [(0, Verdict.OK, ""), (30, Verdict.WARNING, "30 s ahead of"), (-3600, Verdict.PROBLEM, "3600 s behind")],
)
def test_clocks_that_differ(ahead_s: int, verdict: Verdict, side: str) -> None:
    now = datetime.now(UTC)
    finding = check_clock("clock", "the server", now, now + timedelta(seconds=ahead_s))
    assert finding.verdict is verdict
    assert side in finding.found


async def test_a_server_that_accepts_and_says_nothing() -> None:
    async def silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert "does not speak NATS" in only(await diagnose(f"nats://127.0.0.1:{port}"), "nats").found
