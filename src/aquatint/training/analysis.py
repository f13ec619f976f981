"""Trains the analysis that gives overfitted fits their first latents, with decoders that stay at their origins.

    python -m aquatint.training.analysis src/aquatint/codecs/overfitted/analysis.npz FOLDER...

For each decoder, crops of photographs pass the analysis, the quantisation proxy and the decoder at a random Lagrangian:
an autoencoder. The native engine gives the gradients of the decoder, PyTorch those of the analysis.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from aquatint.codecs.overfitted import analysis, presets
from aquatint.codecs.overfitted.architecture import LATENT_LIMIT, Architecture
from aquatint.codecs.overfitted.engine import create_engine
from aquatint.codecs.overfitted.initialise import (
    ORIGIN_LAGRANGIANS,
    SKIPPING_LAGRANGIANS,
    origin_for,
    origin_parameters,
)
from aquatint.training.origins import mosaic


@dataclass(frozen=True)
class Recipe:
    """How an analysis is trained.

    Attributes:
        crops: of random photographs to train on, `side` pixels wide and high.
        rows, columns: of the mosaic of crops that a step sees.
        steps: of Adam.
        rate: its learning rate, which rises for `warm_up` steps and falls along half a cosine.
        temperatures, noises: of the quantisation proxy, first and last: it hardens as in a fit.
        spread: of the hidden units at the start, so that latents leave zero soon.
    """

    crops: int = 600
    side: int = 256
    rows: int = 2
    columns: int = 3
    steps: int = 1500
    rate: float = 2e-3
    warm_up: int = 50
    temperatures: tuple[float, float] = (0.4, 0.12)
    noises: tuple[float, float] = (1.0, 0.5)
    spread: float = 20.0


def initial_networks(spread: float, seed: int) -> dict[str, Tensor]:
    """Networks that give zero and learn soon: the parts that are multiplied have He's variance, the others are zero."""
    random = torch.Generator().manual_seed(seed)
    networks = {name: torch.zeros(shape) for name, shape in analysis.SHAPES.items()}
    for name in ("first", "second"):
        networks[name].normal_(0, math.sqrt(2 / networks[name].shape[-1]), generator=random)
    for name in ("second", "second_bias", "second_slope"):
        networks[name] *= spread
    return {name: array.requires_grad_() for name, array in networks.items()}


def analyse(planes: Tensor, networks: dict[str, Tensor], scale: float, first_grid: int) -> list[Tensor]:
    """`analysis.first_latents` in PyTorch, without its limit, from a grid on.

    Args:
        planes: the picture, (3, H, W).
        networks: arrays as in `analysis.SHAPES`.
        scale: see `analysis.scale_of`.
        first_grid: the finest one to find latents for.
    """
    border = analysis.SIDE // 2
    level, latents = planes[None], []
    for k in range(analysis.GRIDS):
        if k > 0:
            level = F.avg_pool2d(level, 2, ceil_mode=True)
        if k < first_grid:
            continue
        net = {name: array[k] for name, array in networks.items()}
        x = F.pad(level - 0.5, [border] * 4, mode="replicate")
        h = F.conv2d(
            x,
            net["first"].view(-1, 3, analysis.SIDE, analysis.SIDE),
            net["first_bias"] + scale * net["first_slope"],
        )
        h = F.conv2d(F.relu(h), net["second"][:, :, None, None], net["second_bias"] + scale * net["second_slope"])
        y = F.conv2d(F.relu(h), net["out"][None, :, None, None])
        y = y + F.conv2d(x, net["direct"].view(1, 3, analysis.SIDE, analysis.SIDE)) + net["out_bias"]
        latents.append((torch.exp2(net["gain"] * scale) * y)[0, 0])
    return latents


def train(
    photographs: Sequence[Path], architecture: Architecture, skip_finest: bool, recipe: Recipe
) -> dict[str, Tensor]:
    """Trains the analysis of one decoder, for fits with or without the finest grid; prints its progress."""
    networks = initial_networks(recipe.spread, 0)
    adam = torch.optim.Adam(networks.values(), betas=(0.9, 0.99))
    random = np.random.default_rng(0)
    crops = mosaic(photographs, 1, recipe.crops, recipe.side, 0).reshape(3, recipe.side, recipe.crops, recipe.side)
    first_grid = int(skip_finest)
    low, *_, high = map(math.log, SKIPPING_LAGRANGIANS if skip_finest else ORIGIN_LAGRANGIANS)
    start, costs = time.perf_counter(), []
    for step in range(recipe.steps):
        progress = step / recipe.steps
        temperature, noise = (a + (b - a) * progress for a, b in (recipe.temperatures, recipe.noises))
        lagrangian = math.exp(random.uniform(low, high))
        chosen = random.integers(recipe.crops, size=(recipe.rows, recipe.columns))
        planes = np.concatenate([crops[:, :, row].reshape(3, recipe.side, -1) for row in chosen], axis=1)
        latents = analyse(torch.from_numpy(planes), networks, analysis.scale_of(lagrangian), first_grid)
        engine = create_engine(planes, architecture, skip_finest=skip_finest)
        engine.parameters = origin_parameters(architecture, origin_for(lagrangian, skip_finest))
        for k, grid in enumerate(latents, first_grid):
            engine.set_latents(k, grid.detach().clamp(-LATENT_LIMIT, LATENT_LIMIT).numpy())
        error, bits, _, gradients = engine.gradients(temperature, noise, lagrangian, step)
        cost = float(error) + lagrangian * float(bits) / planes[0].size
        # Of the logarithm of the cost, so that all Lagrangians count alike.
        adam.zero_grad()
        torch.autograd.backward(latents, [torch.from_numpy(gradient / cost) for gradient in gradients[first_grid:]])
        torch.nn.utils.clip_grad_norm_(networks.values(), 1.0)
        for group in adam.param_groups:
            group["lr"] = recipe.rate * min(1, (step + 1) / recipe.warm_up) * 0.5 * (1 + math.cos(math.pi * progress))
        adam.step()
        costs.append(math.log(cost))
        if (step + 1) % 100 == 0:
            seconds = time.perf_counter() - start
            print(f"step {step + 1}: log cost {np.mean(costs[-100:]):.3f}, {seconds:.0f} s", flush=True)
    return {name: array.detach() for name, array in networks.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("photographs", type=Path, nargs="+", help="folders of photographs")
    parser.add_argument("--decoders", nargs="+", default=list(presets.LADDER), choices=list(presets.LADDER))
    arguments = parser.parse_args()
    photographs = sorted(path for folder in arguments.photographs for path in folder.iterdir() if path.is_file())
    arrays: dict[str, np.ndarray] = {}
    if arguments.out.exists():
        with np.load(arguments.out) as file:
            arrays |= file
    for name in arguments.decoders:
        for skip_finest in (False, True):
            which = analysis.name_of(presets.LADDER[name], skip_finest)
            print(f"{name}: {which}")
            networks = train(photographs, presets.LADDER[name], skip_finest, Recipe())
            arrays |= {f"{which}/{key}": array.numpy().astype(np.float16) for key, array in networks.items()}
            np.savez_compressed(arguments.out, **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
