"""Goes through the calls of the published Python client, and prints what came of them.

    FAL_KEY=… FAL_RUN_HOST=host:port/run FAL_QUEUE_RUN_HOST=host:port SSL_CERT_FILE=… \\
        python tour.py URL ENDPOINT [large]

Environment variables move the queue; uploads are moved by two assignments before the first call.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import urllib.request
import uuid
from typing import Any

import fal_client
from PIL import Image

URL, ENDPOINT, *MORE = sys.argv[1:]
INPUT: dict[str, Any] = {
    "prompt": "butterflies",
    "num_inference_steps": 3,
    "use_rife": False,
    "video_size": {"width": 64, "height": 64},
}

fal_client.client.REST_URL = fal_client.client.CDN_URL = URL


def refused(call: Any) -> dict[str, Any]:
    """What a call is refused with."""
    try:
        return {"result": str(call())}
    except fal_client.client.FalClientHTTPError as error:
        return {"status": error.status_code, "message": error.message, "error_type": error.error_type}


def picture(*, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """A picture of one colour."""
    return Image.new("RGB", size, (250, 10, 10))


def png() -> bytes:
    """The same as a file."""
    content = io.BytesIO()
    picture().save(content, "PNG")
    return content.getvalue()


def tour() -> dict[str, Any]:
    """Each call of the synchronous client."""
    report: dict[str, Any] = {}
    updates: list[Any] = []
    subscribed = fal_client.subscribe(
        ENDPOINT, INPUT | {"seed": 11}, with_logs=True, on_queue_update=updates.append, priority="low"
    )
    report["subscribed"] = subscribed
    report["updates"] = [type(update).__name__ for update in updates]
    report["logs"] = [line["message"] for line in updates[-1].logs]

    handle = fal_client.submit(ENDPOINT, INPUT | {"seed": 12}, start_timeout=30)
    report["events"] = [type(event).__name__ for event in handle.iter_events(with_logs=True)]
    report["result"] = handle.get()["seed"]
    report["metrics"] = handle.status().metrics  # type: ignore[attr-defined]
    report["again"] = fal_client.result(ENDPOINT, handle.request_id)["seed"]
    report["ran"] = fal_client.run(ENDPOINT, INPUT | {"seed": 13})["seed"]

    slow = fal_client.submit(ENDPOINT, INPUT | {"num_inference_steps": 50})
    fal_client.cancel(ENDPOINT, slow.request_id)
    report["cancelled"] = refused(slow.get)
    done = slow.status()
    report["cancelled_status"] = [type(done).__name__, done.error_type]  # type: ignore[attr-defined]

    uploaded = fal_client.upload(png(), "image/png", "red.png")
    with urllib.request.urlopen(uploaded) as answer:
        report["uploaded"] = answer.read() == png()
    forms = {"url": uploaded, "image": fal_client.upload_image(picture()), "data": fal_client.encode_image(picture())}
    report["pictures"] = {
        form: fal_client.subscribe(f"{ENDPOINT}/image-to-video", INPUT | {"image_url": url})["video"]["content_type"]
        for form, url in forms.items()
    }

    report["invalid"] = refused(lambda: fal_client.subscribe(ENDPOINT, INPUT | {"num_inference_steps": 99}))
    report["unknown"] = refused(lambda: fal_client.status(ENDPOINT, str(uuid.uuid4())))
    stranger = fal_client.SyncClient(key="0123456789abcdef:wrong")
    report["stranger"] = refused(lambda: stranger.submit(ENDPOINT, INPUT))
    return report


async def async_tour() -> dict[str, Any]:
    """The same of the asynchronous client, as far as it is another program."""
    made = await fal_client.subscribe_async(ENDPOINT, INPUT | {"seed": 14})
    url = await fal_client.upload_async(png(), "image/png")
    return {"subscribed": made["seed"], "uploaded": bool(url)}


def large() -> dict[str, bool]:
    """Whether a file that goes up in parts, as those above 100 MiB do, comes back as it was and works as an input."""
    content = png().ljust(101 * 1024**2, b"\0")
    url = fal_client.upload(content, "image/png", "large.png")
    with urllib.request.urlopen(url) as answer:
        return {"same": answer.read() == content, "in_parts": "/files/" in url}


if __name__ == "__main__":
    if MORE:
        told: dict[str, Any] = large()
    else:
        told = tour()
        told["async"] = asyncio.run(async_tour())
    print(json.dumps(told))
