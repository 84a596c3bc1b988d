"""The OpenAPI document, with the schema of each endpoint."""

from __future__ import annotations

from typing import Any

from cogreel.v1.catalog_pb2 import Endpoint
from httpx2 import AsyncClient

from gateway.input_schema import input_schema
from jobs.cards import load_card
from tests.gateway.door import Door


def schema_of(card: str) -> dict[str, Any]:
    return input_schema(Endpoint(endpoint="fal-ai/cogvideox-5b", card=load_card(card)))


def test_the_schema_has_the_defaults_and_ranges_of_the_hosted_model() -> None:
    schema = schema_of("cogvideox-5b")
    properties = schema["properties"]
    assert list(properties) == [
        *("prompt", "video_size", "negative_prompt", "num_inference_steps", "seed"),
        *("guidance_scale", "use_rife", "export_fps", "loras"),
    ]
    assert schema["required"] == ["prompt"]

    def bounds(name: str) -> tuple[object, ...]:
        return tuple(properties[name].get(word) for word in ("default", "minimum", "maximum"))

    assert bounds("num_inference_steps") == (50, 1, 50)
    assert bounds("guidance_scale") == (7, 0, 20)
    assert bounds("export_fps") == (16, 4, 32)
    assert bounds("seed") == (None, 0, None)
    assert properties["use_rife"]["default"] is True
    assert properties["negative_prompt"]["default"] == ""
    assert properties["video_size"]["default"] == {"width": 720, "height": 480}
    assert "landscape_16_9" in properties["video_size"]["anyOf"][1]["enum"]


def test_the_schemas_of_files_name_what_they_need_beside_the_prompt() -> None:
    video = schema_of("cogvideox-5b-video-to-video")
    assert video["required"] == ["prompt", "video_url"]
    strength = video["properties"]["strength"]
    assert (strength["default"], strength["minimum"], strength["maximum"]) == (0.8, 0.05, 1)
    assert schema_of("simulated-image-to-video")["required"] == ["prompt", "image_url"]


async def test_the_document_names_the_endpoints_to_whoever_has_a_key(shared_door: Door) -> None:
    document = (await shared_door.http.get("/openapi.json")).json()
    app = f"/{shared_door.endpoint}"
    assert {app, f"/run{app}", f"{app}/requests/{{request_id}}/status"} <= document["paths"].keys()
    reference = document["paths"][app]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert "prompt" in document["components"]["schemas"][reference.rpartition("/")[2]]["properties"]
    assert document["servers"] == [{"url": shared_door.url}]
    other = (await shared_door.http.get("/openapi.json?endpoint_id=another")).json()
    assert app not in other["paths"]
    async with AsyncClient(base_url=shared_door.url) as anyone:
        document = (await anyone.get("/openapi.json")).json()
    assert "/{endpoint}" in document["paths"]
    assert app not in document["paths"]
