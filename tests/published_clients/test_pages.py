"""The pages of the published clients, followed to the letter: a program of theirs runs after two new lines.

But for the size of the video: a small one is painted in a tenth of the time.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.deployment import fetch
from tests.end_to_end.tree import Tree
from tests.published_clients.running import FOLDER, authority_of

SMALLER = {
    "num_inference_steps: 20": "num_inference_steps: 20, use_rife: false, video_size: { width: 64, height: 64 }",
    '"num_inference_steps": 20': '"num_inference_steps": 20, "use_rife": False, "video_size": "square"',
}
DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks(page: str, language: str, tree: Tree) -> list[str]:
    """The code of a page, with this gateway and key put in."""
    host = tree.ready["http"].removeprefix("https://")
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    found = [re.sub(r"http://HOST\b", f"https://{host}", code) for code in found]
    found = [re.sub(r"(?<![A-Z_])HOST\b", host, code).replace("id:secret", tree.ready["api_key"]) for code in found]
    for old, new in SMALLER.items():
        found = [code.replace(old, new) for code in found]
    return found


async def printed(command: Sequence[str | Path], tree: Tree, **environment: str) -> list[str]:
    """The lines that a program prints."""
    trust = dict.fromkeys(("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"), authority_of(tree))
    process = await asyncio.create_subprocess_exec(
        *command, env=os.environ | trust | environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    return said.decode().splitlines()


@pytest.mark.other_languages
@pytest.mark.parametrize(
    ("page", "variant"),
    [("fal-ai-client.md", 0), ("fal-ai-client.md", 1), ("fal-ai-client.md", 2), ("fal-ai-serverless-client.md", 0)],
)
async def test_the_javascript_pages_work_as_they_say(tree: Tree, tmp_path: Path, page: str, variant: int) -> None:
    program, *others = blocks(page, "js", tree)
    assert len([line for line in program.splitlines() if line.endswith("// new")]) == 2
    if variant:  # what may stand in place of the second line
        program = re.sub(r"^fal\.config.*// new$", lambda _: others[variant - 1].strip(), program, flags=re.MULTILINE)
    (tmp_path / "node_modules").symlink_to(FOLDER / "node_modules")
    path = tmp_path / "program.mjs"
    path.write_text(program, encoding="utf-8")
    *logs, made, stored = await printed(["node", path], tree, FAL_KEY=tree.ready["api_key"])
    assert any("Attempt 1" in line for line in logs)
    assert (await asyncio.to_thread(fetch, made.split()[1]))[4:8] == b"ftyp"
    assert await asyncio.to_thread(fetch, stored) == b"Hello, World!"


async def test_the_python_page_works_as_it_says(tree: Tree, tmp_path: Path) -> None:
    (exports,) = blocks("fal-client.md", "sh", tree)
    assert len(exports.splitlines()) == 2
    program, for_uploads = blocks("fal-client.md", "python", tree)
    uploading = 'print(fal_client.upload(b"Hello, World!", "text/plain"))\n'
    path = tmp_path / "program.py"
    path.write_text(f"{program}{for_uploads.strip()}\n{uploading}", encoding="utf-8")
    *logs, made, stored = await printed(["bash", "-c", f"{exports}{sys.executable} {path}"], tree)
    assert any("Attempt 1" in line for line in logs)
    assert (await asyncio.to_thread(fetch, made.split()[1]))[4:8] == b"ftyp"
    assert await asyncio.to_thread(fetch, stored) == b"Hello, World!"
