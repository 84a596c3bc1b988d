"""The devices of this machine's workers: how they are named, and whether the GPUs are there."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from host.settings import Settings

PROBE_WITHIN_S = 90.0  # torch is 2 GB of libraries, and a disk may be cold
_FORM = re.compile(r"cpu|simulated|cuda:\d+")


class DevicesError(ValueError):
    """The devices are misnamed, or not there."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as torch sees it."""

    name: str
    free_bytes: int
    total_bytes: int


def malformed(devices: Sequence[str]) -> list[str]:
    """Those that are no names of devices."""
    return [device for device in devices if not _FORM.fullmatch(device)]


def cuda_indices(devices: Sequence[str]) -> list[int]:
    """The numbers of the GPUs among them."""
    return [int(device.partition(":")[2]) for device in devices if device.startswith("cuda")]


def nodes() -> list[str]:
    """The GPUs that the driver shows, whatever torch sees of them."""
    return sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))


def distinct(devices: Sequence[str]) -> list[str]:
    """Their names in the names of workers: a device that is named again is numbered, `cpu` and `cpu.2`."""
    seen: Counter[str] = Counter()
    names: list[str] = []
    for device in devices:
        seen[device] += 1
        names.append(device if seen[device] == 1 else f"{device}.{seen[device]}")
    return names


async def ensure_devices(settings: Settings) -> None:
    """Look before anything is started for the devices. Looking for GPUs takes some seconds.

    Raises:
        DevicesError: there are none, one is misnamed, or a GPU is not there.
    """
    devices = settings.device_list()
    wrong = malformed(devices)
    if wrong or not devices:
        named = ", ".join(map(repr, wrong)) or "none"
        raise DevicesError(f"a device is cuda:N, cpu or simulated; --devices or COGREEL_DEVICES names {named}")
    indices = cuda_indices(devices)
    if not indices:
        return
    look = "`cogreeld doctor worker` looks closer"
    try:
        _, gpus = await probed()
    except (OSError, ValueError, TimeoutError) as error:
        raise DevicesError(f"torch cannot look for cuda:{indices[0]}: {error}; {look}") from error
    missing = [f"cuda:{index}" for index in sorted(set(indices)) if index >= len(gpus)]
    if missing:
        there = f"finds {', '.join(f'cuda:{index}' for index in range(len(gpus)))}" if gpus else "finds no GPU here"
        raise DevicesError(f"there is no {', '.join(missing)}: torch {there}; {look}")


async def probed() -> tuple[str | None, list[Gpu]]:
    """What torch sees: the version of CUDA that it is built for, and the GPUs. In a process of its own.

    Raises:
        ValueError: it does not run; with what it said.
        TimeoutError, OSError: as they say.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "host.doctor.torch_probe",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PROBE_WITHIN_S):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        said = errors.decode(errors="replace").strip().splitlines()
        raise ValueError(said[-1] if said else f"it ended with status {process.returncode}")
    seen = json.loads(output)
    return seen["built_for_cuda"], [Gpu(**device) for device in seen["devices"]]
