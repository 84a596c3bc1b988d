"""Whether a worker would find its model, whole and the one of a card, and the weights of RIFE."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import urllib3
from cogreel.cli.findings import Finding, ok, problem, warning
from cogreel.v1.admin_pb2 import ModelCard

from host.settings import Settings
from inference.completeness import check_files
from inference.model_choice import SIMULATED, CardMismatchError, card_for, model_location, model_name
from inference.rife import RifeWeightsError, find_rife_weights
from inference.weights import ModelLoadError, model_digest, resolve_model

HUB_WITHIN_S = 5.0
LARGE_MODEL_BYTES = 25 * 1024**3  # CogVideoX-5B takes 22 GB
HASHED_UNASKED_BYTES = 2 * 1024**3
MODEL_WHY = "A worker without its model does not start."


@dataclass(frozen=True, slots=True)
class Model:
    """The model of this machine's workers, as far as it can be told without loading it."""

    card: ModelCard | None = None
    weights_bytes: int | None = None


def check_model(settings: Settings, cards: Sequence[ModelCard], *, deep: bool) -> tuple[Model, list[Finding]]:
    """Which card is for the model, and whether its files are there, whole and the card's. Blocks.

    `deep` hashes large models too, where a card names a digest.
    """
    devices = settings.device_list()
    device = devices[0] if devices else ""
    try:
        card = card_for(model_name(settings.model, device), cards)
    except CardMismatchError as error:
        remedy = (
            "Let COGREEL_ENDPOINTS name the card of COGREEL_MODEL for one endpoint: cogvideox-5b for "
            "zai-org/CogVideoX-5b, cogreel-small for `small`, simulated for the simulated device; for a directory, the "
            "endpoints of one card only."
        )
        return Model(), [problem("model", str(error), MODEL_WHY, remedy)]
    if device == SIMULATED:
        return Model(card), [ok("model", "none is needed: the device is simulated")]
    return _check_files(model_location(settings.model), card, deep=deep)


def _check_files(model: str, card: ModelCard, *, deep: bool) -> tuple[Model, list[Finding]]:
    try:
        directory = _cached(model, card.revision)
    except ModuleNotFoundError as error:
        found = f"{model} cannot be looked for: {error}"
        return Model(card), [problem("model", found, MODEL_WHY, "Install what workers need; see `packages`.")]
    if directory is None:
        return Model(card), [_check_hub(model, card.revision)]
    try:
        directory = resolve_model(str(directory), card.revision)
        weights_bytes = check_files(directory)
    except ModelLoadError as error:
        return Model(card), [problem("model", f"{error.model}: {error.problem}", MODEL_WHY, error.remedy)]
    return Model(card, weights_bytes), [_check_digest(directory, card, weights_bytes, deep=deep)]


def _check_digest(directory: Path, card: ModelCard, weights_bytes: int, *, deep: bool) -> Finding:
    found = f"{card.name} in {directory}, {weights_bytes / 1e9:.2f} GB of weights, complete"
    if not card.HasField("digest"):
        return ok("model", found)
    if weights_bytes > HASHED_UNASKED_BYTES and not deep:
        return ok("model", f"{found}; not compared with the card's digest (--deep)")
    digest = model_digest(directory)
    if digest == card.digest:
        return ok("model", f"{found}, with the digest of its card")
    return problem(
        "model",
        f"the files in {directory} have the digest {digest}, but the card of {card.name} says {card.digest}",
        "A worker refuses weights that are not its card's.",
        "Fetch the model again at the card's revision, or correct the digest in the card.",
    )


def _cached(model: str, revision: str) -> Path | None:
    """The directory of a model, if it is on this machine; for a hub id, in the hub's cache."""
    directory = Path(model).expanduser()
    if directory.exists() or model.startswith((".", "~", "/")) or model.count("/") != 1:
        return directory
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - absent where only the simulated device works
    from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: PLC0415 - as above

    try:
        return Path(snapshot_download(model, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def _check_hub(model: str, revision: str) -> Finding:
    """Whether a model that is not here can be fetched."""
    from huggingface_hub import constants  # noqa: PLC0415 - as above

    elsewhere = "Or fetch it elsewhere, and name its directory in COGREEL_MODEL."
    missing = f"{model} is not in the cache of this machine ({constants.HF_HUB_CACHE})"
    if constants.HF_HUB_OFFLINE:
        return problem(
            "model", f"{missing}, and HF_HUB_OFFLINE forbids to fetch it", MODEL_WHY, f"Unset it. {elsewhere}"
        )
    token = os.environ.get("HF_TOKEN")
    url = f"{constants.ENDPOINT}/api/models/{model}/revision/{revision}"
    try:
        answer = urllib3.request(
            "GET",
            url,
            headers={"authorization": f"Bearer {token}"} if token else None,
            timeout=HUB_WITHIN_S,
            retries=False,
        )
    except urllib3.exceptions.HTTPError:
        remedy = f"Does this machine need a proxy (HTTPS_PROXY), or another hub (HF_ENDPOINT)? {elsewhere}"
        return problem("model", f"{missing}, and the hub {constants.ENDPOINT} cannot be reached", MODEL_WHY, remedy)
    if answer.status != 200:
        remedy = f"Check the name and the card's revision {revision}; gated models need HF_TOKEN. {elsewhere}"
        return problem("model", f"{missing}, and the hub answers with status {answer.status}", MODEL_WHY, remedy)
    cache = Path(constants.HF_HUB_CACHE)
    existing = next(parent for parent in (cache, *cache.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < LARGE_MODEL_BYTES:
        found = f"{missing}, where {free / 1e9:.0f} GB are free: CogVideoX-5B takes 22 GB"
        return problem("model", found, MODEL_WHY, "Make room, or set HF_HOME to a larger disk.")
    return warning(
        "model",
        f"{missing}; it will be fetched from {constants.ENDPOINT}",
        "The first start takes as long as the download: 22 GB for CogVideoX-5B, within 30 minutes.",
        f"Fetch it before: hf download {model} --revision {revision}",
    )


def check_rife(settings: Settings, *, fetched_at_start: bool) -> list[Finding]:
    """The weights of RIFE, by their hash; `cogreeld up` fetches what is missing or damaged by itself. Blocks."""
    if SIMULATED in settings.device_list():
        return []
    try:
        path = find_rife_weights(settings.rife_directory.expanduser())
    except RifeWeightsError as error:
        found, _, remedy = str(error).rpartition(": ")
        if fetched_at_start:
            return [ok("rife", f"{found}: it will be fetched at the start (20 MB)")]
        return [problem("rife", found, "Workers double the frames with RIFE and do not start without it.", remedy)]
    return [ok("rife", f"{path}, as published")]
