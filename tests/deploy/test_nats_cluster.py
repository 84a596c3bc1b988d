"""The three NATS servers of the production overlay, with the configuration that is installed: only addresses and paths
are those of this machine.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from host.children import ChildSpec, KeptChild
from host.engines.ports import choose_ports
from host.settings import Settings
from jobs.broker import ApiError, Broker
from jobs.errors import BrokerUnavailableError
from jobs.keys import create_key, list_keys
from jobs.streams import ensure_streams
from jobs.subjects import REQ
from tests.deploy.test_manifests import nats_files, settings_of
from tests.waiting import seen

NAMES = ("nats-0", "nats-1", "nats-2")


def certify(folder: Path) -> None:
    """An authority, and one certificate for all servers, as cert-manager would write them."""
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1")
    authority = ("-CA", "ca.crt", "-CAkey", "ca.key")
    names = ("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    uses = ("-addext", "extendedKeyUsage=serverAuth,clientAuth")
    for command in (
        ("req", "-x509", *curve, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt"),
        (
            "req",
            "-x509",
            *curve,
            *authority,
            *names,
            *uses,
            "-subj",
            "/CN=nats",
            "-keyout",
            "tls.key",
            "-out",
            "tls.crt",
        ),
    ):
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)


@dataclass(frozen=True)
class Cluster:
    """Three servers that run, and how to reach them."""

    servers: str
    password: str
    authority: Path
    ports: dict[str, int]

    def settings(self, *, scheme: str = "tls") -> Settings:
        """Those of the overlay, with the Secret's URL."""
        installed = settings_of("production", "cogreel-service")
        names = ("nats_replicas", "nats_inbox_prefix", "nats_tls_first")
        own = {name: installed[f"COGREEL_{name.upper()}"] for name in names}
        urls = [f"{scheme}://service:{self.password}@{server}" for server in self.servers.split(",")]
        return Settings.model_validate_strings(own | {"nats_url": ",".join(urls)})


@pytest_asyncio.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    ports = choose_ports([f"{name} {kind}" for name in NAMES for kind in ("4222", "6222", "8222")])
    certify(folder)
    password = secrets.token_hex(8)
    passwords = "".join(f'{role}_PASSWORD: "{password}"\n' for role in ("SERVICE", "WORKER", "OPERATOR"))
    files = nats_files("production")
    async with AsyncExitStack() as stack:
        for name in NAMES:
            text = files["nats.conf"]
            for kind in ("4222", "6222", "8222"):
                text = text.replace(f'"0.0.0.0:{kind}"', f'"127.0.0.1:{ports[f"{name} {kind}"]}"')
            for peer in NAMES:
                text = text.replace(f"{peer}.nats-peers:6222", f"localhost:{ports[f'{peer} 6222']}")
            own = folder / name
            own.mkdir()
            (own / "passwords.conf").write_text(passwords)
            (own / "roles.conf").write_text(files["roles.conf"])
            (own / "nats.conf").write_text(
                text.replace("/etc/nats-tls", str(folder)).replace("/data", str(own / "data"))
            )
            argv = (str(Path(sys.executable).with_name("nats-server")), "--config", str(own / "nats.conf"))
            await stack.enter_async_context(KeptChild(ChildSpec(name, argv, own / "log", env={"POD_NAME": name})))
        servers = ",".join(f"localhost:{ports[f'{name} 4222']}" for name in NAMES)
        yield Cluster(servers, password, folder / "ca.crt", ports)


async def test_it_keeps_three_copies_for_clients_that_trust_its_authority(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "SSL_CERT_FILE" in settings_of("production", "cogreel-service")
    monkeypatch.setenv("SSL_CERT_FILE", str(cluster.authority))

    async def copies() -> int:
        try:
            async with Broker(cluster.settings().broker("test")) as broker:
                await ensure_streams(broker)
                state = (await broker.api(f"STREAM.INFO.{REQ}", {}))["cluster"]
        except (BrokerUnavailableError, ApiError):
            return 0
        assert isinstance(state, dict)
        return 1 + sum(bool(copy["current"]) for copy in state.get("replicas", []))

    await seen(copies, lambda found: found == len(NAMES), within_s=40)
    async with Broker(cluster.settings().broker("test")) as broker:
        key, _ = await create_key(broker, "studio")
        assert key.key_id in {known.key_id for known in await list_keys(broker)}


async def test_a_client_that_does_not_trust_its_authority_is_not_served(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setattr("jobs.broker.CONNECT_WITHIN_S", 2.0)
    with pytest.raises(BrokerUnavailableError, match="certificate"):
        async with Broker(cluster.settings().broker("test")):
            pass
