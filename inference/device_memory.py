"""How much memory a device has."""

from __future__ import annotations

import os


def device_memory_bytes(device: str) -> int:
    """The memory of `cuda:N`, of the machine for `cpu`, and 0 for `simulated`, which has none."""
    if device.startswith("cuda"):
        import torch  # noqa: PLC0415 - a worker with the simulated device has no torch

        return int(torch.cuda.get_device_properties(torch.device(device)).total_memory)
    if device == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 0
