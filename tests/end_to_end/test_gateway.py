"""The gateway that `cogreeld up` runs, over HTTPS as Python's published client wants it."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from httpx2 import AsyncClient

from host.development_tls import development_tls
from host.settings import HOSTED_ENDPOINT
from tests.deployment import eventually
from tests.end_to_end.tree import Tree
from tests.gateway.door import QUICK


@pytest_asyncio.fixture(scope="module")
async def tree(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tree]:
    async with Tree(tmp_path_factory.mktemp("https"), devices="simulated", arguments=("--https",)) as running:
        yield running


@pytest_asyncio.fixture
async def http(tree: Tree) -> AsyncIterator[AsyncClient]:
    """Someone who trusts the development authority."""
    trust = ssl.create_default_context(cafile=tree.data_dir / "tls/authority.pem")
    headers = {"authorization": f"Key {tree.ready['api_key']}"}
    async with AsyncClient(base_url=tree.ready["http"], verify=trust, headers=headers, timeout=30) as http:
        yield http


async def test_it_serves_whoever_trusts_the_development_authority(tree: Tree, http: AsyncClient) -> None:
    assert tree.ready["http"].startswith("https://127.0.0.1:")
    answer = await http.post(f"/run/{HOSTED_ENDPOINT}", json=QUICK | {"seed": 5})
    assert answer.status_code == 200
    assert answer.json()["seed"] == 5
    with pytest.raises(httpx2.ConnectError):
        async with AsyncClient() as stranger:
            await stranger.get(f"{tree.ready['http']}/health")


async def test_it_says_how_each_client_is_made_to_trust_it(tree: Tree) -> None:
    authority = tree.data_dir / "tls/authority.pem"
    printed = tree.output.read_text()
    for variable in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE"):
        assert f"{variable}={authority}" in printed


async def test_it_comes_back_when_it_is_killed(tree: Tree, http: AsyncClient) -> None:
    await tree.kill("gateway")

    async def health() -> object:
        with contextlib.suppress(httpx2.ConnectError):
            return (await http.get("/health")).json()
        return None

    await eventually(health, lambda seen: seen == {"status": "ok"})


def test_the_authority_outlives_a_restart_and_its_key_is_private(tmp_path: Path) -> None:
    made = development_tls(tmp_path)
    authority, certificate = made.authority.read_bytes(), made.certificate.read_bytes()
    development_tls(tmp_path)
    assert made.authority.read_bytes() == authority
    assert made.certificate.read_bytes() != certificate
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())
