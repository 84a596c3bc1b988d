"""A worker's model is tried before it is ready, and the log tells how far it is."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs

from inference.loading import ModelSettings, load
from inference.model_choice import SIMULATED
from jobs.cards import load_card
from tests.rife_directory import RIFE_DIRECTORY


def test_a_loaded_model_has_made_a_clip(small_model_directory: Path) -> None:
    settings = ModelSettings(
        device="cpu",
        model=str(small_model_directory),
        rife_directory=RIFE_DIRECTORY,
    )
    with capture_logs() as lines:
        model, _ = load(settings, load_card("cogreel-small"))
    assert [line["event"] for line in lines] == ["model.loading", "model.loaded", "model.warm"]
    assert (lines[1]["offload"], lines[1]["digest"]) == ("none", model.identity.digest)
    assert lines[2]["seconds"] > lines[1]["seconds"] > 0


def test_the_simulated_device_has_nothing_to_warm_up() -> None:
    with capture_logs() as lines:
        load(ModelSettings(device=SIMULATED), load_card("simulated"))
    assert lines == []
