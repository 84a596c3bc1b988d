"""Which endpoints a device process serves: those whose cards are for its model, and for what that takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from cogreel.v1.admin_pb2 import InputKind
from google.protobuf import json_format

from host.device_process import load_model
from host.settings import Settings
from inference.model_choice import SIMULATED, SMALL, CardMismatchError
from jobs.cards import load_card
from tests.rife_directory import RIFE_DIRECTORY


def settings(**endpoints: str) -> Settings:
    return Settings(model=SMALL, rife_directory=RIFE_DIRECTORY, endpoints=endpoints)


def picture_card(folder: Path) -> str:
    """A card that wants of the small model what its weights cannot do."""
    card = load_card("cogreel-small")
    card.input_kind = InputKind.INPUT_KIND_IMAGE_TO_VIDEO
    path = folder / "card.json"
    path.write_text(json_format.MessageToJson(card))
    return str(path)


def test_one_model_serves_every_kind_of_input_that_it_takes(tmp_path: Path) -> None:
    cards = settings(
        text="cogreel-small", video="cogreel-small-video-to-video", picture=picture_card(tmp_path), other="cogvideox-5b"
    )
    model, _, endpoints = load_model(cards, "cpu")
    assert endpoints == ("text", "video")
    assert model.input_kinds == {"text_to_video", "video_to_video"}


def test_a_model_whose_cards_all_want_what_it_does_not_take_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(CardMismatchError, match="takes text_to_video, video_to_video, but its card is for image_to"):
        load_model(settings(picture=picture_card(tmp_path)), "cpu")


def test_the_simulated_device_serves_all_of_its_cards() -> None:
    cards = settings(text="simulated", picture="simulated-image-to-video", video="simulated-video-to-video")
    assert load_model(cards, SIMULATED)[2] == ("text", "picture", "video")
