"""Prints what torch sees of this machine's GPUs, as JSON.

Run as a process of its own: torch takes seconds to load, keeps memory on each GPU that it looked at, and may crash.
"""

from __future__ import annotations

import json
import sys


def main() -> int:
    """Run the probe; returns the exit status."""
    import torch  # noqa: PLC0415 - what this process is for

    devices: list[dict[str, object]] = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        devices.append({"name": torch.cuda.get_device_name(index), "free_bytes": free, "total_bytes": total})
    print(json.dumps({"built_for_cuda": torch.version.cuda, "devices": devices}))  # noqa: T201 - read by the doctor
    return 0


if __name__ == "__main__":
    sys.exit(main())
