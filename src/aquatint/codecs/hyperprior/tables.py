"""Integer probability tables, made once when a model is exported and shipped with it (docs/FORMAT.md, 3.3).

A decoder never computes a probability: floating point differs between machines.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from aquatint.codecs.hyperprior.priors import LEAST_SCALE

SYMBOLS = 32  # the numbers -15..15 of bins, and the escape
LARGEST = 15
SCALES = 64  # Gaussian tables, from the least scale upwards
SCALES_PER_OCTAVE = 5
_CERTAIN = 2  # magnitudes up to this never need the escape
_WIDEST = 4.0  # scale in bins from which on bins are made wider: beyond 15 lies then less than 1 number in 5000


def gaussian_tables() -> tuple[np.ndarray, np.ndarray]:
    """Cumulative tables of Gaussians of mean 0, uint16 of shape (SCALES, SYMBOLS), and the shifts of their bins."""
    tables, shifts = [], []
    for index in range(SCALES):
        scale = LEAST_SCALE * 2 ** (index / SCALES_PER_OCTAVE)
        shift = max(0, math.ceil(math.log2(scale / _WIDEST)))
        width = 1 << shift
        start = -(width // 2) - 0.5  # of the bin of 0
        edges = [(start + (d * width)) / scale for d in range(-LARGEST, LARGEST + 2)]
        # From the far tail inwards there is no cancellation.
        masses = [_gaussian_mass(low, high) for low, high in pairwise(edges)]
        tables.append(cumulative(np.array(masses)))
        shifts.append(shift)
    return np.stack(tables), np.array(shifts, np.uint8)


def density_tables(
    upper: np.ndarray, lower: np.ndarray, centres: np.ndarray, bins: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cumulative tables of learned densities, each around a number of its own.

    Arguments:
        upper, lower: logits of the cumulative probability at the upper and lower edges of bins, of shape (C, N).
        centres: the number in the middle of each table, of shape (C,).
        bins: the numbers of the bins, consecutive, of shape (N,).

    Returns:
        Tables of shape (C, SYMBOLS), and the centres clipped so that a table lies within the bins.
    """
    centres = np.clip(centres, bins[0] + LARGEST, bins[-1] - LARGEST).astype(np.int32)
    sign = -np.sign(upper + lower)
    masses = np.abs(_sigmoid(sign * upper) - _sigmoid(sign * lower))
    first = centres - LARGEST - bins[0]
    rows = [cumulative(mass[start : start + 2 * LARGEST + 1]) for mass, start in zip(masses, first, strict=True)]
    return np.stack(rows), centres


def cumulative(masses: np.ndarray) -> np.ndarray:
    """Integer cumulative probabilities, uint16 of shape (32,), of 31 masses that sum to less than 1; the rest escapes.

    What has no frequency is coded by the escape; a few numbers in the middle always have one.
    """
    frequencies = np.floor(np.maximum(masses, 0) * 65536).astype(np.int64)
    middle = slice(LARGEST - _CERTAIN, LARGEST + _CERTAIN + 1)
    frequencies[middle] = np.maximum(frequencies[middle], 1)
    frequencies[np.argmax(frequencies)] -= max(0, int(frequencies.sum()) - 65535)
    # Rounding down has lost probability; the likeliest number needs it most. The escape keeps what is really beyond.
    beyond = max(1, round((1 - float(masses.sum())) * 65536))
    frequencies[np.argmax(frequencies)] += max(0, 65536 - beyond - int(frequencies.sum()))
    return np.concatenate([[0], np.cumsum(frequencies)]).astype(np.uint16)


def costs(tables: np.ndarray, shifts: np.ndarray, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Bits that the coder spends on numbers, each by the table of its row."""
    table, shift = tables.astype(np.int64)[rows], shifts.astype(np.int64)[rows]
    frequencies = np.diff(table, axis=-1, append=65536)
    differences = (values + np.where(shift > 0, 1 << np.maximum(shift - 1, 0), 0)) >> shift
    inside = np.abs(differences) <= LARGEST
    symbols = np.where(inside, differences + LARGEST, SYMBOLS - 1)
    found = np.take_along_axis(frequencies, symbols[:, None], 1)[:, 0]
    escaped = ~inside | (found == 0)
    found = np.where(escaped, frequencies[:, -1], found)
    raw = np.where(escaped, np.where(np.abs(differences) < 127, 8, 24), 0)
    return 16 - np.log2(found) + raw + shift


def _gaussian_mass(low: float, high: float) -> float:
    if low > 0:
        low, high = -high, -low
    return 0.5 * (math.erfc(-high * math.sqrt(0.5)) - math.erfc(-low * math.sqrt(0.5)))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))
