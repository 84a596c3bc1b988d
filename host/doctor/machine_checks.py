"""The machine and the environment: settings that nothing reads, the platform, room on disks, embedded engines."""

from __future__ import annotations

import difflib
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cogreel.cli.findings import Finding, ok, problem, warning

from host.engines.engine import find_program
from host.engines.errors import INSTALL_ENGINES, EngineMissingError
from host.settings import SECRETS_DIR, Settings

_PREFIX = "COGREEL_"
_OF_CLIENT = ("ADDRESS", "API_KEY", "CA_FILE", "CLIENT_CERTIFICATE_FILE", "CLIENT_KEY_FILE")
_OF_OTHERS = frozenset(f"{_PREFIX}{name}" for name in _OF_CLIENT)
_FOR_TESTS = "COGREEL_FAILPOINTS"
_OF_CHILDREN = frozenset({"COGREEL_DEVICE", "COGREEL_DEVICE_NAME", "COGREEL_INCARNATION", "COGREEL_REPORT_FD"})
_ENGINES = {"nats-server": ("--version",), "weed": ("version",)}
TEMPORARY_BYTES = 1024**3  # a worker writes each video there before it is stored
LEAST_FREE_BYTES = 1024**3
AMPLE_FREE_BYTES = 10 * 1024**3


def check_environment(environment: Mapping[str, str]) -> list[Finding]:
    """Variables that nothing reads, which are likely misspelt, and what only tests set."""
    known = {f"{_PREFIX}{name.upper()}" for name in Settings.model_fields} | {SECRETS_DIR}
    given = {name for name in environment if name.startswith(_PREFIX)}
    found: list[Finding] = []
    for name in sorted(given - known - _OF_OTHERS - _OF_CHILDREN - {_FOR_TESTS}):
        near = difflib.get_close_matches(name, known, n=1)
        remedy = f"Did you mean {near[0]}?" if near else "Remove it, or look for its name in docs/4-running-it.md."
        found.append(warning("settings", f"nothing reads {name}", "What it was to set has its default.", remedy))
    if _FOR_TESTS in given:
        why = "It makes processes die on purpose, for tests."
        found.append(problem("settings", f"{_FOR_TESTS} is set", why, "Remove it."))
    if not found:
        read = sorted(given & known)
        found.append(ok("settings", f"read: {', '.join(read)}" if read else f"no {_PREFIX}* variable: all defaults"))
    return found


def check_platform() -> list[Finding]:
    """Python and the system."""
    here = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.platform != "linux" or platform.machine() != "x86_64":
        why = "Only Linux on x86-64 is tested; the embedded engines come as programs for it."
        return [warning("platform", here, why, "Run services elsewhere at your own risk.")]
    return [ok("platform", here)]


def check_engines() -> list[Finding]:
    """The programs that `cogreeld up` starts: there, and able to run here."""
    found: list[Finding] = []
    running: list[str] = []
    why = "`cogreeld up` starts it."
    for name, arguments in _ENGINES.items():
        try:
            program = find_program(name)
            said = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
        except EngineMissingError as error:
            missing = str(error).removesuffix(f". {INSTALL_ENGINES}")
            found.append(problem("engines", missing, why, INSTALL_ENGINES))
        except (OSError, subprocess.SubprocessError) as error:
            remedy = f"Install it anew. {INSTALL_ENGINES}"
            found.append(problem("engines", f"{name} does not run: {error}", why, remedy))
        else:
            version = re.search(r"\d+\.\d+(\.\d+)?", said.stdout or said.stderr)
            running.append(f"{name} {version[0] if version else 'of an unknown version'}")
    return [*found, ok("engines", ", ".join(running))] if running else found


def check_data_dir(data_dir: Path, settings: Settings) -> list[Finding]:
    """The directory of `cogreeld up`: whose it is, who can read it, and its room."""
    existing = _existing(data_dir)
    why = "`cogreeld up` keeps its queue, its videos and its keys there."
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        remedy = "Choose another with --data-dir, or give it to this user (chown)."
        return [problem("data directory", f"{existing} cannot be written", why, remedy)]
    found: list[Finding] = []
    if existing == data_dir:
        mode = stat.S_IMODE(existing.stat().st_mode)
        if mode & 0o077:
            what = f"{data_dir} has mode {mode:04o}: others on this machine can look into it"
            found.append(warning("data directory", what, "It holds an API key and passwords.", f"chmod 700 {data_dir}"))
    reserved = settings.queue_max_bytes + settings.log_max_bytes
    return [*found, *_check_room("data directory", existing, why, max(AMPLE_FREE_BYTES, reserved))]


def check_temporary_dir() -> list[Finding]:
    """Where a worker writes each video before it stores it."""
    why = "A worker writes each video there before it stores it."
    return _check_room("temporary files", Path(tempfile.gettempdir()), why, TEMPORARY_BYTES)


def _check_room(check: str, directory: Path, why: str, ample_bytes: int) -> list[Finding]:
    free = shutil.disk_usage(directory).free
    found = f"{free / 1e9:.1f} GB are free at {directory}"
    remedy = "Make room, or choose a larger disk."
    if free < LEAST_FREE_BYTES:
        return [problem(check, found, why, remedy)]
    if free < ample_bytes:
        return [warning(check, f"{found}, less than the {ample_bytes / 1e9:.1f} GB that it may take", why, remedy)]
    return [ok(check, found)]


def _existing(path: Path) -> Path:
    """The path, or the nearest directory above it that exists."""
    return next(parent for parent in (path, *path.parents) if parent.exists())
