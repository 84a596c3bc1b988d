"""TLS of the gRPC server: whom it serves, how certificates are rotated, and what is said of unusable ones."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from cogreel import AsyncCogReel, UnavailableError
from cogreel.connection import Connection
from cryptography.hazmat.primitives import serialization
from structlog.testing import capture_logs

from host.engines.ports import choose_ports
from host.health import UnreachableError, check
from jobs.keys import create_key
from service.certificates import CertificateError
from service.server import QUEUE_SERVICE
from service.server_tls import ServerTls, server_credentials
from tests.deployment import Deployment
from tests.roles import Authority
from tests.waiting import seen


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def client(
    deployment: Deployment, port: int, authority: Authority, *, shows: tuple[Path, Path] | None = None
) -> AsyncIterator[AsyncCogReel]:
    """A caller who trusts an authority, and may have a certificate to show."""
    _, api_key = await create_key(deployment.broker, "studio")
    certificate, key = shows or (None, None)
    async with AsyncCogReel(
        f"https://localhost:{port}",
        api_key,
        ca_file=authority.certificate,
        client_certificate_file=certificate,
        client_key_file=key,
        retry_timeout_s=1.0,
    ) as connected:
        yield connected


async def test_a_caller_who_trusts_its_authority_is_served_by_tls_and_others_are_not(
    deployment: Deployment, authority: Authority, tmp_path: Path
) -> None:
    tls = ServerTls(*authority.issue("service", "localhost"))
    (tmp_path / "other").mkdir()
    async with deployment.service_running(tls=tls) as port:
        async with client(deployment, port, authority) as trusting:
            assert [served.endpoint for served in await trusting.endpoints()] == [deployment.endpoint]
        async with client(deployment, port, Authority(tmp_path / "other")) as stranger:
            with pytest.raises(UnavailableError):
                await stranger.endpoints()
        async with AsyncCogReel(f"localhost:{port}", retry_timeout_s=1.0) as plain:
            with pytest.raises(UnavailableError):
                await plain.endpoints()


async def test_with_an_authority_of_callers_only_those_with_a_certificate_by_it_are_served(
    deployment: Deployment, authority: Authority, tmp_path: Path
) -> None:
    tls = ServerTls(*authority.issue("service", "localhost"), authority.certificate)
    (tmp_path / "other").mkdir()
    forged = Authority(tmp_path / "other").issue("gateway")
    async with deployment.service_running(tls=tls) as port:
        async with client(deployment, port, authority, shows=authority.issue("gateway")) as known:
            assert await known.endpoints()
        for shows in (None, forged):
            async with client(deployment, port, authority, shows=shows) as unknown:
                with pytest.raises(UnavailableError):
                    await unknown.endpoints()


async def test_a_certificate_that_is_replaced_is_shown_to_the_next_connection(
    deployment: Deployment, authority: Authority, tmp_path: Path
) -> None:
    tls = ServerTls(*authority.issue("service", "localhost"))
    (tmp_path / "next").mkdir()
    following = Authority(tmp_path / "next")

    async def serves(trusted: Authority) -> bool:
        async with client(deployment, port, trusted) as connected:
            try:
                return bool(await connected.endpoints())
            except UnavailableError:
                return False

    async with deployment.service_running(tls=tls) as port, client(deployment, port, authority) as before:
        assert await before.endpoints()
        for old, new in zip((tls.certificate, tls.private_key), following.issue("service", "localhost"), strict=True):
            shutil.copy(new, old)
        assert await serves(following)
        assert not await serves(authority)
        assert await before.endpoints()


async def test_a_half_replaced_certificate_leaves_the_one_before(deployment: Deployment, authority: Authority) -> None:
    tls = ServerTls(*authority.issue("service", "localhost"))
    whole = tls.private_key.read_bytes()
    async with deployment.service_running(tls=tls) as port:
        tls.private_key.write_bytes(b"half")
        with capture_logs() as logged:
            async with client(deployment, port, authority) as caller:
                assert await caller.endpoints()
        told = [line["cause"] for line in logged if line["event"] == "certificate.unusable"]
        assert told == [f"{tls.private_key} holds no private key in PEM"]
        tls.private_key.write_bytes(whole)


async def test_health_is_told_by_tls_and_beside_it_without(deployment: Deployment, authority: Authority) -> None:
    tls = ServerTls(*authority.issue("service", "localhost"), authority.certificate)
    probes = f"127.0.0.1:{choose_ports(['health'])['health']}"
    certificate, key = authority.issue("prober")
    async with deployment.service_running(tls=tls, health_address=probes) as port:
        asked = Connection.resolve(
            f"https://localhost:{port}",
            ca_file=authority.certificate,
            client_certificate_file=certificate,
            client_key_file=key,
        )
        for connection in (asked, Connection.resolve(probes)):
            await seen(partial(check, connection, QUEUE_SERVICE, timeout_s=3), lambda said: said == "SERVING")
        with pytest.raises(UnreachableError, match="does not tell: UNAVAILABLE"):
            await check(Connection.resolve(f"localhost:{port}"), "", timeout_s=3)


def test_files_that_cannot_be_used_are_named_with_what_is_wrong(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("service")
    other, _ = authority.issue("other")
    nothing, text, locked = tmp_path / "nothing", tmp_path / "text", tmp_path / "locked"
    text.write_text("no PEM")
    loaded = serialization.load_pem_private_key(key.read_bytes(), password=None)
    password = serialization.BestAvailableEncryption(b"secret")
    form = serialization.PrivateFormat.PKCS8
    locked.write_bytes(loaded.private_bytes(serialization.Encoding.PEM, form, password))
    cases: list[tuple[ServerTls, str]] = [
        (ServerTls(nothing, key), f"{nothing} cannot be read: No such file or directory"),
        (ServerTls(certificate, tmp_path), f"{tmp_path} cannot be read: Is a directory"),
        (ServerTls(text, key), f"{text} holds no certificate in PEM"),
        (ServerTls(certificate, text), f"{text} holds no private key in PEM"),
        (ServerTls(certificate, locked), f"{locked} holds a key that wants a password, which nobody is there to type"),
        (ServerTls(other, key), f"{key} holds the key of another certificate than the one in {other}"),
        (ServerTls(certificate, key, text), f"{text} holds no certificate in PEM"),
    ]
    for tls, said in cases:
        with pytest.raises(CertificateError) as error:
            server_credentials(tls)
        assert str(error.value) == said
