"""Power diagrams: which code a point belongs to, and the three ways to write that down.

With heights h the cell of code y_i is where <x, y_i> + h_i is the largest of all (Gu, Luo, Sun & Yau 2013,
arXiv 1302.5472). The same cells are written with weights, as the least of |x - y_i|^2 - g_i, and with biases, as the
largest of <x, y_i> - |y_i|^2 / 2 + b_i; there zeros mean nearest neighbours.
"""

from __future__ import annotations

import numpy as np

from aquatint.errors import UsageError

_TILE = 512  # points whose scores are in memory at once: with 4096 codes they fit a cache of 8 MiB


def heights_of_weights(weights: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """h = (g - |y|^2) / 2."""
    return (weights - np.square(codes).sum(1)) / 2


def weights_of_heights(heights: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """g = 2 h + |y|^2."""
    return 2 * heights + np.square(codes).sum(1)


def heights_of_biases(biases: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """h = b - |y|^2 / 2."""
    return biases - np.square(codes).sum(1) / 2


def biases_of_heights(heights: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """b = h + |y|^2 / 2."""
    return heights + np.square(codes).sum(1) / 2


def cells(points: np.ndarray, codes: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """The code of each point; of equal scores the first.

    Arguments:
        points: of shape (S, d).
        codes: y, of shape (N, d).
        heights: h, of shape (N,).

    Returns:
        Integers of shape (S,).

    Raises:
        UsageError: the shapes do not fit together.
    """
    return cells_and_gaps(points, codes, heights)[0]


def cells_and_gaps(points: np.ndarray, codes: np.ndarray, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The code of each point, and by how much its score exceeds the second best one, of shape (S,); inf if N is 1."""
    _check(points, codes, heights)
    # The heights are the weights of one more input, which is 1: so the matrix product adds them.
    extended = np.concatenate([codes, heights[:, None]], 1, dtype=np.float32).T.copy()
    indices = np.empty(len(points), np.int64)
    gaps = np.empty(len(points), np.float32)
    inputs = np.ones((_TILE, codes.shape[1] + 1), np.float32)
    scores = np.empty((_TILE, len(codes)), np.float32)
    rows = np.arange(_TILE)
    for start in range(0, len(points), _TILE):
        count = min(_TILE, len(points) - start)
        inputs[:count, :-1] = points[start : start + count]
        tile = np.matmul(inputs[:count], extended, out=scores[:count])
        best = tile.argmax(1)
        highest = tile[rows[:count], best]
        tile[rows[:count], best] = -np.inf
        indices[start : start + count] = best
        gaps[start : start + count] = highest - tile.max(1)
    return indices, gaps


def energy(points: np.ndarray, codes: np.ndarray, heights: np.ndarray, masses: np.ndarray) -> float:
    """The convex function whose minimum is the optimal map: mean of max_i(<x, y_i> + h_i), less sum_i nu_i h_i.

    Arguments:
        points: samples of the source, of shape (S, d).
        codes, heights: as in `cells`.
        masses: nu, positive, of sum 1 and shape (N,).
    """
    indices = cells(points, codes, heights)
    scores = np.einsum("sd,sd->s", points.astype(np.float64), codes[indices]) + heights[indices]
    return float(scores.mean() - masses @ heights)


def cell_masses(points: np.ndarray, codes: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """The fraction of the points in each cell, of shape (N,). Less the wanted masses it is the energy's gradient."""
    return np.bincount(cells(points, codes, heights), minlength=len(codes)) / len(points)


def _check(points: np.ndarray, codes: np.ndarray, heights: np.ndarray) -> None:
    if points.ndim != 2 or codes.ndim != 2 or points.shape[1] != codes.shape[1] or not len(codes):
        raise UsageError(f"points of shape {points.shape} do not fit codes of shape {codes.shape}")
    if heights.shape != codes.shape[:1]:
        raise UsageError(f"{len(codes)} codes need as many heights, not an array of shape {heights.shape}")
