"""`cogreeld gateway`, alone before a service."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import sys
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner

from host.cli import main
from host.development_tls import development_tls
from host.engines.ports import choose_ports
from tests.deployment import eventually


async def test_it_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    port = choose_ports(["http"])["http"]
    tls = development_tls(tmp_path)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "host.cli", "gateway"),
        *("--listen", f"127.0.0.1:{port}", "--service", "127.0.0.1:1"),
        env=os.environ
        | {
            "COGREEL_GATEWAY_CERTIFICATE": str(tls.certificate),
            "COGREEL_GATEWAY_PRIVATE_KEY": str(tls.private_key),
        },
        stderr=asyncio.subprocess.PIPE,
    )
    trust = ssl.create_default_context(cafile=tls.authority)
    try:
        async with httpx2.AsyncClient(base_url=f"https://127.0.0.1:{port}", verify=trust) as http:

            async def health() -> int | None:
                with contextlib.suppress(httpx2.ConnectError):
                    return (await http.get("/health")).status_code
                return None

            await eventually(health, lambda status: status == 200, within_s=30)
        process.send_signal(signal.SIGTERM)
        _, printed = await asyncio.wait_for(process.communicate(), 20)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert process.returncode == 0, printed.decode()
    assert "Traceback" not in printed.decode()


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["--listen", "0.0.0.0:8080"], {}, "keys would travel in the clear"),
        ([], {"COGREEL_GATEWAY_CERTIFICATE": "/no/such"}, "go together"),
        (["--listen", "127.0.0.1:http"], {}, "not of the form host:port"),
        (["--service", "ftp://host", "--listen", "127.0.0.1:0"], {}, "begins with ftp://"),
        (
            ["--listen", "127.0.0.1:0"],
            {"COGREEL_GATEWAY_CERTIFICATE": "/no/such", "COGREEL_GATEWAY_PRIVATE_KEY": "/no/such"},
            "No such file",
        ),
    ],
)
def test_what_cannot_be_served_is_told_in_a_line(arguments: list[str], environment: dict[str, str], said: str) -> None:
    result = CliRunner().invoke(main, ["gateway", *arguments], env=environment)
    assert result.exit_code != 0
    assert said in result.output
