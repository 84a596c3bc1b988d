"""What CogVideoX costs on a GPU, part by part: `python -m bench.gpu [--json FILE]`. Needs no network and no weights.

Builds the full-size modules with random weights on the device and times attention kernels, matrix products, one guided
denoising step (eager, compiled, in 8-bit floats), T5, decoding, RIFE, encoding, and a whole request through the
worker's own code. The table holds each against the fastest matrix product measured. `--small --device cpu` runs it all
in little, to see that it runs.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.cogvideox_sizes import FULL, SMALL, Extent, random_pipeline
from inference.acceleration import BACKENDS, accelerate
from inference.cogvideox import CogVideoXModel
from inference.float8 import round_weights
from inference.model import Clip, Generation, ModelIdentity, SilentProgress
from inference.mp4 import encode_mp4
from inference.profiles import Profile
from inference.quiet_libraries import quieten_libraries
from inference.render import render
from inference.rife import RifeWeightsError, find_rife_weights
from inference.rife.interpolate import Interpolator
from inference.streaming_decode import decode_chunks

KERNELS = {**BACKENDS, "math": SDPBackend.MATH}


@dataclass
class Row:
    """One measured thing: seconds (the median), and the work that it is, where that is known."""

    name: str
    seconds: float | None
    tflop: float | None = None
    note: str = ""

    @property
    def rate(self) -> float | None:
        """TFLOP a second, where both are known."""
        return self.tflop / self.seconds if self.tflop and self.seconds else None


@dataclass
class Bench:
    """What is measured on, and what was found so far."""

    device: torch.device
    dtype: torch.dtype
    extent: Extent
    steps: int
    repeats: int
    rows: list[Row] = field(default_factory=list)

    def time(self, name: str, run: Callable[[], object], *, tflop: float | None = None) -> None:
        """Run once to warm up, then several times; a kernel that is not to be had here becomes a row that says so."""
        try:
            self._once(run)
            seconds = float(np.median([self._once(run) for _ in range(self.repeats)]))
        except (RuntimeError, NotImplementedError) as error:
            self.rows.append(Row(name, None, note=f"not here: {_first_line(error)}"))
        else:
            self.rows.append(Row(name, seconds, tflop))

    def time_first(self, name: str, run: Callable[[], object]) -> None:
        """Run once, for what is dear the first time only."""
        try:
            self.rows.append(Row(name, self._once(run), note="the first time"))
        except (RuntimeError, NotImplementedError) as error:
            self.rows.append(Row(name, None, note=f"not here: {_first_line(error)}"))

    def random(self, *shape: int) -> torch.Tensor:
        """Normal noise on the device."""
        return torch.randn(shape, device=self.device, dtype=self.dtype)

    def _once(self, run: Callable[[], object]) -> float:
        started = time.perf_counter()
        run()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - started


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:80]


def measure_products(bench: Bench) -> None:
    """Matrix products of the transformer: of both guidance halves, into the feed-forward layer and the attention's."""
    extent = bench.extent
    rows, width = 2 * extent.tokens, extent.model_width
    for name, inner in (("feed-forward", 4 * width), ("projection", width)):
        left, right = bench.random(rows, width), bench.random(inner, width)
        tflop = 2 * rows * width * inner / 1e12
        bench.time(f"product {name} {bench.dtype}".replace("torch.", ""), partial(_product, left, right), tflop=tflop)
        if bench.device.type == "cuda":
            run = partial(_scaled_product, left.to(torch.float8_e4m3fn), right.to(torch.float8_e4m3fn), bench.dtype)
            bench.time(f"product {name} float8", run, tflop=tflop)


def _product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return left @ right.T


def _scaled_product(left: torch.Tensor, right: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    one = torch.ones((), device=left.device)
    return torch._scaled_mm(left, right.T, one, one, out_dtype=dtype)


def measure_attention(bench: Bench) -> None:
    """One layer's attention of both guidance halves, by each kernel of torch."""
    extent = bench.extent
    query, key, value = (bench.random(2, extent.heads, extent.tokens, extent.head_width) for _ in range(3))
    tflop = 4 * 2 * extent.heads * extent.tokens**2 * extent.head_width / 1e12
    for name, backend in KERNELS.items():
        if name == "math" and extent is FULL:
            continue  # its scores alone would take 60 GB

        def attend(backend: SDPBackend = backend) -> object:
            with sdpa_kernel(backend):
                return functional.scaled_dot_product_attention(query, key, value)

        bench.time(f"attention {name}", attend, tflop=tflop)


@torch.no_grad()
def measure_modules(bench: Bench, pipeline: Any) -> Step:
    """T5, a guided step and decoding; returns the step, to be measured again when it is compiled."""
    extent = bench.extent
    ids = torch.randint(0, 1000, (1, 226), device=bench.device)
    bench.time("T5, one prompt", lambda: pipeline.text_encoder(ids)[0])
    text = bench.random(2, 226, extent.text_width)
    latents = bench.random(2, extent.latent_frames, 16, extent.height // 8, extent.width // 8)
    rotary = pipeline._prepare_rotary_positional_embeddings(
        extent.height, extent.width, extent.latent_frames, bench.device
    )
    timestep = torch.full((2,), 500, device=bench.device)

    def step() -> object:
        return pipeline.transformer(
            hidden_states=latents,
            encoder_hidden_states=text,
            timestep=timestep,
            image_rotary_emb=rotary,
            return_dict=False,
        )

    with FlopCounterMode(display=False) as counter:
        step()
    tflop = counter.get_total_flops() / 1e12
    bench.time("guided step, eager", step, tflop=tflop)
    latent = bench.random(1, extent.latent_frames, 16, extent.height // 8, extent.width // 8)
    bench.time("decode", lambda: list(decode_chunks(pipeline.vae, latent)))
    return Step(step, tflop)


@dataclass(frozen=True)
class Step:
    """A guided denoising step, and the work that it is."""

    run: Callable[[], object]
    tflop: float


@torch.no_grad()
def measure_compiled(bench: Bench, transformer: Any, step: Step) -> None:
    """The guided step as the profiles have it: with each block compiled, then in 8-bit floats too. It stays so."""
    accelerate(transformer, Profile(compiled=True))
    bench.time_first("guided step, compiling", step.run)
    bench.time("guided step, compiled", step.run, tflop=step.tflop)
    round_weights(transformer)
    bench.time_first("guided step, compiling float8", step.run)
    bench.time("guided step, compiled, float8", step.run, tflop=step.tflop)


def measure_request(bench: Bench, pipeline: Any, rife: Path | None, folder: Path) -> None:
    """RIFE, encoding, and a whole request stage by stage, in one thread, where a worker encodes beside the device."""
    extent = bench.extent
    frames = np.random.default_rng(0).integers(0, 255, (extent.frames, extent.height, extent.width, 3), np.uint8)
    doubler = Interpolator(rife, device=bench.device) if rife else None
    if doubler:
        bench.time("RIFE, all pairs", lambda: doubler.double(Clip.of(frames), SilentProgress()).frames())
    size = {"fps": 16, "width": extent.width, "height": extent.height}
    noise = folder / "noise.mp4"
    bench.time("encode noise", lambda: encode_mp4(Clip.of(frames), noise, **size, progress=SilentProgress()))

    model = CogVideoXModel(pipeline, ModelIdentity("random", "1", ""), num_frames=extent.frames)
    generation = Generation(
        prompt="A garden comes to life",
        negative_prompt="",
        width=extent.width,
        height=extent.height,
        num_inference_steps=bench.steps,
        guidance_scale=7.0,
        seed=1,
        use_rife=doubler is not None,
        export_fps=16,
    )
    stages = Stages()
    started = time.perf_counter()
    render(model, doubler, generation, folder / "request.mp4", stages)
    name = f"request, {bench.steps} steps, eager"
    spent = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in stages.seconds.items())
    bench.rows.append(Row(name, time.perf_counter() - started, note=spent))


class Stages(SilentProgress):
    """A `Progress` that measures the stages, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, stage: Any, total: int = 0) -> Any:  # noqa: ARG002
        started = time.perf_counter()
        yield
        self.seconds[stage.value] = self.seconds.get(stage.value, 0.0) + time.perf_counter() - started


def facts(device: torch.device) -> dict[str, object]:
    """What the numbers hold for."""
    found: dict[str, object] = {"torch": torch.__version__, "diffusers": diffusers.__version__}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "device": properties.name,
            "memory_gb": round(properties.total_memory / 1e9, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "peak_gb": round(torch.cuda.max_memory_allocated(device) / 1e9, 1),
        }
    else:
        found |= {"device": f"CPU {platform.machine()}, {torch.get_num_threads()} threads"}
    return found


def table(rows: list[Row]) -> str:
    """The rows as Markdown, each with its rate and that against the fastest product of the same precision."""
    products = [row for row in rows if row.name.startswith("product") and "float8" not in row.name]
    best = max((row.rate for row in products if row.rate), default=float("nan"))
    lines = ["| what | seconds | TFLOP | TFLOP/s | of the best product | |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        work = f"{row.tflop:.4g} | {row.rate:.4g} | {100 * row.rate / best:.0f} %" if row.rate else " | | "
        seconds = "" if row.seconds is None else f"{row.seconds:.4f}"
        lines.append(f"| {row.name} | {seconds} | {work} | {row.note} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda:0"))
    parser.add_argument("--small", action="store_true", help="few of everything, to see that it runs")
    parser.add_argument("--steps", type=int, default=50, help="denoising steps of the whole request")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-compile", dest="compiled", action="store_false", help="leave out what is compiled")
    parser.add_argument("--rife", type=Path, default=Path("~/.cache/cogreel/rife").expanduser())
    parser.add_argument("--json", type=Path, help="where the numbers go as well")
    wanted = parser.parse_args(arguments)
    quieten_libraries()
    dtype = torch.bfloat16 if wanted.device.type == "cuda" else torch.float32
    bench = Bench(wanted.device, dtype, SMALL if wanted.small else FULL, wanted.steps, wanted.repeats)
    try:
        rife: Path | None = find_rife_weights(wanted.rife)
    except RifeWeightsError as error:
        print(f"without RIFE: {error}")
        rife = None
    measure_products(bench)
    measure_attention(bench)
    pipeline = random_pipeline(bench.extent, wanted.device, dtype)
    step = measure_modules(bench, pipeline)
    with tempfile.TemporaryDirectory() as folder:
        measure_request(bench, pipeline, rife, Path(folder))
    if wanted.compiled:
        measure_compiled(bench, pipeline.transformer, step)
    about = facts(wanted.device) | {"extent": asdict(bench.extent)}
    print(", ".join(f"{name} {value}" for name, value in about.items() if name != "extent"))
    print(f"\n{table(bench.rows)}")
    if wanted.json:
        content = {"facts": about, "rows": [asdict(row) for row in bench.rows]}
        wanted.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
