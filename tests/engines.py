"""Fit engines with random networks and latents, and the architectures to try them with."""

from __future__ import annotations

import numpy as np

from aquatint import native
from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.codecs.overfitted.engine import Engine, create_engine

ISAS = native.instruction_sets()
# Grids, context, parents, hidden, residuals, noise: every number of inputs, parents and residual layers at least once.
ARCHITECTURES = [
    Architecture(7, 16, 0, 16, 2),
    Architecture(7, 8, 0, 8, 1),
    Architecture(7, 24, 0, 40, 2),
    Architecture(7, 12, 4, 12, 0),
    Architecture(3, 22, 2, 4, 3),
    Architecture(9, 13, 3, 20, 4),
    Architecture(1, 7, 1, 64, 1),
    Architecture(2, 4, 4, 8, 2),
    Architecture(7, 14, 2, 24, 1, 3),
    Architecture(1, 8, 0, 4, 0, 1),
]
ENGINES = [("torch", "auto"), *(("cpu", isa) for isa in ISAS)]
DEFAULT_TAPS = np.array([-3, -9, 67, 201]) / 256


def random_parameters(architecture: Architecture, generator: np.random.Generator) -> np.ndarray:
    arrays = {name: generator.normal(0, 0.25, shape) for name, shape in architecture.arrays().items()}
    arrays["taps"] = DEFAULT_TAPS + 0.2 * arrays["taps"]
    arrays["t2"] += 0.5
    return np.concatenate([array.ravel() for array in arrays.values()]).astype(np.float32)


def random_engine(
    height: int,
    width: int,
    architecture: Architecture,
    *,
    device: str = "cpu",
    threads: int = 3,
    isa: str = "auto",
    seed: int = 0,
    skip_finest: bool = False,
) -> Engine:
    generator = np.random.default_rng(seed)
    pixels = generator.random((3, height, width), dtype=np.float32)
    engine = create_engine(pixels, architecture, skip_finest=skip_finest, device=device, threads=threads, isa=isa)
    engine.parameters = random_parameters(architecture, generator)
    for k, shape in enumerate(architecture.grid_shapes(height, width)):
        latents = generator.normal(0, 2, shape).astype(np.float32)
        if k >= skip_finest:
            engine.set_latents(k, latents)
    return engine


def random_shares(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).random((height, width), dtype=np.float32)
