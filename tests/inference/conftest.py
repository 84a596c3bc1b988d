"""What the tests of the models share."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.small_model import SMALL_DIRECTORY
from tests.inference.progress import RecordingProgress


@pytest.fixture(scope="session")
def small_model_directory() -> Path:
    """The small model's files; copy them before changing anything."""
    return SMALL_DIRECTORY


@pytest.fixture
def progress() -> RecordingProgress:
    """A progress that records and does not cancel."""
    return RecordingProgress()
