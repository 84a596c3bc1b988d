"""Which model card is for which model: told from names alone, with none of the libraries that models need."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cogreel.v1.admin_pb2 import ModelCard

from inference.small_model import SMALL_NAME

SIMULATED = "simulated"
"""As a device: the one without a model. Its card has the same name."""
SMALL = "small"
"""As a model: the small CogVideoX that the program builds for itself."""


class CardMismatchError(Exception):
    """The model that was loaded is not the one that the card describes."""


def model_name(model: str, device: str) -> str | None:
    """What a card must be named to be for a model: None for a directory, which says nothing about itself."""
    if device == SIMULATED:
        return SIMULATED
    if model == SMALL:
        return SMALL_NAME
    return None if model.startswith(("/", ".", "~")) or Path(model).is_dir() else model


def card_for(name: str | None, cards: Iterable[ModelCard]) -> ModelCard:
    """The card that is for a model: the one of its name, or the only one there is.

    Raises:
        CardMismatchError: there is none, or it cannot be told which.
    """
    distinct = {card.SerializeToString(deterministic=True): card for card in cards}.values()
    fitting = [card for card in distinct if name is None or card.name == name]
    if len(fitting) != 1:
        names = ", ".join(f"{card.name} at {card.revision}" for card in distinct) or "none"
        raise CardMismatchError(f"no one card of the endpoints is for the model {name or 'in this directory'}: {names}")
    return fitting[0]
