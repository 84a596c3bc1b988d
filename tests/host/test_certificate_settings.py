"""What is said of certificates in settings that cannot be used, before anything is connected to."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from host.settings import Settings
from tests.roles import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_each_error_names_the_setting_and_the_file(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("one")
    other, _ = authority.issue("other")
    nothing, text = tmp_path / "nothing.pem", tmp_path / "text.pem"
    text.write_text("no PEM")
    mismatched = f"{key} holds the key of another certificate than the one in {other}"
    unread = f"{nothing} cannot be read: No such file or directory"
    for prefix, used in (
        ("", Settings.server),
        ("nats_", lambda settings: settings.broker("test")),
        ("gateway_", Settings.gateway),
        ("gateway_service_", Settings.gateway),
    ):
        names = f"{prefix}certificate", f"{prefix}private_key"
        certificate_setting, key_setting = (f"COGREEL_{name.upper()}" for name in names)
        for files, said in (
            ((certificate, None), f"{certificate_setting} and {key_setting} go together"),
            ((nothing, key), f"{certificate_setting}: {unread}"),
            ((text, key), f"{certificate_setting}: {text} holds no certificate in PEM"),
            ((certificate, nothing), f"{key_setting}: {unread}"),
            ((other, key), f"{key_setting}: {mismatched}"),
        ):
            with pytest.raises(ValueError, match=said.replace("(", r"\(")):
                used(Settings.model_validate(dict(zip(names, files, strict=True))))
        assert used(Settings.model_validate(dict(zip(names, (certificate, key), strict=True))))


def test_authorities_are_looked_at_too(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("one")
    nothing = tmp_path / "nothing.pem"
    served = {"certificate": certificate, "private_key": key}
    with pytest.raises(ValueError, match=f"COGREEL_CLIENT_CA_FILE: {nothing} cannot be read"):
        Settings.model_validate(served | {"client_ca_file": nothing}).server()
    with pytest.raises(ValueError, match="COGREEL_CLIENT_CA_FILE asks callers for certificates"):
        Settings.model_validate({"client_ca_file": authority.certificate}).server()
    with pytest.raises(ValueError, match=f"COGREEL_NATS_CA_FILE: {nothing} cannot be read"):
        Settings.model_validate({"nats_ca_file": nothing}).broker("test")
    with pytest.raises(ValueError, match=f"COGREEL_GATEWAY_SERVICE_CA_FILE: {nothing} cannot be read"):
        Settings.model_validate({"gateway_service_ca_file": nothing}).gateway()


@pytest.mark.parametrize("prefix", ["_INBOX.>", "_INBOX.*", ".x", "a b", ""])
def test_an_inbox_prefix_is_plain_tokens(prefix: str) -> None:
    with pytest.raises(ValueError, match="nats_inbox_prefix"):
        Settings.model_validate({"nats_inbox_prefix": prefix})


async def test_a_service_that_cannot_read_its_certificate_ends_with_a_line_that_names_it(tmp_path: Path) -> None:
    missing = tmp_path / "tls.crt"
    command = (sys.executable, "-m", "host.cli", "serve", "--listen", "0.0.0.0:0")
    settings = {"COGREEL_CERTIFICATE": str(missing), "COGREEL_PRIVATE_KEY": str(missing), "PATH": ""}
    done = await asyncio.to_thread(
        subprocess.run, command, env=settings, capture_output=True, text=True, check=False, timeout=60
    )
    said = f"Error: COGREEL_CERTIFICATE: {missing} cannot be read: No such file or directory\n"
    assert (done.returncode, done.stderr) == (1, said)
