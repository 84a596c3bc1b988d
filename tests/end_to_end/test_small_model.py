"""The main job on real parts: the small CogVideoX, RIFE and H.264 on the CPU, from prompt to MP4."""

from __future__ import annotations

import asyncio
import hashlib
import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from cogreel.v1.queue_pb2 import PRIORITY_NORMAL, Stage, SubmitRequest
from cogreel.v1.video_pb2 import Lora, TextToVideoInput, VideoOutput
from PIL import Image

from host.settings import HOSTED_ENDPOINT
from inference.mp4 import decode_frames, probe
from tests.deployment import Caller, fetch
from tests.end_to_end.tree import Tree
from tests.loras import lora
from tests.rife_directory import RIFE_DIRECTORY
from tests.service.uploads import upload
from training.adherence import Sample, with_picture
from training.pixels import Seen, look_at
from training.scenes import Motion, MovingShape, Scene, Shape, Size

PROMPT = "A small red ball rolls to the right over a blue background"
PROMPT_UP = "A yellow square moves up over a blue background."


FOR_TEXT = {"COGREEL_ENDPOINTS": json.dumps({HOSTED_ENDPOINT: "cogreel-small"})}
"""Settings for text alone, which takes one worker."""


def small_tree(folder: Path, **settings: str) -> Tree:
    environment = {"COGREEL_RIFE_DIRECTORY": str(RIFE_DIRECTORY), **settings}
    return Tree(folder, devices="cpu", environment=environment)


async def made(caller: Caller, submission: SubmitRequest) -> tuple[VideoOutput, bytes, list[int]]:
    """Submit, watch, fetch; returns the output, the file and the stages seen."""
    submitted = await caller.stub.Submit(submission, metadata=caller.metadata)
    stages = [event.progress.stage async for event in caller.watch(submitted.request_id) if event.HasField("progress")]
    output = (await caller.result(submitted.request_id)).video
    return output, await asyncio.to_thread(fetch, output.video.url), list(dict.fromkeys(stages))


async def make(caller: Caller, **fields: object) -> tuple[VideoOutput, bytes, list[int]]:
    """Have a video made from text."""
    text = TextToVideoInput(**({"prompt": PROMPT, "seed": 7} | fields))  # type: ignore[arg-type]
    return await made(caller, SubmitRequest(text_to_video=text, priority=PRIORITY_NORMAL))


def look(content: bytes, path: Path) -> Seen:
    """What an MP4 shows. Every fifth pixel is enough."""
    path.write_bytes(content)
    return look_at(np.stack([frame[::5, ::5] for frame in decode_frames(path)]))


async def test_a_prompt_becomes_an_mp4_and_the_same_seed_the_same_bytes(tmp_path: Path) -> None:
    async with small_tree(tmp_path, **FOR_TEXT) as tree:
        caller = await tree.caller()
        output, content, stages = await make(caller)
        assert hashlib.sha256(content).hexdigest() == output.sha256
        path = tmp_path / "video.mp4"
        path.write_bytes(content)
        properties = probe(path)
        assert (properties.width, properties.height, properties.frames, properties.fps) == (720, 480, 34, 16)
        assert properties.duration_s == pytest.approx(2.125)
        assert properties.codec == "h264"
        seen = look(content, path)
        assert (seen.background, seen.color, seen.motion) == ("blue", "red", Motion.RIGHT)
        assert (output.native_size.width, output.native_size.height) == (96, 64)
        assert stages == [
            Stage.STAGE_PREPARE,
            Stage.STAGE_DENOISE,
            Stage.STAGE_DECODE,
            Stage.STAGE_INTERPOLATE,
            Stage.STAGE_ENCODE,
            Stage.STAGE_UPLOAD,
        ]
        _, other_seed, _ = await make(caller, seed=8, num_inference_steps=4)
        _, again, _ = await make(caller)
        assert again == content, "something of the request between them was left behind"
        assert other_seed != content


@pytest.mark.long
async def test_the_same_seed_gives_the_same_bytes_after_a_restart(tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        async with small_tree(tmp_path, **FOR_TEXT) as tree:
            _, content, _ = await make(await tree.caller(), num_inference_steps=4)
            contents.append(content)
    assert contents[0] == contents[1]


@pytest.mark.long
async def test_a_video_is_repainted_a_picture_moves_and_a_lora_acts_on_one_request_alone(tmp_path: Path) -> None:
    quick: dict[str, object] = {"num_inference_steps": 10, "use_rife": False}
    async with small_tree(tmp_path) as tree:
        caller = await tree.caller()
        source, plain, _ = await make(caller, **quick)
        repainting = SubmitRequest()
        repainting.video_to_video.text.CopyFrom(
            TextToVideoInput(
                prompt="A small yellow ball rolls to the right over a blue background", seed=7, use_rife=False
            )
        )
        repainting.video_to_video.video.url = source.video.url
        repainting.video_to_video.strength = 1
        _, content, _ = await made(caller, repainting)
        seen = look(content, tmp_path / "repainted.mp4")
        assert (seen.background, seen.color) == ("blue", "yellow")

        scene = Scene("blue", (MovingShape(Shape.SQUARE, "yellow", Size.MEDIUM, Motion.UP),))
        picture = with_picture(Sample(PROMPT_UP, scene, 3)).picture
        assert picture is not None
        png = BytesIO()
        Image.fromarray(picture).save(png, "PNG")
        beginning = SubmitRequest()
        beginning.image_to_video.text.CopyFrom(TextToVideoInput(prompt=PROMPT_UP, seed=3, use_rife=False))
        beginning.image_to_video.image.file_data = png.getvalue()
        _, content, _ = await made(caller, beginning)
        seen = look(content, tmp_path / "beginning.mp4")
        assert (seen.background, seen.color, seen.motion) == ("blue", "yellow", Motion.UP)

        style = await upload(caller, lora(strength=1.0), "application/x-safetensors", "style.safetensors")
        _, adapted, _ = await make(caller, loras=[Lora(path=style.url)], **quick)
        _, again, _ = await make(caller, **quick)
        assert adapted != plain
        assert again == plain
