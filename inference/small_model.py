"""The small model: a CogVideoX for any CPU, trained on moving shapes, in the format of the large one.

It takes the same path through the same code as CogVideoX-5B, in seconds on one CPU core, and does what its
prompt says where that speaks of coloured shapes, so that a machine without a GPU has a service that truly
generates. Its weights lie beside this module; `training/` made them. Importing this module imports no torch.
"""

from __future__ import annotations

from pathlib import Path

from inference.native_size import Size

SMALL_NAME = "cogreel-small"
"""The model's name on its card."""

SMALL_REVISION = "shapes-4"
"""Its revision: other weights take another one."""

SMALL_DIRECTORY = Path(__file__).with_name("cogreel_small")
"""Where its weights are, in diffusers format."""

SMALL_I2V_NAME = "cogreel-small-i2v"
"""The name of its variant that begins with a picture, as CogVideoX-5B-I2V is one of CogVideoX-5B."""

SMALL_I2V_REVISION = "pictures-2"
"""The variant's revision."""

SMALL_I2V_DIRECTORY = Path(__file__).with_name("cogreel_small_i2v")
"""Where the variant's weights are. All but the transformer are links to those of the model for text."""

SMALL_FRAMES = 17
"""Frames a clip: two seconds at eight a second, and the first one."""

SMALL_NATIVE_SIZES = (
    Size(96, 64),  # 3:2, as 720 x 480
    Size(64, 96),
    Size(64, 64),  # 1:1: square, square_hd
    Size(64, 48),  # 4:3: landscape_4_3
    Size(48, 64),
    Size(112, 64),  # 7:4, the nearest to 16:9 in multiples of 16 at this scale: landscape_16_9
    Size(64, 112),
)
"""What it was trained at: each documented shape at about a seventh of its usual size."""
