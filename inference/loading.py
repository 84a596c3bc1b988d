"""From a device's name and a model card to a loaded model: the one place that knows all kinds of models.

torch is imported only where a model needs it, so that a worker with the simulated device starts at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import structlog
from cogreel.v1.admin_pb2 import ModelCard
from cogreel.v1.queue_pb2 import SubmitRequest
from cogreel.v1.video_pb2 import TextToVideoInput

from inference.blend import BlendDoubler
from inference.model import SilentProgress, StartPicture, VideoModel
from inference.model_choice import SIMULATED, CardMismatchError
from inference.native_size import Size
from inference.profiles import EXACT, Profile
from inference.render import FrameDoubler, generate_clip
from inference.simulated import SimulatedModel
from inference.translation import generation_of
from jobs.cards import resolve

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What to load, and onto which device.

    `device` is `cpu`, `cuda:N` or `simulated`; `model` a directory in diffusers format or a hub id, ignored by the
    simulated device. `rife_directory` holds the weights that `cogreeld fetch-rife` fetches. The simulated device
    sleeps `simulated_step_s` seconds a denoising step. `cpu_threads` bounds torch on a CPU. `profile`
    and `offload` (a value of `offloading.Offload`) are ignored by the simulated device, which has nothing to leave out.
    """

    device: str
    model: str = ""
    rife_directory: Path = Path()
    simulated_step_s: float = 0.02
    cpu_threads: int = 1
    profile: Profile = EXACT
    offload: str = "auto"


def load(settings: ModelSettings, card: ModelCard) -> tuple[VideoModel, FrameDoubler]:
    """Load the model and what doubles its frames, try them once, and hold them against the card.

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
    from inference.offloading import Offload  # noqa: PLC0415
    from inference.rife import find_rife_weights  # noqa: PLC0415
    from inference.rife.interpolate import Interpolator  # noqa: PLC0415

    started = time.monotonic()
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
        offload=Offload(settings.offload),
        cpu_threads=settings.cpu_threads,
    )
    doubler = Interpolator(weights, device=torch.device(settings.device))
    _log.info("model.loaded", seconds=_since(started), offload=model.offload.value, digest=model.identity.digest)
    _warm_up(model, doubler, card)
    _log.info("model.warm", seconds=_since(started))
    return model, doubler


def _warm_up(model: VideoModel, doubler: FrameDoubler, card: ModelCard) -> None:
    """Make the clip of a caller who sets nothing, in one step: what fails for it would fail for every request."""
    usual = resolve(SubmitRequest(text_to_video=TextToVideoInput(num_inference_steps=1, seed=0)), "", card)
    generation = generation_of(usual)
    if "image_to_video" in model.input_kinds:
        black = np.zeros((generation.height, generation.width, 3), np.uint8)
        generation = replace(generation, start=StartPicture(black))
    generate_clip(model, doubler, generation, SilentProgress()).frames()


def _since(started: float) -> float:
    return round(time.monotonic() - started, 1)
