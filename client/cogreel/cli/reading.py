"""Whether a file that a command is to read can be read: told in a sentence, before anything is sent."""

from __future__ import annotations

import os
from pathlib import Path

import click


def check_readable(name: str | os.PathLike[str]) -> None:
    """Make sure that there is something to read.

    Raises:
        click.UsageError: there is no such file, or it is a folder, not readable or empty.
    """
    path = Path(name)
    problem = None
    if not os.fspath(name) or not path.exists():
        problem = f"there is no file {os.fspath(name) or repr('')}"
    elif path.is_dir():
        problem = f"{path} is a folder, not a file"
    elif not os.access(path, os.R_OK):
        problem = f"{path} may not be read by you"
    elif path.is_file() and not path.stat().st_size:
        problem = f"{path} is empty"
    if problem is not None:
        raise click.UsageError(problem)
