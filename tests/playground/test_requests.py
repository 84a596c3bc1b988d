"""A request on the page, from the prompt to the video."""

from __future__ import annotations

import operator
import re
from functools import partial

import pytest
from playwright.async_api import expect

from tests.deployment import eventually
from tests.playground.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


async def test_a_prompt_becomes_a_video_that_plays(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.comes()
    await visitor.asks("butterflies over a meadow")
    await expect(visitor.headline).to_have_text("In the queue")
    await expect(page.locator("#subline")).to_have_text("Next in line")
    await expect(visitor.rows).to_contain_text(["Queued"])
    await visitor.door.deployment.worker()
    await visitor.plays()
    assert await visitor.video.evaluate("video => video.duration") > 0.5
    await visitor.video.evaluate("video => video.play()")
    await eventually(lambda: visitor.video.evaluate("video => video.currentTime"), lambda time: time > 0)
    await expect(page.locator("#facts")).to_contain_text("seed")
    await expect(visitor.rows).to_contain_text(["Done"])
    await page.locator("#log-card summary").click()
    await expect(page.get_by_role("log")).to_contain_text("Attempt 1 on tester")


async def test_progress_moves_with_the_steps_and_tells_the_time_left(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.door.deployment.worker(step_s=0.5)
    await visitor.comes()
    await visitor.asks(steps=20)
    progress = page.get_by_role("progressbar", name="Progress")
    seen: list[int] = []
    for _ in range(3):
        least = (seen or [0])[-1] + 1
        seen.append(await eventually(visitor.step, partial(operator.le, least), within_s=30))
    assert await progress.get_attribute("aria-valuemax") == "20"
    await expect(visitor.headline).to_have_text("Denoising")
    await expect(page.locator("#facts")).to_contain_text("left")
    await expect(page.locator("#rail [aria-current=step]")).to_have_text("denoise")
    await page.get_by_role("button", name="Cancel").click()
    await expect(visitor.headline).to_have_text("Cancelled")


async def test_a_running_request_is_cancelled(visitor: Visitor) -> None:
    await visitor.door.deployment.worker(step_s=1)
    await visitor.comes()
    await visitor.asks(steps=50)
    await expect(visitor.headline).to_have_text("Denoising")
    await visitor.page.get_by_role("button", name="Cancel").click()
    await expect(visitor.headline).to_have_text("Cancelled")
    await expect(visitor.rows).to_contain_text(["Cancelled"])


async def test_a_page_that_is_loaded_again_goes_on_with_the_running_request(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.door.deployment.worker(step_s=0.2)
    await visitor.comes()
    await visitor.asks("a long one", steps=30)
    await expect(visitor.headline).to_have_text("Denoising")
    await page.goto("about:blank")
    await page.goto(visitor.door.url)
    await expect(visitor.headline).to_have_text("Denoising")
    await expect(page.get_by_label("Prompt required")).to_have_value("a long one")
    await expect(page.get_by_role("progressbar", name="Progress")).to_have_attribute("aria-valuemax", "30")
    await page.get_by_role("button", name="Cancel").click()
    await expect(visitor.headline).to_have_text("Cancelled")


async def test_a_failed_request_says_why(visitor: Visitor) -> None:
    page, deployment = visitor.page, visitor.door.deployment
    deployment.card.max_loras = 1
    await deployment.worker()
    await visitor.comes()
    await visitor.settles(steps=3)
    loras = page.get_by_role("group", name="LoRAs")
    await loras.get_by_role("button", name="Add").click()
    await expect(loras.get_by_label("Path")).to_be_focused()
    await page.get_by_label("Prompt required").fill("in oil")
    await page.get_by_role("button", name="Generate").click()
    await expect(loras.locator(".error")).to_have_text("1 path Field required.")
    await loras.get_by_label("Path").fill("owner/name")
    await page.get_by_role("button", name="Generate").click()
    await expect(visitor.headline).to_have_text("It failed")
    await expect(page.locator("#subline")).to_contain_text("owner/name")
    await expect(page.locator("#facts")).to_have_text(re.compile("request [0-9a-f-]{36}"))
    await expect(page.get_by_role("log")).to_contain_text("Attempt 1 on tester")
    await expect(visitor.rows).to_contain_text(["Failed"])


async def test_a_video_is_downloaded(visitor: Visitor) -> None:
    await visitor.door.deployment.worker()
    await visitor.comes()
    await visitor.asks()
    await visitor.plays()
    async with visitor.page.expect_download() as saving:
        await visitor.page.get_by_role("button", name="Download").click()
    download = await saving.value
    assert (await download.path()).read_bytes()[4:8] == b"ftyp"
    assert download.suggested_filename.endswith(".mp4")


async def test_an_earlier_request_is_shown_again_with_its_settings(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.door.deployment.worker()
    await visitor.comes()
    for prompt in ("the first", "the second"):
        await visitor.asks(prompt)
        await visitor.plays()
        await expect(visitor.video).to_have_attribute("aria-label", f"Video: {prompt}")
    await page.get_by_role("button", name="the first").first.click()
    await expect(visitor.video).to_have_attribute("aria-label", "Video: the first")
    await visitor.plays()
    await page.get_by_role("button", name="Use these settings").click()
    await expect(page.get_by_label("Prompt required")).to_have_value("the first")
    await page.get_by_role("button", name="Take off the list: the first").click()
    await expect(visitor.rows).to_have_count(1)
