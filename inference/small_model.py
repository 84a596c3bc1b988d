"""The small model: a CogVideoX of random weights that runs anywhere, in the format of the large one.

It takes the same path through the same code as CogVideoX-5B, in seconds on one CPU core, so that a machine
without a GPU has a service that truly generates. Its videos show drifting colours, not what the prompt says.
Importing this module imports no torch; building a model does.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from inference.native_size import Size

SMALL_NAME = "cogreel-small"
"""The model's name on its card."""

SMALL_REVISION = "random-1"
"""Its revision: another architecture, vocabulary or way of drawing weights takes another one."""

SMALL_FRAMES = 49
"""Frames a clip, as CogVideoX-5B has."""

SMALL_NATIVE_SIZES = (
    Size(96, 64),  # 3:2, as 720 x 480
    Size(64, 96),
    Size(64, 64),  # 1:1: square, square_hd
    Size(64, 48),  # 4:3: landscape_4_3
    Size(48, 64),
    Size(112, 64),  # 7:4, the nearest to 16:9 in multiples of 16 at this scale: landscape_16_9
    Size(64, 112),
)
"""What it denoises at: each documented shape at about a seventh of its usual size.

49 frames of 96 x 64 at 50 steps take 0.5 s to denoise and 1.3 s to decode on one core.
"""


def build_small_model(directory: Path, seed: int = 0) -> Path:
    """Write the small model in diffusers format to `directory`, and return that.

    The same seed gives the same files, byte for byte, on the same software. A model that is already at
    `directory` is left as it is; so name the directory after `SMALL_REVISION`. The model appears there
    complete or not at all, and several processes may build it at once: the first to finish wins, and all
    return.

    Raises:
        OSError: the files cannot be written, or `directory` holds something else.
    """
    if _is_built(directory):
        return directory
    # Heavy, and not needed where the model has been built before.
    from inference.small_pipeline import save_small_pipeline  # noqa: PLC0415

    directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        save_small_pipeline(unfinished, seed)
        unfinished.chmod(0o755)  # mkdtemp gives 0700, but a model may serve several users
        unfinished.rename(directory)
    except OSError:
        # Renaming fails where another process has put its model there first.
        if not _is_built(directory):
            raise
    finally:
        if unfinished.exists():
            shutil.rmtree(unfinished)
    return directory


def _is_built(directory: Path) -> bool:
    return (directory / "model_index.json").is_file()
