"""Learns the origins that overfitted fits start from: networks that one fit shares between many photographs.

    python -m aquatint.training.origins native/origins.bin PHOTOS_FOLDER...

A mosaic of crops is fitted like one picture, for each decoder and each Lagrangian of the table. What its networks have
learned suits photographs in general: what each grid means, how to upsample it, and the statistics of latents. Streams
count their parameters from origins, so new ones are a change of the format (docs/FORMAT.md, 2.2).
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from aquatint import image
from aquatint.codecs import Progress
from aquatint.codecs.overfitted import presets
from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.codecs.overfitted.engine import create_engine
from aquatint.codecs.overfitted.fit import Reporter, fit
from aquatint.codecs.overfitted.initialise import (
    DEFAULT_COLOUR,
    DEFAULT_TAPS,
    ORIGIN_LAGRANGIANS,
    ORIGIN_UNIT,
    SKIPPING_LAGRANGIANS,
    random_parameters,
    split,
)
from aquatint.codecs.overfitted.stream import GROUPS
from aquatint.errors import UsageError


@dataclass(frozen=True)
class Recipe:
    """How origins are learned.

    Attributes:
        rows, columns: of the mosaic.
        side: of its crops in pixels, large enough for all seven grids to matter.
        steps: for the second Lagrangian; the others continue from a neighbour with half as many.
        passes: through all Lagrangians; all but the first begin where the one before has come to, with new latents.
            The rows without the finest grid follow once, from the second of the others.
    """

    rows: int = 4
    columns: int = 6
    side: int = 256
    steps: int = 3000
    passes: int = 2


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def mosaic(photographs: Sequence[Path], rows: int, columns: int, side: int, seed: int) -> np.ndarray:
    """Random crops of random photographs, next to each other: planes (3, H, W) in [0, 1].

    Raises:
        UsageError: no photograph is as large as a crop.
    """
    chance = random.Random(seed)
    large = [path for path in photographs if min(_size(path)) >= side]
    if not large:
        raise UsageError(f"none of {len(photographs)} photographs has {side} pixels on both sides")
    crops: list[np.ndarray] = []
    for _ in range(rows * columns):
        pixels = image.read(chance.choice(large)).pixels
        height, width = pixels.shape[:2]
        top, left = chance.randint(0, height - side), chance.randint(0, width - side)
        crops.append(pixels[top : top + side, left : left + side])
    lines = [np.concatenate(crops[i::rows], axis=1) for i in range(rows)]
    return np.ascontiguousarray(np.moveaxis(np.concatenate(lines), 2, 0))


def learn(
    planes: np.ndarray,
    architecture: Architecture,
    start: np.ndarray,
    lagrangian: float,
    steps: int,
    skip_finest: bool = False,
) -> np.ndarray:
    """The networks of a fit to a mosaic; prints its progress."""
    engine = create_engine(planes, architecture, skip_finest=skip_finest)
    engine.parameters = start

    def report(progress: Progress) -> None:
        if progress.step % 100 == 0:
            print(f"  step {progress.step}: {progress.bpp:.3f} bpp, {progress.psnr:.2f} dB", flush=True)

    fit(engine, steps, lagrangian, None, 0, Reporter(report, steps, planes[0].size))
    error, bits = engine.evaluate()
    cost = math.log(float(error) + lagrangian * sum(bits) / planes[0].size)
    print(f"lagrangian {lagrangian:.1e}: log cost {cost:.3f}", flush=True)
    return engine.parameters


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
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("photographs", type=Path, nargs="+", help="folders of photographs")
    arguments = parser.parse_args()
    recipe = Recipe()
    photographs = sorted(path for folder in arguments.photographs for path in folder.iterdir() if path.is_file())
    planes = mosaic(photographs, recipe.rows, recipe.columns, recipe.side, 1)
    origins: dict[Architecture, list[np.ndarray]] = {}
    low, middle, *higher = ORIGIN_LAGRANGIANS
    for architecture in presets.LADDER.values():
        print(architecture)
        start, steps = random_parameters(architecture, 0), recipe.steps
        rows: list[np.ndarray] = []
        for _ in range(recipe.passes):
            centre = learn(planes, architecture, start, middle, steps)
            steps = recipe.steps // 2
            rows = [learn(planes, architecture, centre, low, steps), centre]
            for lagrangian in higher:
                rows.append(learn(planes, architecture, rows[-1], lagrangian, steps))
            start = rows[2]
        start = rows[1]
        for lagrangian in SKIPPING_LAGRANGIANS:
            start = learn(planes, architecture, start, lagrangian, steps, skip_finest=True)
            rows.append(start)
        origins[architecture] = rows
    arguments.out.write_bytes(pack(origins))


if __name__ == "__main__":
    main()
