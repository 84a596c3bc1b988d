"""The benchmark for GPUs runs in little on a CPU, so that it works the first time that there is a GPU."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bench import gpu


def test_every_part_of_a_request_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = tmp_path / "numbers.json"
    gpu.main(["--small", "--device", "cpu", "--no-compile", "--steps", "2", "--repeats", "1", "--json", str(numbers)])
    found = json.loads(numbers.read_text(encoding="utf-8"))
    measured = {row["name"] for row in found["rows"] if row["seconds"]}
    assert {"product projection float32", "T5, one prompt", "guided step, eager", "decode"} <= measured
    request = next(row for row in found["rows"] if row["name"] == "request, 2 steps, eager")
    assert all(stage in request["note"] for stage in ("denoise", "decode", "encode"))
    # What the device lacks is told, not left out.
    cudnn = next(row for row in found["rows"] if row["name"] == "attention cudnn")
    assert cudnn["seconds"] is None
    assert cudnn["note"].startswith("not here")
    assert "| guided step, eager |" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles by way of a C++ compiler")
def test_the_step_is_measured_compiled_and_in_8_bit_floats(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.json"
    gpu.main(["--small", "--device", "cpu", "--steps", "1", "--repeats", "1", "--json", str(numbers)])
    found = json.loads(numbers.read_text(encoding="utf-8"))
    measured = {row["name"] for row in found["rows"] if row["seconds"]}
    assert {"guided step, compiling", "guided step, compiled", "guided step, compiled, float8"} <= measured
