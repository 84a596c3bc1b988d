"""A browser, and someone before the page of a gateway of the test's own."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from tests.deployment import Deployment
from tests.gateway.door import door_of
from tests.playground.visitor import Visitor

_ARGUMENTS = (
    "--no-sandbox",  # it cannot be set up by root, and only pages of ours are looked at
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest_asyncio.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium, for all tests."""
    chromium = shutil.which("chromium")
    assert chromium is not None, "there is no Chromium: run make test-browser"
    expect.set_options(timeout=45_000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture
async def visitor(browser: Browser, deployment: Deployment) -> AsyncIterator[Visitor]:
    """Someone whose browser has not been here before. There is no worker yet, and every kind of input is served."""
    deployment.serve_files()
    async with door_of(deployment) as door:
        context = await browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
        visiting = Visitor(door, await context.new_page())
        yield visiting
        await context.close()
        assert not visiting.faults
