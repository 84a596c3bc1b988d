"""What the doctor finds about S3: on a server that is really down, closed to us, or another one."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from cogreel.cli.findings import Finding, Verdict
from pydantic import SecretStr

from files import ObjectStore
from host.doctor.store_checks import PROBE_PREFIX, check_bucket_owner, check_store
from host.engines import EmbeddedS3
from host.engines.ports import choose_ports
from host.settings import Settings
from jobs.broker import Broker
from jobs.streams import ensure_streams
from service.bucket_owner import BUCKET_MARK
from tests.brokers import NatsServers
from tests.forwarding import forwarding
from tests.host.diagnoses import only, verdicts


@pytest.fixture
def settings(s3: EmbeddedS3, store: ObjectStore) -> Settings:
    """Settings with which everything works."""
    return Settings(
        s3_endpoint=s3.endpoint,
        s3_access_key=s3.access_key,
        s3_secret_key=SecretStr(s3.secret_key),
        s3_bucket=store.settings.bucket,
    )


async def diagnose(settings: Settings, **broken: object) -> list[Finding]:
    return await check_store(settings.model_copy(update=broken))


@asynccontextmanager
async def http_server(answer: bytes) -> AsyncIterator[str]:
    """A server that gives every request the same answer; where it listens."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_store_as_it_should_be_and_nothing_is_left_in_it(settings: Settings, store: ObjectStore) -> None:
    found = await diagnose(settings)
    assert verdicts(found) == dict.fromkeys(("s3", "s3 clock", "s3 bucket", "s3 public"), Verdict.OK)
    assert await store.list_keys(PROBE_PREFIX) == []


@pytest.mark.parametrize("endpoint", ["http://s3:9000", "s3:9000/bucket", "s3:port", ":9000"])
async def test_an_endpoint_that_is_none(settings: Settings, endpoint: str) -> None:
    finding = only(await diagnose(settings, s3_endpoint=endpoint), "s3")
    assert "COGREEL_S3_ENDPOINT" in finding.found
    assert "host:port" in finding.remedy


async def test_no_key(settings: Settings) -> None:
    assert "COGREEL_S3_ACCESS_KEY" in only(await diagnose(settings, s3_access_key=""), "s3").remedy


async def test_nothing_listens(settings: Settings) -> None:
    port = choose_ports(["nobody"])["nobody"]
    assert "refused" in only(await diagnose(settings, s3_endpoint=f"127.0.0.1:{port}"), "s3").found


async def test_a_wrong_secret_is_told_without_showing_it(settings: Settings) -> None:
    found = await diagnose(settings, s3_secret_key=SecretStr("wrong-word"))
    finding = only(found, "s3 bucket")
    assert (finding.verdict, "secret key does not belong" in finding.found) == (Verdict.PROBLEM, True)
    assert "wrong-word" not in str(found)


async def test_an_unknown_access_key(settings: Settings) -> None:
    finding = only(await diagnose(settings, s3_access_key="nobody"), "s3 bucket")
    assert "does not know the access key" in finding.found


async def test_a_bucket_that_is_missing(settings: Settings) -> None:
    finding = only(await diagnose(settings, s3_bucket=f"missing-{secrets.token_hex(4)}"), "s3 bucket")
    assert (finding.verdict, "no bucket" in finding.found) == (Verdict.WARNING, True)


async def test_a_bucket_with_a_name_that_s3_does_not_take(settings: Settings) -> None:
    assert only(await diagnose(settings, s3_bucket="A_B"), "s3 bucket").verdict is Verdict.PROBLEM


async def test_tls_where_there_is_none(settings: Settings) -> None:
    assert "COGREEL_S3_SECURE=false" in only(await diagnose(settings, s3_secure=True), "s3").remedy


async def test_a_clock_that_is_an_hour_off(settings: Settings) -> None:
    answer = b"HTTP/1.1 403 Forbidden\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n"
    async with http_server(answer) as where:
        finding = only(await diagnose(settings, s3_endpoint=where), "s3 clock")
    assert finding.verdict is Verdict.PROBLEM
    assert "ahead of that of the S3 server" in finding.found


async def test_something_that_is_not_http(settings: Settings) -> None:
    async with http_server(b"INFO {}\r\n") as where:
        assert "does not speak HTTP" in only(await diagnose(settings, s3_endpoint=where), "s3").found


async def test_a_public_endpoint_that_works(settings: Settings) -> None:
    async with forwarding(int(settings.s3_endpoint.rpartition(":")[2])) as port:
        where = f"127.0.0.1:{port}"
        found = only(await diagnose(settings, s3_public_endpoint=where, s3_public_secure=False), "s3 public")
    assert (found.verdict, where in found.found) == (Verdict.OK, True)


async def test_a_public_endpoint_out_of_reach(settings: Settings) -> None:
    nobody = f"127.0.0.1:{choose_ports(['nobody'])['nobody']}"
    finding = only(await diagnose(settings, s3_public_endpoint=nobody, s3_public_secure=False), "s3 public")
    assert (finding.verdict, "cannot be reached" in finding.found) == (Verdict.WARNING, True)


async def test_a_public_endpoint_that_leads_elsewhere(settings: Settings) -> None:
    async with http_server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") as where:
        finding = only(await diagnose(settings, s3_public_endpoint=where, s3_public_secure=False), "s3 public")
    assert (finding.verdict, "leads to another server" in finding.remedy) == (Verdict.PROBLEM, True)


async def test_links_to_loopback_from_a_service_that_others_can_reach(settings: Settings) -> None:
    finding = only(await diagnose(settings, listen="0.0.0.0:50051"), "s3 public")
    assert (finding.verdict, "COGREEL_S3_PUBLIC_ENDPOINT" in finding.remedy) == (Verdict.WARNING, True)


async def test_the_bucket_of_another_queue(settings: Settings, store: ObjectStore, nats: NatsServers) -> None:
    settings = settings.model_copy(update={"nats_url": SecretStr(nats.url)})
    async with Broker(settings.broker("test")) as broker:
        await ensure_streams(broker)
    assert await check_bucket_owner(settings) == []
    await store.put_bytes(BUCKET_MARK, b"1234", content_type="text/plain")
    finding = only(await check_bucket_owner(settings), "s3 bucket")
    assert (finding.verdict, BUCKET_MARK in finding.remedy) == (Verdict.PROBLEM, True)
