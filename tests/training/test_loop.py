"""The training loop: it learns, it averages, and a run that was stopped ends where an unbroken one does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from training.loop import train

STEPS = 600


def trained(checkpoint: Path, *, stop_at: int | None = None) -> nn.Linear:
    """Fit a line; or die at a step."""
    torch.manual_seed(0)
    model = nn.Linear(1, 1)

    def loss_at(step: int) -> torch.Tensor:
        if step == stop_at:
            raise KeyboardInterrupt
        x = torch.randn(64, 1, generator=torch.Generator().manual_seed(step))
        return nn.functional.mse_loss(model(x), 3 * x - 1)

    train(model, loss_at, name="line", steps=STEPS, learning_rate=5e-2, decay=0.9, checkpoint=checkpoint)
    return model


def test_it_finds_the_line(tmp_path: Path) -> None:
    model = trained(tmp_path / "line.pt")
    assert model.weight.item() == pytest.approx(3, abs=0.02)
    assert model.bias.item() == pytest.approx(-1, abs=0.02)


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unbroken = trained(tmp_path / "unbroken.pt")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "stopped.pt", stop_at=333)
    resumed = trained(tmp_path / "stopped.pt")
    assert "line: going on at step 250" in capsys.readouterr().out
    assert torch.equal(resumed.weight, unbroken.weight)
    assert torch.equal(resumed.bias, unbroken.bias)
