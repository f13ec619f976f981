"""Learns the parameters that an overfitted fit starts from, by Reptile (Nichol et al. 2018, arXiv 1803.02999).

    python -m aquatint.training.start PHOTOS_FOLDER OUT.npz

Each round fits crops of photographs from the present start and moves the start a little towards where the networks
ended. Parameters that suit all photographs remain: what each grid means, kernels, and the statistics of latents.
"""

from __future__ import annotations

import argparse
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aquatint import image
from aquatint.codecs.overfitted import presets
from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.codecs.overfitted.engine import create_engine
from aquatint.codecs.overfitted.fit import Reporter, fit
from aquatint.codecs.overfitted.initialise import START_LAGRANGIANS, random_parameters


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="folder of photographs")
    parser.add_argument("out", type=Path, help="the .npz file to write")
    parser.add_argument("--rounds", type=int, default=Recipe.rounds)
    parser.add_argument("--architectures", nargs="+", default=list(presets.LADDER))
    arguments = parser.parse_args()
    recipe = Recipe(rounds=arguments.rounds)
    photographs = sorted(path for path in arguments.photographs.iterdir() if path.is_file())
    starts: dict[str, np.ndarray] = dict(np.load(arguments.out)) if arguments.out.exists() else {}
    for name in arguments.architectures:
        architecture = presets.LADDER[name]
        print(name, architecture)
        low, middle, high = START_LAGRANGIANS
        centre = learn(random_parameters(architecture, 0), architecture, photographs, middle, recipe.rounds, recipe, 1)
        sides = [learn(centre, architecture, photographs, side, recipe.rounds // 2, recipe, 2) for side in (low, high)]
        starts[name] = np.stack([sides[0], centre, sides[1]]).astype(np.float16)
        np.savez_compressed(arguments.out, allow_pickle=False, **starts)


if __name__ == "__main__":
    main()
