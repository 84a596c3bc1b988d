"""Running a tour of a published client in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from tests.end_to_end.tree import Tree

FOLDER = Path(__file__).parent


async def report_of(*command: str, environment: dict[str, str]) -> dict[str, Any]:
    """What a tour prints at its end."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=FOLDER,
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        printed, complaints = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    assert process.returncode == 0, complaints.decode()
    report: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return report


def authority_of(tree: Tree) -> str:
    """What a caller must trust."""
    return str(tree.data_dir / "tls/authority.pem")
