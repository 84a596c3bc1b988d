"""The training loop of both networks: AdamW, warm-up and cosine, averaged weights, progress, resumption."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

_CHECKPOINT_EVERY = 250
_SAY_EVERY = 50
_WARM_UP = 100


def train(
    model: nn.Module,
    loss_at: Callable[[int], torch.Tensor],
    *,
    name: str,
    steps: int,
    learning_rate: float,
    decay: float,
    checkpoint: Path,
) -> None:
    """Minimise a loss for `steps` steps and leave the averaged weights in `model`.

    The learning rate rises for 100 steps and falls to nothing along a cosine; gradients are clipped at norm 1.
    Weights are averaged exponentially with `decay`. Progress goes to standard output.

    Args:
        model: what is trained, in place.
        loss_at: the loss at a step, counted from 0. It alone chooses the step's data, from the step's number,
            so that a run that was stopped goes on with what would have come.
        name: what the progress lines call it.
        checkpoint: the file that is written every 250 steps and read at the start where it is there.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    average = AveragedModel(model, avg_fn=_averaging(decay))
    first = 0
    if checkpoint.exists():
        first = _restore(checkpoint, model, optimizer, average)
        print(f"{name}: going on at step {first}", flush=True)
    started, recent = time.monotonic(), 0.0
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * _schedule(step, steps)
        loss = loss_at(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)

        value = float(loss.detach())
        recent = value if step == first else 0.95 * recent + 0.05 * value
        done = step + 1
        if done % _CHECKPOINT_EVERY == 0 or done == steps:
            _save(checkpoint, model, optimizer, average, done)
        if done % _SAY_EVERY == 0 or done == steps:
            left = (time.monotonic() - started) / (done - first) * (steps - done)
            print(f"{name}: step {done} of {steps}, loss {recent:.4f}, {left / 60:.0f} min left", flush=True)
    model.load_state_dict(average.module.state_dict())


def _schedule(step: int, steps: int) -> float:
    return min((step + 1) / _WARM_UP, 1.0) * (0.5 + 0.5 * math.cos(math.pi * step / steps))


def _averaging(decay: float) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor | int], torch.Tensor]:
    def averaged(average: torch.Tensor, current: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
        # A short memory at first, so that the average does not begin with untrained weights.
        keep = min(decay, (1 + int(count)) / (10 + int(count)))
        return torch.lerp(average, current, 1 - keep)

    return averaged


def _save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module, step: int) -> None:
    unfinished = path.with_suffix(".unfinished")
    states = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average.state_dict()}
    torch.save({"step": step, **states}, unfinished)
    unfinished.replace(path)


def _restore(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module) -> int:
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    average.load_state_dict(state["average"])
    return int(state["step"])
