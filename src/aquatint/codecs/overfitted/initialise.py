"""Where a fit starts: parameters of the networks before the first step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.codecs.overfitted.stream import origin_of

# Half of a symmetric eight-tap kernel that doubles a line, near the bicubic one (docs/FORMAT.md, 2.2).
DEFAULT_TAPS = np.array([-3, -9, 67, 201], np.float32) / 256
INITIAL_LOG_SCALE = -2.0  # base-2 logarithm of the Laplace scale
DEFAULT_COLOUR = 0.5  # mid grey: bias of the synthesis' output

# Lagrangians that origins are learned for (about 0.8, 0.3, 0.1 and 0.03 bpp), with interpolated ones between them; and
# those of fits that skip the finest grid, whose rows follow in the table.
ORIGIN_LAGRANGIANS = 4e-4, 2.5e-3, 1.5e-2, 9e-2
SKIPPING_LAGRANGIANS = ORIGIN_LAGRANGIANS[1:]
ORIGINS_PER_ROW = 16
ORIGIN_UNIT = 2.0**-12


def split(vector: np.ndarray, architecture: Architecture) -> dict[str, np.ndarray]:
    """Views of a flat parameter vector as the arrays of `Architecture.arrays`, by name."""
    arrays, start = {}, 0
    for name, shape in architecture.arrays().items():
        size = int(np.prod(shape))
        arrays[name] = vector[start : start + size].reshape(shape)
        start += size
    return arrays


def join(arrays: Mapping[str, np.ndarray], architecture: Architecture) -> np.ndarray:
    """The inverse of `split`."""
    return np.concatenate([arrays[name].ravel() for name in architecture.arrays()])


def random_parameters(architecture: Architecture, seed: int) -> np.ndarray:
    """A flat float32 vector of start parameters that nothing has been learned for.

    Linear layers get normal weights of variance gain^2 / inputs: small ones where a residual connection carries the
    signal, so that the entropy network starts near the identity. Residual 3x3 layers start at zero, which is the
    identity too; the upsampling starts at its default kernel, and the entropy network at a scale that suits zeros.
    """
    random = np.random.default_rng(seed)
    vector = np.zeros(architecture.parameter_count, np.float32)
    arrays = split(vector, architecture)
    for name, gain in {"w1": 0.3, "w2": 0.3, "w3": 0.3, "s1": 1.4, "s2": 1.0}.items():
        weights = arrays[name]
        weights[:] = random.normal(size=weights.shape) * gain / np.sqrt(weights.shape[1])
    arrays["b3"][1] = INITIAL_LOG_SCALE
    arrays["taps"][:] = DEFAULT_TAPS
    arrays["t2"][:] = DEFAULT_COLOUR
    return vector


def origin_for(lagrangian: float, skip_finest: bool) -> int:
    """The number of the learned origin for a fit.

    Args:
        lagrangian: weight of a bit per pixel.
        skip_finest: whether the fit skips the finest grid.
    """
    learned = SKIPPING_LAGRANGIANS if skip_finest else ORIGIN_LAGRANGIANS
    first = 1 + skip_finest * ORIGINS_PER_ROW * len(ORIGIN_LAGRANGIANS)
    positions = first + ORIGINS_PER_ROW * np.arange(len(learned))
    return round(float(np.interp(np.log(lagrangian), np.log(learned), positions)))


def origin_parameters(architecture: Architecture, which: int) -> np.ndarray:
    """The parameters at an origin, flattened: where fits start.

    Raises:
        UnsupportedFeatureError: there is no such origin for the architecture.
    """
    arrays = {
        name: (values * ORIGIN_UNIT).astype(np.float32) for name, values in origin_of(architecture, which).items()
    }
    arrays["taps"] += DEFAULT_TAPS
    arrays["t2"] += DEFAULT_COLOUR
    return join(arrays, architecture)
