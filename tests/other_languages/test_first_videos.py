"""The short programs that the languages' pages begin with, as they stand there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.tree import Tree
from tests.other_languages.programs import EXAMPLES, PROGRAMS, Program

pytestmark = pytest.mark.other_languages

DOCS = EXAMPLES.parent / "docs"

each = pytest.mark.parametrize("program", [program for program in PROGRAMS if program.first_video], ids=str)


@each
async def test_a_first_video_is_made(program: Program, tree: Tree, tmp_path: Path) -> None:
    program.require()
    async with program.making_a_first_video(tree.ready["grpc"], tree.ready["api_key"], tmp_path) as run:
        assert await run.ends() == 0
    assert (tmp_path / "lighthouse.mp4").read_bytes()[4:8] == b"ftyp"
    steps = [line.partition("DENOISE")[2] for line in run.lines if "DENOISE" in line]
    assert steps == [f" {step} of 50" for step in range(51)]


@each
def test_the_page_shows_the_program_as_it_is(program: Program) -> None:
    source = EXAMPLES / program.language / program.first_source
    assert source.read_text() in (DOCS / f"{program.language}.md").read_text()
