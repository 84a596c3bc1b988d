"""`cogreel doctor`: each part of the way to the service, really broken."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from cogreel.cli import main
from cogreel.cli.exit_codes import ExitCode

from host.engines.ports import choose_ports
from tests.client.scripted_service import ScriptedService
from tests.deployment import Deployment
from tests.forwarding import forwarding


@dataclass(frozen=True)
class Told:
    """What the command said: for each check its verdict and what was found, with why and what to do."""

    exit_code: int
    verdicts: dict[str, str]
    texts: dict[str, str]


def run(address: str, *options: str) -> Told:
    """The command, as a process of its own."""
    command = [sys.executable, "-m", "cogreel", "--address", address, *options, "doctor", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stderr == ""
    document = json.loads(result.stdout)
    assert document["healthy"] == (result.returncode == 0)
    findings = document["findings"]
    assert all(finding["verdict"] == "ok" or (finding["why"] and finding["remedy"]) for finding in findings)
    return Told(
        result.returncode,
        {finding["check"]: finding["verdict"] for finding in findings},
        {finding["check"]: f"{finding['found']} {finding['remedy']}" for finding in findings},
    )


async def diagnose(address: str, *options: str) -> Told:
    """The command, while servers of this loop go on."""
    return await asyncio.to_thread(run, address, *options)


@dataclass(frozen=True)
class Certificate:
    """A certificate that vouches for itself, and its key."""

    file: Path
    key: Path

    @classmethod
    def make(cls, folder: Path, *, name: str = "localhost", days: int = 365) -> Certificate:
        """For a name, valid for some days."""
        made = cls(folder / "cert.pem", folder / "key.pem")
        request = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days {days} -subj /CN={name}"
        names = ["-addext", f"subjectAltName=DNS:{name}", "-keyout", str(made.key), "-out", str(made.file)]
        subprocess.run(["openssl", *request.split(), *names], check=True, capture_output=True)
        return made


@asynccontextmanager
async def tls_proxy(port: int, certificate: Certificate, *, protocols: tuple[str, ...] = ("h2",)) -> AsyncIterator[str]:
    """What stands before a service in production: it ends TLS and passes on what is in it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.file, certificate.key)
    context.set_alpn_protocols(list(protocols))
    async with forwarding(port, tls=context) as proxy_port:
        yield f"localhost:{proxy_port}"


async def test_all_is_well(deployment: Deployment) -> None:
    port = await deployment.service()
    key = (await deployment.caller(port)).api_key
    told = await diagnose(f"127.0.0.1:{port}", "--api-key", key)
    assert told.exit_code == 0
    expected = ("packages", "address", "connection", "service", "api key", "clock")
    assert told.verdicts == dict.fromkeys(expected, "ok")
    assert "contract cogreel.v1" in told.texts["packages"]


async def test_all_is_well_behind_tls_with_a_certificate_for_a_year_and_for_a_day(
    deployment: Deployment, tmp_path: Path
) -> None:
    port = await deployment.service()
    key = (await deployment.caller(port)).api_key
    for days, verdict in ((365, "ok"), (1, "warning")):
        certificate = Certificate.make(tmp_path, days=days)
        async with tls_proxy(port, certificate) as where:
            told = await diagnose(f"https://{where}", "--api-key", key, "--ca-file", str(certificate.file))
        assert (told.exit_code, told.verdicts["tls"], told.verdicts["api key"]) == (0, verdict, "ok")


async def test_certificates_that_are_not_trusted_or_for_another_name(deployment: Deployment, tmp_path: Path) -> None:
    port = await deployment.service()
    certificate = Certificate.make(tmp_path, name="elsewhere")
    async with tls_proxy(port, certificate) as where:
        stranger = await diagnose(f"https://{where}")
        misnamed = await diagnose(f"https://{where}", "--ca-file", str(certificate.file))
    for told, said in ((stranger, "self-signed"), (misnamed, "localhost")):
        assert (told.exit_code, told.verdicts["tls"]) == (ExitCode.UNAVAILABLE, "problem")
        assert said in told.texts["tls"]
        assert "service" not in told.verdicts  # nothing is said of what lies behind


async def test_a_proxy_without_http_2(deployment: Deployment, tmp_path: Path) -> None:
    certificate = Certificate.make(tmp_path)
    async with tls_proxy(await deployment.service(), certificate, protocols=("http/1.1",)) as where:
        told = await diagnose(f"https://{where}", "--ca-file", str(certificate.file))
    assert "HTTP/2" in told.texts["tls"]


async def test_tls_where_there_is_none_and_none_where_there_is(deployment: Deployment, tmp_path: Path) -> None:
    port = await deployment.service()
    told = await diagnose(f"https://127.0.0.1:{port}")
    assert f"Without TLS the address is 127.0.0.1:{port}" in told.texts["tls"]
    async with tls_proxy(port, Certificate.make(tmp_path)) as where:
        told = await diagnose(where)
    assert (told.exit_code, f"https://{where}" in told.texts["service"]) == (ExitCode.UNAVAILABLE, True)


async def test_keys_that_are_missing_unknown_and_malformed(deployment: Deployment) -> None:
    address = f"127.0.0.1:{await deployment.service()}"
    for options, said in (((), "there is none"), (("--api-key", f"{'0' * 16}:{'x' * 43}"), "unknown or revoked")):
        told = await diagnose(address, *options)
        assert (told.exit_code, told.verdicts["api key"]) == (ExitCode.NOT_ALLOWED, "problem")
        assert said in told.texts["api key"]
    assert "has the form" in (await diagnose(address, "--api-key", "nonsense")).texts["api key"]


def test_nothing_listens() -> None:
    told = run(f"127.0.0.1:{choose_ports(['nobody'])['nobody']}")
    assert (told.exit_code, told.verdicts["connection"]) == (ExitCode.UNAVAILABLE, "problem")
    assert "refused" in told.texts["connection"]


def test_a_name_that_does_not_exist() -> None:
    assert "cannot be resolved" in run("cogreel.invalid:50051").texts["connection"]


def test_an_address_that_is_none() -> None:
    told = run("ftp://there")
    assert (told.exit_code, told.verdicts["address"]) == (ExitCode.INVALID_INPUT, "problem")


def test_another_grpc_service(service: ScriptedService) -> None:
    assert "not a CogReel service" in run(service.address).texts["service"]


async def test_something_that_is_not_grpc() -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        told = await diagnose(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert "no answer of gRPC" in told.texts["service"]


async def test_a_proxy_in_the_environment(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    port = await deployment.service()
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{choose_ports(['nobody'])['nobody']}")
    told = await diagnose(f"127.0.0.1:{port}")
    assert "no_grpc_proxy=127.0.0.1" in told.texts["proxy"]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert "proxy" not in (await diagnose(f"127.0.0.1:{port}")).verdicts


def test_the_text_says_what_to_do() -> None:
    result = CliRunner().invoke(main, ["--address", "ftp://there", "doctor"])
    assert "why: No call reaches the service." in result.stdout
    assert result.stdout.splitlines()[-1] == "1 problem; 1 ok"
