"""The published Python client, unmodified, over the calls of its documentation."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from host.settings import HOSTED_ENDPOINT
from tests.end_to_end.tree import Tree
from tests.published_clients.running import authority_of, report_of


async def tour(tree: Tree, *more: str) -> dict[str, Any]:
    url: str = tree.ready["http"]
    host = url.removeprefix("https://")
    environment = {
        "FAL_KEY": tree.ready["api_key"],
        "FAL_RUN_HOST": f"{host}/run",
        "FAL_QUEUE_RUN_HOST": host,
        "SSL_CERT_FILE": authority_of(tree),
    }
    return await report_of(sys.executable, "tour.py", url, HOSTED_ENDPOINT, *more, environment=environment)


async def test_every_call_of_the_documentation_works(tree: Tree) -> None:
    report = await tour(tree)
    assert report["subscribed"].keys() == {"video", "timings", "seed", "prompt"}
    assert report["subscribed"]["seed"] == 11
    assert set(report["updates"]) <= {"Queued", "InProgress", "Completed"}
    assert report["logs"]
    assert report["events"][-1] == "Completed"
    assert report["result"] == report["again"] == 12
    assert report["metrics"]["inference_time"] > 0
    assert report["ran"] == 13
    assert report["cancelled"]["status"] == 499
    assert report["cancelled"]["error_type"] == "client_cancelled"
    assert report["cancelled_status"] == ["Completed", "client_cancelled"]
    assert report["uploaded"]
    assert report["pictures"] == dict.fromkeys(("url", "image", "data"), "video/mp4")
    assert report["invalid"]["status"] == 422
    assert report["invalid"]["message"][0]["loc"] == ["body", "num_inference_steps"]
    assert report["unknown"]["status"] == 404
    assert report["stranger"]["status"] == 401
    assert report["async"] == {"subscribed": 14, "uploaded": True}


@pytest.mark.other_languages
async def test_a_file_above_its_threshold_goes_up_in_parts(tree: Tree) -> None:
    assert await tour(tree, "large") == {"same": True, "in_parts": True}
