"""Someone who looks at the page, by what is written on it."""

from __future__ import annotations

from playwright.async_api import ConsoleMessage, Locator, Page, expect

from tests.deployment import eventually
from tests.gateway.door import Door


class Visitor:
    """A page in a browser, and the gateway that it comes from."""

    def __init__(self, door: Door, page: Page) -> None:
        self.door = door
        self.page = page
        self.faults: list[str] = []
        """What went wrong in the page itself: exceptions, and what its own policy forbids."""
        page.set_default_timeout(45_000)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._note)

    def _note(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            self.faults.append(message.text)

    async def comes(self, *, key: str | None = None) -> None:
        """Open the page and enter a key, by default the right one."""
        await self.page.goto(self.door.url)
        await self.page.get_by_label("Key", exact=True).fill(self.door.api_key if key is None else key)
        await self.page.get_by_role("button", name="Use this key").click()
        if key is None:
            await expect(self.page.get_by_label("Endpoint")).to_be_enabled()

    async def asks(self, prompt: str = "butterflies", *, steps: int = 3) -> None:
        """Send a request that is quickly painted."""
        await self.page.get_by_label("Prompt required").fill(prompt)
        await self.settles(steps=steps)
        await self.page.get_by_role("button", name="Generate").click()

    async def settles(self, *, steps: int) -> None:
        """Enter settings that are quickly painted."""
        await self.page.get_by_label("Inference steps", exact=True).fill(str(steps))
        await self.page.get_by_label("Use RIFE").uncheck()
        await self.page.get_by_label("Custom").check(force=True)
        await self.page.get_by_label("Width").fill("64")
        await self.page.get_by_label("Height").fill("64")

    @property
    def headline(self) -> Locator:
        """The words on the stage."""
        return self.page.locator("#headline")

    @property
    def video(self) -> Locator:
        """The player."""
        return self.page.locator("#video")

    @property
    def rows(self) -> Locator:
        """The list of requests."""
        return self.page.locator("#history li")

    async def plays(self) -> None:
        """Wait until the browser can play the video on the stage."""
        await expect(self.video).to_be_visible()
        await eventually(lambda: self.video.evaluate("video => video.readyState"), lambda state: state >= 2)

    async def step(self) -> int:
        """The step that the progress bar stands at; -1 where there is none."""
        step = await self.page.evaluate("Number(document.getElementById('reel').getAttribute('aria-valuenow') ?? -1)")
        return int(step)
