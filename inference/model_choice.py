"""Which model card is for which model: told from names alone, with none of the libraries that models need."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cogreel.v1.admin_pb2 import ModelCard

from inference.small_model import SMALL_DIRECTORY, SMALL_I2V_DIRECTORY, SMALL_I2V_NAME, SMALL_NAME

SIMULATED = "simulated"
"""As a device: the one without a model. Its cards, one for each kind of input, have the same name."""
SMALL = "small"
"""As a model: the small CogVideoX that comes with the program."""
SMALL_I2V = "small-i2v"
"""As a model: its variant that begins with a picture."""

_BUILT_IN = {SMALL: (SMALL_NAME, SMALL_DIRECTORY), SMALL_I2V: (SMALL_I2V_NAME, SMALL_I2V_DIRECTORY)}


def model_location(model: str) -> str:
    """The directory or hub id of a model: what the settings say, or where a small one lies."""
    return str(_BUILT_IN[model][1]) if model in _BUILT_IN else model


class CardMismatchError(Exception):
    """The model that was loaded is not the one that the card describes."""


def model_name(model: str, device: str) -> str | None:
    """What a card must be named to be for a model: None for a directory, which says nothing about itself."""
    if device == SIMULATED:
        return SIMULATED
    if model in _BUILT_IN:
        return _BUILT_IN[model][0]
    return None if model.startswith(("/", ".", "~")) or Path(model).is_dir() else model


def model_of(card: ModelCard) -> bytes:
    """What a card says of its model, as opposed to its endpoint: cards that agree in this are for one model."""
    bare = ModelCard(name=card.name, revision=card.revision, frames=card.frames, native_sizes=card.native_sizes)
    if card.HasField("digest"):
        bare.digest = card.digest
    return bare.SerializeToString(deterministic=True)


def card_for(name: str | None, cards: Iterable[ModelCard]) -> ModelCard:
    """A card that is for a model: of its name, or of the only one there is.

    Raises:
        CardMismatchError: there is none, or it cannot be told which.
    """
    distinct = {model_of(card): card for card in cards}.values()
    fitting = [card for card in distinct if name is None or card.name == name]
    if len(fitting) != 1:
        names = ", ".join(f"{card.name} at {card.revision}" for card in distinct) or "none"
        raise CardMismatchError(f"no one card of the endpoints is for the model {name or 'in this directory'}: {names}")
    return fitting[0]
