"""The published JavaScript clients, unmodified, over the calls of the hosted model's documentation."""

from __future__ import annotations

from typing import Any

import pytest

from host.settings import HOSTED_ENDPOINT
from tests.end_to_end.tree import Tree
from tests.published_clients.running import FOLDER, authority_of, report_of

pytestmark = pytest.mark.other_languages


async def tour(tree: Tree, client: str, way: str, *more: str) -> dict[str, Any]:
    assert (FOLDER / "node_modules" / "@fal-ai" / client).exists(), "it is not installed: run make test-clients"
    command = ("node", "tour.js", client, way, tree.ready["http"], tree.ready["api_key"], HOSTED_ENDPOINT, *more)
    return await report_of(*command, environment={"NODE_EXTRA_CA_CERTS": authority_of(tree)})


@pytest.mark.parametrize(
    ("client", "way"),
    [
        ("serverless-client", "middleware"),
        ("serverless-client", "fetch"),
        ("client", "middleware"),
        ("client", "fetch"),
        ("client", "proxy"),
    ],
)
async def test_every_call_of_the_documentation_works(tree: Tree, client: str, way: str) -> None:
    report = await tour(tree, client, way)
    assert report["subscribed"].keys() == {"video", "timings", "seed", "prompt"}
    assert report["subscribed"]["seed"] == 11
    assert report["updates"][-1] == report["streamed"][-1] == "COMPLETED"
    assert report["logs"]
    assert report["followed"] >= 0
    assert report["status"]["status"] == "COMPLETED"
    assert report["status"]["logs"][0].keys() == {"message", "timestamp", "level", "source"}
    assert report["result"] == 12
    assert report["sameId"]
    assert (report["cancelled"]["status"], report["cancelled"]["body"]["error_type"]) == (499, "client_cancelled")
    assert report["ran"] == 13
    assert report["text"] == "Hello, World!"
    assert report["pictures"] == dict.fromkeys(("url", "blob", "data"), "video/mp4")
    assert (report["invalid"]["name"], report["invalid"]["status"]) == ("ValidationError", 422)
    assert report["invalid"]["body"]["detail"][0]["loc"] == ["body", "num_inference_steps"]
    assert report["invalid"]["body"]["detail"][0]["type"] == "less_than_equal"
    assert report["empty"]["body"]["detail"][0] == {
        "loc": ["body", "prompt"],
        "msg": "Field required",
        "type": "missing",
    }
    assert (report["unknown"]["name"], report["unknown"]["status"]) == ("ApiError", 404)
    assert report["hook"]["result"]["request_id"]
    assert report["stranger"]["status"] == 401


@pytest.mark.parametrize("client", ["client"])
async def test_a_file_above_its_threshold_goes_up_in_parts(tree: Tree, client: str) -> None:
    assert await tour(tree, client, "middleware", "large") == {"same": True}
