"""From a device's name and a model card to a loaded model: the one place that knows all kinds of models.

torch is imported only where a model needs it, so that a worker with the simulated device starts at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import structlog
from cogreel.v1.admin_pb2 import ModelCard

from inference.blend import BlendDoubler
from inference.model import VideoModel
from inference.model_choice import SIMULATED, CardMismatchError
from inference.native_size import Size
from inference.profiles import EXACT, Profile
from inference.render import FrameDoubler
from inference.simulated import SimulatedModel

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What to load, and onto which device.

    `device` is `cpu`, `cuda:N` or `simulated`; `model` a directory in diffusers format or a hub id, ignored by the
    simulated device. `rife_directory` holds the weights that `cogreeld fetch-rife` fetches. The simulated device
    sleeps `simulated_step_s` seconds a denoising step. `cpu_threads` bounds torch on a CPU. `profile` is ignored by the
    simulated device, which has nothing to leave out.
    """

    device: str
    model: str = ""
    rife_directory: Path = Path()
    simulated_step_s: float = 0.02
    cpu_threads: int = 1
    profile: Profile = EXACT


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
        profile=settings.profile,
        cpu_threads=settings.cpu_threads,
    )
    return model, Interpolator(weights, device=torch.device(settings.device))
