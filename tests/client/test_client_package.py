"""The distribution stands alone: it builds, installs without the application, and works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[2] / "client"

CHECK = """
import importlib.resources
import importlib.util
import cogreel, cogreel.v1.admin_pb2_grpc, cogreel.v1.storage_pb2_grpc, buf.validate.validate_pb2
for name in cogreel.__all__:
    getattr(cogreel, name)
for name in ("torch", "diffusers", "nats", "minio", "jobs", "service", "inference", "grpc_status", "IPython", "tqdm"):
    assert importlib.util.find_spec(name) is None, name
try:
    cogreel.TqdmProgress()
except ImportError as error:
    assert "pip install 'cogreel[tqdm]'" in str(error)
assert importlib.resources.files("cogreel").joinpath("py.typed").is_file()
"""


@pytest.mark.long
def test_the_wheel_works_alone(tmp_path: Path) -> None:
    # A folder of its own, and nothing on the path: what is imported comes from the wheel.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, CLIENT)
    (wheel,) = tmp_path.glob("cogreel-*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    programs = tmp_path / "venv" / "bin"
    run(programs / "pip", "install", "--quiet", wheel)

    assert "cogreel generate" in run(programs / "cogreel", "--help")
    assert "0.1.0" in run(programs / "cogreel", "--version")
    run(programs / "python", "-c", CHECK)
