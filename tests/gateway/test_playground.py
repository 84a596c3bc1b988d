"""The playground as files: what is served, to whom, and what the page may do. `tests/playground` looks at it."""

from __future__ import annotations

import re

import httpx2
import pytest

from tests.gateway.door import Door


@pytest.fixture
def anyone(door: Door) -> httpx2.AsyncClient:
    """Someone without a key."""
    return httpx2.AsyncClient(base_url=door.url)


async def test_the_page_and_all_that_it_names_are_served_without_a_key(door: Door, anyone: httpx2.AsyncClient) -> None:
    page = await anyone.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert f'name="grpc-port" content="{door.service_port}"' in page.text
    named = set(re.findall(r'(?:src|href)="(playground/[^"]+)"', page.text))
    assert named
    for name in list(named):
        content = (await anyone.get(f"/{name}")).text
        named |= {f"playground/{module}" for module in re.findall(r'from "\./([^"]+)"', content)}
    for name in named:
        answer = await anyone.get(f"/{name}")
        assert answer.status_code == 200, name
        again = await anyone.get(f"/{name}", headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304


async def test_the_page_may_run_no_script_but_its_own(anyone: httpx2.AsyncClient) -> None:
    page = await anyone.get("/")
    rules = dict(rule.partition(" ")[::2] for rule in page.headers["content-security-policy"].split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", page.text)


async def test_other_files_are_not_served(anyone: httpx2.AsyncClient) -> None:
    for path in ("/playground/app.py", "/playground/..%2Fapp.py", "/playground/"):
        assert (await anyone.get(path)).status_code in {404, 405}


async def test_a_video_is_handed_on_to_whom_it_belongs(door: Door, anyone: httpx2.AsyncClient) -> None:
    await door.deployment.worker()
    request_id = await door.submitted()
    assert (await door.http.get(f"/playground/videos/{request_id}")).status_code == 400
    await door.reaches(request_id, "COMPLETED")
    video = await door.http.get(f"/playground/videos/{request_id}")
    assert video.headers["content-type"] == "video/mp4"
    assert video.headers["content-disposition"].startswith("attachment")
    stored = (await door.result(request_id)).json()["video"]
    assert len(video.content) == stored["file_size"] == int(video.headers["content-length"])
    assert (await anyone.get(f"/playground/videos/{request_id}")).status_code == 401
    async with door.stranger() as other:
        assert (await other.http.get(f"/playground/videos/{request_id}")).status_code == 404
