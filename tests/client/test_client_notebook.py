"""Results in IPython and notebooks: they play inline, and hold the video itself."""

from __future__ import annotations

import base64
import re
import subprocess
import sys

import cogreel
import pytest
from cogreel.v1.video_pb2 import VideoOutput
from IPython.core.formatters import DisplayFormatter

from tests.client.file_server import FileServer


def html_of(shown: object) -> str:
    """What a notebook would draw."""
    data, _ = DisplayFormatter().format(shown)  # type: ignore[no-untyped-call] # IPython types parts of itself only
    html = data["text/html"]
    assert isinstance(html, str)
    return html


def embedded(html: str) -> bytes:
    """The video within the player."""
    found = re.search(r'<video [^>]*src="data:video/mp4;base64,([^"]*)"', html)
    assert found, html
    return base64.b64decode(found[1])


def test_a_video_plays_from_the_notebook_itself(files: FileServer) -> None:
    html = html_of(cogreel.show(files.output()))
    assert embedded(html) == files.content
    assert "720 × 480, 98 frames at 16 fps, seed 42" in html
    assert "controls" in html


def test_a_prompt_cannot_script_the_page(files: FileServer) -> None:
    output = files.output()
    output.prompt = "<script>alert(1)</script>"
    assert "<script>" not in html_of(cogreel.show(output))


def test_a_video_that_is_gone_leaves_its_caption(files: FileServer) -> None:
    files.failures.append(403)
    html = html_of(cogreel.show(files.output()))
    assert "could not be fetched" in html
    assert "seed 42" in html
    assert "<video" not in html


def test_a_large_video_is_linked(files: FileServer) -> None:
    output = files.output()
    output.video.file_size = 100_000_000
    html = html_of(cogreel.show(output))
    assert f'src="{files.url}"' in html
    assert files.hits == 0


def test_it_prints_as_a_line_and_keeps_the_message(files: FileServer) -> None:
    output = files.output()
    view = cogreel.show(output)
    assert repr(view) == "<video: 720 × 480, 98 frames at 16 fps, seed 42>"
    assert view.message is output


PROGRAM = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
from cogreel import CogReel
from cogreel.v1.video_pb2 import VideoOutput
{opened}
data, _ = shell.display_formatter.format(VideoOutput.FromString(bytes.fromhex(sys.argv[1])))
print(data.get("text/html", "nothing"))
"""


@pytest.mark.parametrize("opened", ["CogReel('localhost:1').close()", "shell.run_line_magic('load_ext', 'cogreel')"])
def test_in_ipython_a_result_shows_itself(files: FileServer, opened: str) -> None:
    output: VideoOutput = files.output()
    argument = output.SerializeToString().hex()
    command = [sys.executable, "-c", PROGRAM.format(opened=opened), argument]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert embedded(done.stdout) == files.content
