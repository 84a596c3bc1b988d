"""What the tests of the models share."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.small_model import build_small_model
from tests.inference.progress import RecordingProgress


@pytest.fixture(scope="session")
def small_model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model on disk, built once; copy it before changing anything in it."""
    return build_small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def progress() -> RecordingProgress:
    """A progress that records and does not cancel."""
    return RecordingProgress()
