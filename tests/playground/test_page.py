"""The page around the requests: the key, the form and its errors, files, code, small screens."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.media import picture
from tests.playground.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


async def test_a_wrong_key_is_told_and_the_right_one_is_kept(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.comes(key="ck_wrong")
    await expect(page.locator("#key-error")).to_contain_text("does not know this key")
    await expect(page.get_by_label("Key", exact=True)).to_have_attribute("aria-invalid", "true")
    await page.get_by_label("Key", exact=True).fill(visitor.door.api_key)
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Endpoint")).to_be_enabled()
    await page.reload()
    await expect(page.get_by_label("Endpoint")).to_be_enabled()
    await expect(page.locator("#key-dialog")).to_be_hidden()


async def test_the_form_has_what_the_schema_has(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.comes()
    endpoint = visitor.door.endpoint
    await page.get_by_label("Endpoint").select_option(f"{endpoint}/video")
    document = (await visitor.door.http.get(f"/openapi.json?endpoint_id={endpoint}/video")).json()
    (schema,) = (found for name, found in document["components"]["schemas"].items() if name.endswith("Input"))
    names = [await field.get_attribute("data-name") for field in await page.locator("[data-name]").all()]
    assert sorted(filter(None, names)) == sorted(schema["properties"])
    steps = schema["properties"]["num_inference_steps"]
    await expect(page.get_by_label("Inference steps", exact=True)).to_have_value(str(steps["default"]))
    slider = page.get_by_label("Inference steps, slider")
    await expect(slider).to_have_attribute("max", str(steps["maximum"]))
    await slider.fill("7")
    await expect(page.get_by_label("Inference steps", exact=True)).to_have_value("7")
    await page.get_by_role("button", name="Back to the defaults").click()
    await expect(page.get_by_label("Inference steps", exact=True)).to_have_value(str(steps["default"]))


async def test_errors_stand_at_their_fields(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.comes()
    await visitor.asks(" ")
    prompt = page.get_by_label("Prompt required")
    await expect(prompt).to_be_focused()
    await expect(prompt).to_have_accessible_description(re.compile("Field required"))
    await prompt.fill("a bird")
    steps = page.get_by_label("Inference steps", exact=True)
    await steps.fill("99")
    await page.get_by_role("button", name="Generate").click()
    await expect(steps).to_have_attribute("aria-invalid", "true")
    await expect(steps).to_have_accessible_description(re.compile("less than or equal to 50"))
    await steps.fill("5")
    await page.get_by_label("Width").fill("17")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator("[data-name=video_size] .error")).to_have_text("Width must be a multiple of 16.")
    await expect(steps).not_to_have_attribute("aria-invalid", "true")


@pytest.mark.parametrize("way", ["dialog", "drop"])
async def test_a_picture_is_uploaded_and_becomes_a_video(visitor: Visitor, way: str) -> None:
    page = visitor.page
    await visitor.comes()
    await page.get_by_label("Endpoint").select_option(f"{visitor.door.endpoint}/image")
    content = picture()
    if way == "dialog":
        async with page.expect_file_chooser() as choosing:
            await page.get_by_role("button", name="Choose an image").click()
        await (await choosing.value).set_files({"name": "sea.png", "mimeType": "image/png", "buffer": content})
    else:
        transfer = await page.evaluate_handle(
            """bytes => {
                const transfer = new DataTransfer();
                transfer.items.add(new File([new Uint8Array(bytes)], "sea.png", { type: "image/png" }));
                return transfer;
            }""",
            list(content),
        )
        await page.locator(".drop").dispatch_event("drop", {"dataTransfer": transfer})
    await expect(page.locator(".said")).to_contain_text("sea.png")
    await expect(page.locator(".said")).to_contain_text("uploaded")
    await expect(page.locator(".preview img")).to_be_visible()
    await visitor.door.deployment.worker()
    await visitor.asks("the sea")
    await visitor.plays()


async def test_a_file_of_the_wrong_kind_is_told_before_it_is_sent(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.comes()
    await page.get_by_label("Endpoint").select_option(f"{visitor.door.endpoint}/video")
    async with page.expect_file_chooser() as choosing:
        await page.get_by_role("button", name="Choose a video").click()
    await (await choosing.value).set_files({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"words"})
    await expect(page.locator(".said")).to_have_text("notes.txt is not a video.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_phone_has_nothing_to_scroll_sideways(visitor: Visitor, scheme: str) -> None:
    page = visitor.page
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await visitor.door.deployment.worker()
    await visitor.comes()
    await page.locator("#settings summary").click()
    await visitor.asks("a_prompt_without_any_space_" * 8)
    await visitor.plays()
    await page.locator("#code-card summary").click()
    await page.locator("#log-card summary").click()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    tabs = page.get_by_role("tablist", name="Language")
    assert await tabs.evaluate("tabs => tabs.scrollWidth <= tabs.clientWidth")  # none is out of sight


async def test_the_page_is_used_by_keyboard_alone(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.door.deployment.worker()
    await page.goto(visitor.door.url)
    await expect(page.get_by_label("Key", exact=True)).to_be_focused()
    await page.keyboard.type(visitor.door.api_key)
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Endpoint")).to_be_enabled()
    for _ in range(30):
        if await page.evaluate("document.activeElement.id") == "field-prompt":
            break
        await page.keyboard.press("Tab")
    await page.keyboard.type("a bird")
    await page.keyboard.press("Control+Enter")
    await expect(page.get_by_role("status").filter(has_text="The video is ready")).to_be_attached()
