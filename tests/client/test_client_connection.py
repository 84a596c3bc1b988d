"""Where the client dials, and as whom."""

from __future__ import annotations

from pathlib import Path

import pytest
from cogreel.connection import Connection, parse_address

from tests.roles import Authority


@pytest.mark.parametrize(
    ("address", "target", "secure"),
    [
        ("localhost:7000", "localhost:7000", False),
        ("localhost", "localhost:50051", False),
        ("http://10.0.0.1:7000", "10.0.0.1:7000", False),
        ("grpc://cogreel", "cogreel:50051", False),
        ("https://videos.example.org", "videos.example.org:443", True),
        ("https://videos.example.org:8443/", "videos.example.org:8443", True),
        ("grpcs://[::1]:8443", "[::1]:8443", True),
        ("unix:/run/cogreel.sock", "unix:/run/cogreel.sock", False),
    ],
)
def test_addresses(address: str, target: str, secure: bool) -> None:
    assert parse_address(address) == (target, secure)


@pytest.mark.parametrize(
    "address",
    ["ftp://host:1", "https://", "host:port", "host:99999", "https://user:secret@host", "https://host/path", ":7000"],
)
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        parse_address(address)


def test_arguments_come_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGREEL_ADDRESS", "https://from-environment")
    monkeypatch.setenv("COGREEL_API_KEY", "environment-key\n")
    found = Connection.resolve()
    assert (found.target, found.secure) == ("from-environment:443", True)
    assert found.metadata == (("authorization", "Bearer environment-key"),)
    told = Connection.resolve("localhost:1", "told-key")
    assert (told.target, told.secure) == ("localhost:1", False)
    assert told.metadata == (("authorization", "Bearer told-key"),)


def test_without_a_key_none_is_sent() -> None:
    assert Connection.resolve().metadata == ()


def test_keys_do_not_show() -> None:
    assert "secret" not in repr(Connection.resolve("localhost", "secret"))


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel"])
def test_keys_that_cannot_be_sent_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="API key"):
        Connection.resolve("localhost", key)


def test_a_ca_file_without_tls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="https"):
        Connection.resolve("localhost:1", ca_file=tmp_path / "ca.pem")


def test_a_client_certificate_is_looked_at_before_there_is_a_connection(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("caller")
    _, other = authority.issue("other")
    found = Connection.resolve("https://localhost", client_certificate_file=certificate, client_key_file=key)
    assert found.identity == (key.read_bytes(), certificate.read_bytes())
    with pytest.raises(ValueError, match="go together"):
        Connection.resolve("https://localhost", client_certificate_file=certificate)
    with pytest.raises(ValueError, match="are not a certificate in PEM and its key"):
        Connection.resolve("https://localhost", client_certificate_file=certificate, client_key_file=other)
    with pytest.raises(ValueError, match="a client certificate was given, but the address does not ask for TLS"):
        Connection.resolve("localhost:1", client_certificate_file=certificate, client_key_file=key)


def test_a_client_certificate_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = Authority(tmp_path).issue("caller")
    monkeypatch.setenv("COGREEL_CLIENT_CERTIFICATE_FILE", str(certificate))
    monkeypatch.setenv("COGREEL_CLIENT_KEY_FILE", str(key))
    assert Connection.resolve("https://localhost").identity is not None
    assert Connection.resolve("localhost:1").identity is None
