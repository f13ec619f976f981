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
_BEYOND = 1 / 5000  # the same for learned densities
_MOST_SHIFT = 5  # of theirs: from -512 to 512


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


def density_tables(logits: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cumulative tables of learned densities, each around its median, with bins as wide as the density wants.

    Arguments:
        logits: of the cumulative probability at the lower edges of consecutive numbers, of shape (C, N).
        first: the first of these numbers.

    Returns:
        Tables of shape (C, SYMBOLS), the shifts of their bins, and the numbers in their middle, of shape (C,).
    """
    last = logits.shape[1] - 1
    medians = np.clip((logits < 0).sum(1) - 1, 0, last - 1)
    tables, shifts = [], []
    for row, median in zip(logits, medians, strict=True):
        masses = [_density_masses(row, median, shift) for shift in range(_MOST_SHIFT + 1)]
        shift = next((shift for shift, mass in enumerate(masses) if mass.sum() > 1 - _BEYOND), _MOST_SHIFT)
        tables.append(cumulative(masses[shift]))
        shifts.append(shift)
    return np.stack(tables), np.array(shifts, np.uint8), (first + medians).astype(np.int32)


def _density_masses(logits: np.ndarray, median: int, shift: int) -> np.ndarray:
    edges = median + (np.arange(-LARGEST, LARGEST + 2) << shift) - (1 << shift >> 1)
    edges = np.clip(edges, 0, len(logits) - 1)
    lower, upper = logits[edges[:-1]], logits[edges[1:]]
    sign = -np.sign(upper + lower)  # to where the sigmoid is small, and differences are exact
    return np.abs(_sigmoid(sign * upper) - _sigmoid(sign * lower))


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
    frequencies = np.diff(tables.astype(np.int32), axis=-1, append=65536)
    with np.errstate(divide="ignore"):
        bits = 16 - np.log2(frequencies)
    shift = shifts.astype(np.int32)[rows]
    differences = (values + np.where(shift > 0, 1 << np.maximum(shift - 1, 0), 0)) >> shift
    symbols = np.where(np.abs(differences) <= LARGEST, differences + LARGEST, SYMBOLS - 1)
    escaped = (symbols == SYMBOLS - 1) | (frequencies[rows, symbols] == 0)
    found = np.where(escaped, bits[rows, -1], bits[rows, symbols])
    raw = np.where(escaped, np.where(np.abs(differences) < 127, 8, 24), 0)
    return found + raw + shift


def _gaussian_mass(low: float, high: float) -> float:
    if low > 0:
        low, high = -high, -low
    return 0.5 * (math.erfc(-high * math.sqrt(0.5)) - math.erfc(-low * math.sqrt(0.5)))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))
