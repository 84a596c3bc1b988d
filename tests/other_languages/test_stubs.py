"""`make stubs` for languages other than Python."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from scripts.other_languages import GO_STUBS, go_import_path

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.other_languages


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`make stubs`, as a user calls it."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}
    return subprocess.run(
        ["make", "stubs", *arguments], cwd=ROOT, env=outer | environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("language", "queue", "rules", "details"),  # those two that come with them
    [
        ("python", "cogreel/v1/queue_pb2_grpc.py", "buf/validate/validate_pb2.py", None),
        (
            "typescript",
            "cogreel/v1/queue_pb.ts",
            "buf/validate/validate_pb.ts",
            "google/rpc/error_details_pb.ts",
        ),
        ("go", "cogreel/v1/queue_grpc.pb.go", "buf/validate/validate.pb.go", None),
        ("cpp", "cogreel/v1/queue.grpc.pb.h", None, "google/rpc/error_details.pb.h"),
        ("java", "cogreel/v1/QueueServiceGrpc.java", None, "com/google/rpc/RetryInfo.java"),
        ("ruby", "cogreel/v1/queue_services_pb.rb", None, None),
    ],
    ids=["python", "typescript", "go", "cpp", "java", "ruby"],
)
def test_stubs_are_written_with_what_they_import(
    tmp_path: Path, language: str, queue: str, rules: str | None, details: str | None
) -> None:
    made = make(f"LANG={language}", f"OUT={tmp_path}")
    assert made.returncode == 0, made.stderr
    assert "WatchStatus" in (tmp_path / queue).read_text()
    assert (tmp_path / "buf").exists() == (rules is not None)
    assert rules is None or (tmp_path / rules).is_file()
    if details is not None:
        assert "RetryInfo" in (tmp_path / details).read_text()
    assert not list(tmp_path.rglob("*record*")), "the application's own record is nobody else's"


def test_a_language_without_a_generator_is_refused_with_those_that_have_one() -> None:
    made = make("LANG=cobol")
    assert made.returncode != 0
    assert "'cobol'" in made.stderr
    assert "python, typescript, go, cpp, java, ruby" in made.stderr


def test_the_locale_of_the_environment_is_no_language_and_a_language_is_no_locale(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@ with LANG=$LANG"\n')
    python.chmod(0o755)
    assert "generate_stubs.py with LANG=de_DE.UTF-8" in make(f"BIN={tmp_path}", LANG="de_DE.UTF-8").stdout
    assert "stubs go with LANG=C.UTF-8" in make(f"BIN={tmp_path}", "LANG=go", LANG="de_DE.UTF-8").stdout


def test_go_stubs_take_the_import_path_of_the_module_that_they_lie_in(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("// ours\nmodule example.org/films\n\ngo 1.19\n")
    assert go_import_path(tmp_path / "internal/stubs") == "example.org/films/internal/stubs"
    assert go_import_path(tmp_path) == "example.org/films"


def test_go_stubs_outside_a_module_have_a_name_that_nobody_owns(tmp_path: Path) -> None:
    assert go_import_path(tmp_path) == GO_STUBS
