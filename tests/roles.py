"""A NATS server of the roles in deploy/nats/roles.conf, by TLS with certificates on both sides."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nats
import trustme

from host.children import ChildSpec, KeptChild
from host.engines.engine import find_program
from host.engines.ports import choose_ports
from jobs.broker import BrokerSettings
from jobs.nats_tls import NatsTls

Role = Literal["service", "worker", "operator"]
ROLES: tuple[Role, ...] = ("service", "worker", "operator")
CONFIGURATION = Path(__file__).parents[1] / "deploy/nats/roles.conf"


class Authority:
    """An authority whose certificates and keys lie in a folder, as cert-manager would mount them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = trustme.CA()
        self.certificate = folder / "ca.crt"
        self._made.cert_pem.write_to_path(str(self.certificate))

    def issue(self, name: str, *hosts: str) -> tuple[Path, Path]:
        """A certificate for a server or a client, and its key; issued again, they replace those before."""
        issued = self._made.issue_cert(*(hosts or (f"{name}.example.org",)), common_name=name)
        certificate, key = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        issued.private_key_pem.write_to_path(str(key))
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return certificate, key


@dataclass(frozen=True)
class RoleNats:
    """The server: how each role reaches it."""

    port: int
    authority: Authority

    def url(self, role: Role) -> str:
        """Where it is, with the role's password."""
        return f"tls://{role}:{role}-password@localhost:{self.port}"

    def settings(self, role: Role, *, inbox_prefix: str | None = None) -> BrokerSettings:
        """As a process of the role has them."""
        certificate, key = self.authority.issue(role)
        tls = NatsTls(self.authority.certificate, certificate, key, first=True)
        return BrokerSettings(url=self.url(role), name=role, tls=tls, inbox_prefix=inbox_prefix or f"_INBOX_{role}")

    def environment(self, role: Role) -> dict[str, str]:
        """The same as variables, for a process of the role."""
        certificate, key = self.authority.issue(role)
        return {
            "COGREEL_NATS_URL": self.url(role),
            "COGREEL_NATS_CA_FILE": str(self.authority.certificate),
            "COGREEL_NATS_CERTIFICATE": str(certificate),
            "COGREEL_NATS_PRIVATE_KEY": str(key),
            "COGREEL_NATS_TLS_FIRST": "true",
            "COGREEL_NATS_INBOX_PREFIX": f"_INBOX_{role}",
        }


@asynccontextmanager
async def role_nats(folder: Path) -> AsyncIterator[RoleNats]:
    """The server for the length of the block."""
    authority = Authority(folder)
    certificate, key = authority.issue("nats", "localhost")
    port = choose_ports(["client"])["client"]
    shutil.copy(CONFIGURATION, folder)
    passwords = [f'{role.upper()}_PASSWORD: "{role}-password"' for role in ROLES]
    (folder / "passwords.conf").write_text("\n".join(passwords) + "\n")
    config = folder / "nats.conf"
    config.write_text(
        f'listen: "127.0.0.1:{port}"\n'
        "max_payload: 8MB\n"
        "include roles.conf\n"
        "tls {\n"
        f'  cert_file: "{certificate}"\n  key_file: "{key}"\n  ca_file: "{authority.certificate}"\n'
        "  verify: true\n  handshake_first: auto\n"
        "}\n"
        f'jetstream {{\n  store_dir: "{folder}"\n}}\n'
    )
    server = RoleNats(port, authority)

    async def answers(_: object) -> None:
        tls = ssl.create_default_context(cafile=authority.certificate)
        tls.load_cert_chain(*authority.issue("reader"))
        async with await nats.connect(server.url("operator"), tls=tls, inbox_prefix="_INBOX_operator"):
            pass

    argv = (str(find_program("nats-server")), "--config", str(config))
    async with KeptChild(ChildSpec("nats-server", argv, folder / "nats.log"), ready=answers):
        yield server
