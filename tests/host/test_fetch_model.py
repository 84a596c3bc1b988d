"""Fetching a model ahead of the worker that loads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from host.cli import main
from inference.small_model import SMALL_DIRECTORY
from tests.rife_directory import RIFE_DIRECTORY


def test_what_is_there_already_is_named_and_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGREEL_RIFE_DIRECTORY", str(RIFE_DIRECTORY))
    monkeypatch.setenv("COGREEL_ENDPOINTS", json.dumps({"text": "cogreel-small"}))
    done = CliRunner().invoke(main, ["fetch-model", "--model", "small"])
    assert done.exit_code == 0, done.output
    directory, weights = map(Path, done.output.split())
    assert directory == SMALL_DIRECTORY
    assert weights.parent == RIFE_DIRECTORY


def test_a_model_that_no_card_is_for_is_refused_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COGREEL_RIFE_DIRECTORY", str(tmp_path / "rife"))
    monkeypatch.delenv("COGREEL_ENDPOINTS", raising=False)
    done = CliRunner().invoke(main, ["fetch-model", "--model", "someone/else"])
    assert done.exit_code == 1
    assert "no one card of the endpoints is for the model someone/else" in done.output
    assert not (tmp_path / "rife").exists()
