"""Whether the devices of this machine's workers are there and large enough for the model."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cogreel.cli.findings import Finding, ok, problem, warning

from host.devices import Gpu, cuda_indices, malformed, nodes, probed
from host.doctor.model_checks import Model
from host.settings import Settings

HOSTED_MODEL = "zai-org/CogVideoX-5b"
HOSTED_MODEL_BYTES = 34 * 1000**3  # published for 720 x 480 and 49 frames in bf16, all parts on the GPU
PEAK_SHARE = 1.6  # of the weights: 34 GB for the 21 GB of CogVideoX-5B
DEVICE_WHY = "A worker without its device does not start."


async def check_devices(settings: Settings, model: Model) -> list[Finding]:
    """The form of `devices`, each GPU named there, and room for the model."""
    devices = settings.device_list()
    wrong = malformed(devices)
    if wrong or not devices:
        named = ", ".join(map(repr, wrong)) or "none"
        remedy = "A device is cuda:N, cpu or simulated."
        return [problem("devices", f"COGREEL_DEVICES names {named}", DEVICE_WHY, remedy)]
    indices = cuda_indices(devices)
    found = await _check_gpus(indices, _needed_bytes(settings, model)) if indices else []
    twice = sorted({device for device in devices if device.startswith("cuda") and devices.count(device) > 1})
    if twice:
        why = "Each takes the memory of a model of its own, and both take turns on the device."
        found.append(warning("devices", f"{', '.join(twice)} is named twice", why, "Name each GPU once."))
    if "cpu" in devices:
        found.append(_check_cpu(settings, model))
    if "simulated" in devices:
        found.append(ok("devices", "simulated: paints frames, no model"))
    return found


def _needed_bytes(settings: Settings, model: Model) -> int:
    if model.weights_bytes is not None:
        return int(PEAK_SHARE * model.weights_bytes)
    return HOSTED_MODEL_BYTES if settings.model == HOSTED_MODEL else 0


async def _check_gpus(indices: Sequence[int], needed_bytes: int) -> list[Finding]:
    try:
        built_for, gpus = await probed()
    except (OSError, ValueError, TimeoutError) as error:
        remedy = (
            "Does `nvidia-smi` work? Install what workers need, in the source tree: "
            "pip install -c constraints.txt ./client '.[worker]'"
        )
        return [problem("devices", f"torch cannot look for GPUs: {error}", DEVICE_WHY, remedy)]
    if not gpus:
        if built_for is None:
            remedy = "Install the build of torch for CUDA, not the one for CPUs; or set COGREEL_DEVICES=cpu."
            found = "there is no GPU for torch: this build of it is for CPUs only"
            return [problem("devices", found, DEVICE_WHY, remedy)]
        shown = nodes()
        seen = f"the driver shows {', '.join(shown)}" if shown else "there is no /dev/nvidia*"
        remedy = (
            "Does `nvidia-smi` work here? In a container, GPUs must be passed in (`--gpus all`, or the device plugin); "
            f"CUDA {built_for} needs a driver that is new enough; CUDA_VISIBLE_DEVICES may hide them."
        )
        return [problem("devices", f"torch finds no GPU; {seen}", DEVICE_WHY, remedy)]
    return [check_gpu(index, gpus, needed_bytes) for index in sorted(set(indices))]


def check_gpu(index: int, gpus: Sequence[Gpu], needed_bytes: int) -> Finding:
    """One GPU, held against what torch finds and what the model needs."""
    device = f"cuda:{index}"
    if index >= len(gpus):
        there = f"torch finds {len(gpus)}: cuda:0{f' to cuda:{len(gpus) - 1}' if len(gpus) > 1 else ''}"
        remedy = "Correct COGREEL_DEVICES. CUDA_VISIBLE_DEVICES renumbers what is left."
        return problem("devices", f"there is no {device}; {there}", DEVICE_WHY, remedy)
    gpu = gpus[index]
    described = f"{device} is a {gpu.name} with {gpu.total_bytes / 1e9:.0f} GB"
    why = "The model would run out of memory: attempts fail with DEVICE, or the worker does not start."
    if gpu.total_bytes < needed_bytes:
        remedy = "Use a larger GPU or a smaller model."
        return problem("devices", f"{described}, the model needs about {needed_bytes / 1e9:.0f} GB", why, remedy)
    if gpu.free_bytes < needed_bytes:
        remedy = "Stop what else uses it (`nvidia-smi` names it), unless that is a worker of this machine."
        return warning("devices", f"{described}, of which {gpu.free_bytes / 1e9:.0f} GB are free", why, remedy)
    return ok("devices", f"{described}, {gpu.free_bytes / 1e9:.0f} GB free")


def _check_cpu(settings: Settings, model: Model) -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = 2 * _needed_bytes(settings, model)  # in fp32
    if needed > total:
        return problem(
            "devices",
            f"cpu: the model needs about {needed / 1e9:.0f} GB in fp32, this machine has {total / 1e9:.0f} GB",
            "The system kills a worker that takes more memory than there is.",
            "Use a GPU, or COGREEL_MODEL=small with the card cogreel-small.",
        )
    if needed > HOSTED_MODEL_BYTES:
        remedy = "Use a GPU, or COGREEL_MODEL=small with the card cogreel-small."
        return warning("devices", "cpu: a large model on a CPU", "A video takes hours.", remedy)
    return ok("devices", f"cpu, {settings.cpu_threads} of {os.cpu_count()} threads, {total / 1e9:.0f} GB")
