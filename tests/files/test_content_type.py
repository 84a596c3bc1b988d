"""What a file is, by its first bytes."""

import io
import struct
import tempfile
from pathlib import Path

import av
import pytest
from PIL import Image

from files.content_type import SAFETENSORS, agree, sniff


def image(kind: str) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, kind)
    return content.getvalue()


def movie(suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{suffix}"
        with av.open(path, "w") as container:
            stream = container.add_stream("libvpx-vp9" if suffix == "webm" else "libx264", rate=8)
            stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
            frame = av.VideoFrame(16, 16, "yuv420p")
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path.read_bytes()


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif"])
def test_pictures_are_recognised(kind: str) -> None:
    assert sniff(image(kind)) == f"image/{kind}"


@pytest.mark.parametrize(("suffix", "content_type"), [("mp4", "video/mp4"), ("mov", "video/quicktime")])
def test_videos_are_recognised_up_to_the_brand_of_their_family(suffix: str, content_type: str) -> None:
    found = sniff(movie(suffix))
    assert found in {"video/mp4", "video/quicktime"}
    assert agree(content_type, found)


def test_webm_is_recognised() -> None:
    assert sniff(movie("webm")) == "video/webm"


def test_weights_are_recognised() -> None:
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    assert sniff(struct.pack("<Q", len(header)) + header + bytes(4)) == SAFETENSORS
    assert sniff(struct.pack("<Q", 2**40) + header) is None


@pytest.mark.parametrize("head", [b"", b"x", b"<html>", b"\0" * 100, b"%PDF-1.7\n", b"#!/bin/sh\n"])
def test_anything_else_is_no_medium(head: bytes) -> None:
    assert sniff(head) not in {"image/png", "image/jpeg", "image/webp", "image/gif", "video/mp4", "video/webm"}


def test_a_file_agrees_with_its_type_or_with_none() -> None:
    assert agree("image/png", "image/png")
    assert agree("application/octet-stream", None)
    assert not agree("image/png", "image/jpeg")
    assert not agree("image/png", None)
    assert not agree("video/mp4", "video/webm")
