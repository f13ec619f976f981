"""Multiple-gradient descent: the direction in which all of several losses fall (Désidéri 2012; Sener & Koltun 2018)."""

from __future__ import annotations

import numpy as np

_TOLERANCE = 1e-12
_ROUNDS = 1000


def min_norm_weights(gram: np.ndarray) -> np.ndarray:
    """Weights of the shortest vector in the convex hull of gradients, by the algorithm of Wolfe 1976.

    Sener & Koltun 2018 (arXiv 1810.04650) solve this problem by Frank-Wolfe, whose steps become ever shorter when the
    vector lies on a face of the hull, as it does with gradients of very different length. Wolfe's algorithm keeps the
    corners of that face, jumps to the shortest vector of their affine hull, and ends after finitely many steps.

    Arguments:
        gram: dot products of the gradients, of shape (K, K), finite.

    Returns:
        Weights of shape (K,) that are not negative and sum to 1.
    """
    gram = np.asarray(gram, dtype=np.float64)
    gram = gram / max(np.trace(gram) / len(gram), np.finfo(np.float64).tiny)  # scale does not matter, tolerances do
    weights = np.zeros(len(gram))
    weights[np.argmin(gram.diagonal())] = 1
    for _ in range(_ROUNDS):
        slopes = gram @ weights
        corner = int(np.argmin(slopes))
        if slopes[corner] >= weights @ slopes - _TOLERANCE or weights[corner] > 0:
            break
        weights = _onto_face(gram, weights, [*np.flatnonzero(weights).tolist(), corner])
    return weights / weights.sum()


def _onto_face(gram: np.ndarray, weights: np.ndarray, face: list[int]) -> np.ndarray:
    """Moves to the shortest vector of the face's affine hull; where that is outside, drops corners on the way."""
    weights = weights.copy()
    while True:
        size = len(face)
        system = np.ones((size + 1, size + 1))
        system[:size, :size] = gram[np.ix_(face, face)]
        system[size, size] = 0
        aim = np.linalg.lstsq(system, np.append(np.zeros(size), 1.0), rcond=None)[0][:size]
        if (aim > 0).all():
            weights[:] = 0
            weights[face] = aim
            return weights
        now = weights[face]
        outside = aim <= 0
        reach = np.min(now[outside] / np.maximum(now[outside] - aim[outside], np.finfo(np.float64).tiny))
        moved = np.maximum(now + min(reach, 1.0) * (aim - now), 0)
        moved[np.argmin(np.where(outside, moved, np.inf))] = 0
        weights[face] = moved
        face = [corner for corner, weight in zip(face, moved, strict=True) if weight > 0]
