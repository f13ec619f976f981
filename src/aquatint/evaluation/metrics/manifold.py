"""How far two sets of feature vectors cover each other: precision, recall, density and coverage.

A set's manifold is the union of balls around its vectors, each of which reaches to the k-th nearest other vector.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from aquatint.errors import UsageError

NEIGHBOURS = 3  # Kynkäänniemi et al. 2019, section 2
_DENSE_NEIGHBOURS = 5  # Naeem et al. 2020, section 3
_ROWS = 1024  # whose distances to all others are in memory at once


def precision(first: np.ndarray, second: np.ndarray) -> float:
    """The fraction of decoded vectors that lie on the manifold of the originals: how real pictures look.

    Source: Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", 2019,
    equation 2.

    Arguments:
        first: vectors of originals, (N, D).
        second: vectors of decoded pictures, (M, D); as many as there are originals, or the values do not compare.

    Raises:
        UsageError: a set has too few vectors for its neighbours, or the dimensions differ.
    """
    return float((_inside(first, second, NEIGHBOURS) > 0).mean())


def recall(first: np.ndarray, second: np.ndarray) -> float:
    """The fraction of originals that lie on the manifold of decoded pictures; otherwise as `precision`."""
    return precision(second, first)


def density(first: np.ndarray, second: np.ndarray) -> float:
    """How many balls of originals a decoded vector lies in, over k: unlike precision an outlier hardly counts.

    May exceed 1. Source: Naeem et al., "Reliable fidelity and diversity metrics for generative models", 2020,
    equation 3; arguments and errors as of `precision`.
    """
    return float(_inside(first, second, _DENSE_NEIGHBOURS).mean()) / _DENSE_NEIGHBOURS


def coverage(first: np.ndarray, second: np.ndarray) -> float:
    """The fraction of originals in whose ball there is a decoded vector (Naeem et al. 2020, equation 4)."""
    radii = _radii(first, second, _DENSE_NEIGHBOURS)
    nearest = np.concatenate([rows.min(1) for rows in _squared_distances(first, second)])
    return float((nearest <= radii).mean())


def _inside(centres: np.ndarray, vectors: np.ndarray, k: int) -> np.ndarray:
    """For each vector the number of balls around centres that it lies in."""
    radii = _radii(centres, vectors, k)
    return np.concatenate([(rows <= radii).sum(1) for rows in _squared_distances(vectors, centres)])


def _radii(centres: np.ndarray, others: np.ndarray, k: int) -> np.ndarray:
    """Squared distances of vectors (N, D) to the k-th nearest other one of their set."""
    if centres.ndim != 2 or others.ndim != 2 or centres.shape[1] != others.shape[1]:
        raise UsageError(f"two sets of vectors of one dimension are needed, not {centres.shape} and {others.shape}")
    if min(len(centres), len(others)) <= k:
        raise UsageError(f"at least {k + 1} vectors a set are needed, not {len(centres)} and {len(others)}")
    # The nearest one is the vector itself.
    return np.concatenate([np.partition(rows, k, axis=1)[:, k] for rows in _squared_distances(centres, centres)])


def _squared_distances(first: np.ndarray, second: np.ndarray) -> Iterator[np.ndarray]:
    """Squared distances (n, M) of the next n vectors (N, D) to all of (M, D), until there are no more."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    lengths = np.square(second).sum(1)
    for start in range(0, len(first), _ROWS):
        some = first[start : start + _ROWS]
        yield np.maximum(np.square(some).sum(1)[:, None] + lengths - 2 * some @ second.T, 0)
