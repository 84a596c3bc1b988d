"""A video at a glance: frames spread over its length, side by side in one PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from inference.mp4 import decode_frames, probe

_GAP = 4  # pixels between cells


def contact_sheet(video: Path, png: Path, *, columns: int = 4, rows: int = 3, cell_width: int = 240) -> None:
    """Decode `video` and write a sheet of `columns` x `rows` of its frames, row by row, to `png`.

    The frames are spread evenly from the first to the last; a video with fewer frames than cells leaves the
    last cells empty. Cells are `cell_width` pixels wide, or as wide as the video where that is less.

    Raises:
        ValueError: `columns`, `rows` or `cell_width` is below 1, or `video` holds no video.
        av.error.FFmpegError: `video` can't be read or is damaged.
        OSError: `png` can't be written.
    """
    if min(columns, rows, cell_width) < 1:
        raise ValueError(f"a sheet needs cells: {columns} x {rows} of width {cell_width}")
    properties = probe(video)
    chosen = np.unique(np.linspace(0, properties.frames - 1, columns * rows).round().astype(int))
    width = min(cell_width, properties.width)
    height = max(1, round(properties.height * width / properties.width))
    sheet = Image.new("RGB", (columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP))
    cell = 0
    for index, frame in enumerate(decode_frames(video)):
        if index not in chosen:
            continue
        row, column = divmod(cell, columns)
        thumbnail = Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS)
        sheet.paste(thumbnail, (column * (width + _GAP), row * (height + _GAP)))
        cell += 1
    sheet.save(png, format="PNG")
