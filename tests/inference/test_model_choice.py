"""Where a model is looked for."""

from __future__ import annotations

import pytest

from inference.model_choice import SMALL, model_location
from inference.small_model import SMALL_DIRECTORY


def test_the_small_model_lies_in_the_package() -> None:
    assert model_location(SMALL) == str(SMALL_DIRECTORY)
    assert (SMALL_DIRECTORY / "model_index.json").is_file()


@pytest.mark.parametrize("model", ["/models/retrained-small", "zai-org/CogVideoX-5b"])
def test_any_other_model_lies_where_the_settings_say(model: str) -> None:
    assert model_location(model) == model
