"""Training towards a rate: the weights of pictures above and below it, and the task."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tyro")
pytest.importorskip("safetensors")

from hyperprior_models import FAMILY  # noqa: E402

from aquatint.codecs.hyperprior.architecture import ARCHITECTURES  # noqa: E402
from aquatint.errors import UsageError  # noqa: E402
from aquatint.training import loop, target_rate  # noqa: E402
from aquatint.training.data import Photograph  # noqa: E402
from aquatint.training.log import LOG  # noqa: E402
from aquatint.training.rate_control import rate_weights  # noqa: E402
from aquatint.training.recipes import TargetRate  # noqa: E402

CPU = torch.device("cpu")


def test_rate_weights_of_pictures_above_and_below_their_targets() -> None:
    bpp, target = torch.tensor([0.15, 0.13, 0.5, 0.17]), torch.tensor([0.14, 0.14, 0.035, 0.14])
    late = rate_weights(bpp, target, 100, below=2**-4, warmup=100)
    assert late.tolist() == pytest.approx([2, 0.0625, 8, 2])
    # At first the target is 0.2 instead of 0.14, and bits above it cost half.
    early = rate_weights(bpp, target, 99, below=2**-4, warmup=100)
    assert early.tolist() == pytest.approx([0.0625, 0.0625, 4, 0.0625])


@pytest.mark.parametrize("target", [0.07, 0.14, 0.3])
def test_a_toy_model_comes_to_its_target(target: float) -> None:
    # Distortion falls exponentially with the rate; without the rule the rate would rise as long as it pays.
    log_rate = torch.tensor([0.0], requires_grad=True)
    adam = torch.optim.Adam([log_rate], 0.02)
    found = []
    for step in range(1200):
        bpp = log_rate.exp()
        weight = rate_weights(bpp, torch.tensor([target]), step, below=2**-4, warmup=500)
        loss = (torch.exp(-4 * bpp) / 4 + weight * bpp).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        found.append(float(bpp.detach()))
    assert np.mean(found[300:500]) == pytest.approx(target / 0.7, rel=0.05)
    assert np.mean(found[-200:]) == pytest.approx(target, rel=0.05)


@pytest.mark.usefixtures("lpips_of_pixels")
def test_networks_are_trained_towards_a_rate(
    photographs: list[Photograph], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARCHITECTURES, "tiny", FAMILY["channelwise"])
    recipe = TargetRate(
        steps=30,
        batch=4,
        crop=64,
        warmup=2,
        holdout=3,
        validation_crops=2,
        checkpoint_every=15,
        log_every=1,
        learning_rate=3e-3,
        architecture="tiny",
        bpp=0.4,
        least_bpp=0.05,
        easing=10,
    )
    task = target_rate.TargetRateTask(recipe, CPU)
    loop.train(task, recipe, photographs, tmp_path / "run", device=CPU, quiet=True)
    lines = [json.loads(line) for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    rates = [line["bpp"] for line in lines if line["kind"] == "train"]
    assert np.mean(rates[-3:]) < 0.8 * rates[0]
    with pytest.raises(UsageError, match=r"least_bpp must be above 0 and at most 0\.4, not 0\.5"):
        target_rate.TargetRateTask(replace(recipe, least_bpp=0.5), CPU)
    with pytest.raises(UsageError, match=r"one rate; least_bpp must be 0\.4"):
        target_rate.TargetRateTask(replace(recipe, architecture="mean-scale"), CPU)
