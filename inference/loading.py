"""From a device's name and a model card to a loaded model: the one place that knows all kinds of models.

torch is imported only where a model needs it, so that a worker with the simulated device starts at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
from cogreel.v1.admin_pb2 import InputKind, ModelCard

from inference.blend import BlendDoubler
from inference.model import VideoModel
from inference.native_size import Size
from inference.render import FrameDoubler
from inference.simulated import SIMULATED_NAME, SimulatedModel
from inference.small_model import SMALL_NAME

SIMULATED = "simulated"
"""As a device: the one without a model."""
SMALL = "small"
"""As a model: the small CogVideoX that the program builds for itself."""

_log = structlog.get_logger(__name__)


class CardMismatchError(Exception):
    """The model that was loaded is not the one that the card describes."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What to load, and onto which device.

    `device` is `cpu`, `cuda:N` or `simulated`; `model` a directory in diffusers format or a hub id, ignored by the
    simulated device. `rife_directory` holds the weights that `cogreeld fetch-rife` fetches. The simulated device
    sleeps `simulated_step_s` seconds a denoising step. `cpu_threads` bounds torch on a CPU.
    """

    device: str
    model: str = ""
    rife_directory: Path = Path()
    simulated_step_s: float = 0.02
    cpu_threads: int = 1


def model_name(model: str, device: str) -> str | None:
    """What a card must be named to be for a model: None for a directory, which says nothing about itself."""
    if device == SIMULATED:
        return SIMULATED_NAME
    if model == SMALL:
        return SMALL_NAME
    return None if model.startswith(("/", ".", "~")) or Path(model).is_dir() else model


def cards_served(device: str, cards: Mapping[str, ModelCard]) -> dict[str, ModelCard]:
    """Of the endpoints' cards, those whose kind of input a device can take: text, and the simulated one any."""
    return {
        endpoint: card
        for endpoint, card in cards.items()
        if device == SIMULATED or card.input_kind == InputKind.INPUT_KIND_TEXT_TO_VIDEO
    }


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


def load(settings: ModelSettings, card: ModelCard) -> tuple[VideoModel, FrameDoubler]:
    """Load the model and what doubles its frames, and hold them against the card.

    Raises:
        CardMismatchError: the model is not the card's.
        ModelLoadError, DeviceError, RifeWeightsError: something is missing or does not fit.
    """
    if settings.device == SIMULATED:
        model: VideoModel = SimulatedModel(step_s=settings.simulated_step_s, frames=card.frames)
        doubler: FrameDoubler = BlendDoubler()
    else:
        model, doubler = _load_torch(settings, card)
    if (model.identity.name, model.identity.revision) != (card.name, card.revision):
        raise CardMismatchError(
            f"the worker has {model.identity.name} at revision {model.identity.revision}, "
            f"but its endpoint's card is for {card.name} at revision {card.revision}"
        )
    if card.HasField("digest") and card.digest != model.identity.digest:
        raise CardMismatchError(
            f"the weights of {card.name} have the digest {model.identity.digest}, but its card says {card.digest}"
        )
    return model, doubler


def _load_torch(settings: ModelSettings, card: ModelCard) -> tuple[VideoModel, FrameDoubler]:
    import torch  # noqa: PLC0415

    from inference.cogvideox_loading import load_cogvideox  # noqa: PLC0415
    from inference.rife import find_rife_weights  # noqa: PLC0415
    from inference.rife.interpolate import Interpolator  # noqa: PLC0415

    weights = find_rife_weights(settings.rife_directory)
    torch.set_num_threads(settings.cpu_threads)
    _log.info("model.loading", model=settings.model, device=settings.device)
    model = load_cogvideox(
        settings.model,
        name=card.name,
        revision=card.revision,
        device=settings.device,
        num_frames=card.frames,
        native_sizes=[Size(size.width, size.height) for size in card.native_sizes],
        cpu_threads=settings.cpu_threads,
    )
    return model, Interpolator(weights, device=torch.device(settings.device))
