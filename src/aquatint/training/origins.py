"""Learns the origins that overfitted fits start from, by Reptile (Nichol et al. 2018, arXiv 1803.02999).

    python -m aquatint.training.origins PHOTOS_FOLDER native/origins.bin

Each round fits crops of photographs from the present origin and moves it a little towards where the networks
ended. Parameters that suit all photographs remain: what each grid means, kernels, and the statistics of latents.
Streams count their parameters from these origins, so new ones are a change of the format (docs/FORMAT.md, 2.2).
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aquatint import image
from aquatint.codecs.overfitted import presets
from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.codecs.overfitted.engine import create_engine
from aquatint.codecs.overfitted.fit import Reporter, fit
from aquatint.codecs.overfitted.initialise import (
    DEFAULT_COLOUR,
    DEFAULT_TAPS,
    ORIGIN_LAGRANGIANS,
    ORIGIN_UNIT,
    random_parameters,
    split,
)
from aquatint.codecs.overfitted.stream import GROUPS


@dataclass(frozen=True)
class Recipe:
    """How starts are learned.

    Attributes:
        rounds: of Reptile for the middle Lagrangian; the others continue from there with half as many.
        batch: fits a round, run side by side.
        steps: of a fit; a start is learned for short fits and serves long ones as well.
        crop: side of the crops in pixels, large enough for all seven grids to matter.
        rates: how far the start moves towards the mean of the fits, first and last.
    """

    rounds: int = 160
    batch: int = 4
    steps: int = 150
    crop: int = 192
    rates: tuple[float, float] = (0.5, 0.05)


def random_crop(path: Path, side: int, chance: random.Random) -> np.ndarray | None:
    """A crop of a photograph as planes (3, side, side), or None if it is too small."""
    pixels = image.read(path).pixels
    height, width = pixels.shape[:2]
    if min(height, width) < side:
        return None
    top, left = chance.randrange(height - side + 1), chance.randrange(width - side + 1)
    return np.ascontiguousarray(np.moveaxis(pixels[top : top + side, left : left + side], 2, 0))


def fitted(
    planes: np.ndarray, architecture: Architecture, start: np.ndarray, lagrangian: float, recipe: Recipe
) -> tuple[np.ndarray, float]:
    """Parameters after a short fit from `start`, and its final loss."""
    engine = create_engine(planes, architecture, threads=1)
    engine.parameters = start
    fit(engine, recipe.steps, lagrangian, None, 0, Reporter(None, recipe.steps, planes[0].size))
    error, bits = engine.evaluate()
    return engine.parameters, float(error) + lagrangian * sum(bits) / planes[0].size


def learn(
    start: np.ndarray,
    architecture: Architecture,
    photographs: list[Path],
    lagrangian: float,
    rounds: int,
    recipe: Recipe,
    seed: int,
) -> np.ndarray:
    """Moves a start by Reptile; prints the running mean of log loss every 20 rounds."""
    chance = random.Random(seed)
    losses: list[float] = []
    with ThreadPoolExecutor(2) as pool:
        for i in range(rounds):
            crops = []
            while len(crops) < recipe.batch:
                crop = random_crop(chance.choice(photographs), recipe.crop, chance)
                if crop is not None:
                    crops.append(crop)
            results = list(pool.map(lambda planes: fitted(planes, architecture, start, lagrangian, recipe), crops))  # noqa: B023
            rate = recipe.rates[0] + (recipe.rates[1] - recipe.rates[0]) * i / max(rounds - 1, 1)
            start = start + rate * (np.mean([parameters for parameters, _ in results], axis=0) - start)
            losses += [np.log(loss) for _, loss in results]
            if (i + 1) % 20 == 0:
                loss = np.mean(losses[-20 * recipe.batch :])
                print(f"lagrangian {lagrangian:.1e}, round {i + 1}: log loss {loss:.3f}", flush=True)
    return start.astype(np.float32)


def pack(origins: Mapping[Architecture, Sequence[np.ndarray]]) -> bytes:
    """The table of docs/FORMAT.md, 2.2.

    Args:
        origins: for each size of networks, with seven grids, one flat parameter vector a Lagrangian.
    """
    table: list[np.ndarray] = []
    for architecture, rows in origins.items():
        sizes = architecture.context, architecture.parents, architecture.hidden, architecture.residuals
        table.append(np.array([*sizes, len(rows)]))
        for row in rows:
            arrays = {name: values.astype(np.float64) for name, values in split(row, architecture).items()}
            arrays["taps"] -= DEFAULT_TAPS
            arrays["t2"] -= DEFAULT_COLOUR
            ordered = np.concatenate([arrays[name].ravel() for names in GROUPS.values() for name in names])
            table.append(np.clip(np.rint(ordered / ORIGIN_UNIT), -32768, 32767))
    return np.concatenate(table).astype("<i2").tobytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="folder of photographs")
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("--rounds", type=int, default=Recipe.rounds)
    arguments = parser.parse_args()
    recipe = Recipe(rounds=arguments.rounds)
    photographs = sorted(path for path in arguments.photographs.iterdir() if path.is_file())
    origins: dict[Architecture, list[np.ndarray]] = {}
    low, middle, high = ORIGIN_LAGRANGIANS
    for architecture in presets.LADDER.values():
        print(architecture)
        centre = learn(random_parameters(architecture, 0), architecture, photographs, middle, recipe.rounds, recipe, 1)
        sides = [learn(centre, architecture, photographs, side, recipe.rounds // 2, recipe, 2) for side in (low, high)]
        origins[architecture] = [sides[0], centre, sides[1]]
    arguments.out.write_bytes(pack(origins))


if __name__ == "__main__":
    main()
