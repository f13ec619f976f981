"""Multiple-gradient descent: the direction in which all of several losses fall (Désidéri 2012; Sener & Koltun 2018)."""

from __future__ import annotations

import numpy as np

_ROUNDS = 250
_TOLERANCE = 1e-9


def min_norm_weights(gram: np.ndarray) -> np.ndarray:
    """Weights of the shortest vector in the convex hull of gradients, by Frank-Wolfe with exact line search.

    Sener & Koltun 2018 (arXiv 1810.04650), algorithm 2, with away steps (Guélat & Marcotte 1986), which make it
    converge at a linear rate when the vector lies on a face of the hull.

    Arguments:
        gram: dot products of the gradients, of shape (K, K), finite.

    Returns:
        Weights of shape (K,) that are not negative and sum to 1.
    """
    gram = np.asarray(gram, dtype=np.float64)
    gram = gram / max(np.trace(gram) / len(gram), np.finfo(np.float64).tiny)  # scale does not matter, tolerances do
    weights = np.full(len(gram), 1 / len(gram))
    for _ in range(_ROUNDS):
        slopes = gram @ weights
        towards = int(np.argmin(slopes))
        away = int(np.argmax(np.where(weights > 0, slopes, -np.inf)))
        gap = weights @ slopes - slopes[towards]
        if slopes[away] - slopes[towards] < _TOLERANCE:
            break
        if gap >= slopes[away] - weights @ slopes:
            direction, longest = -weights, 1.0
            direction[towards] += 1
        else:
            direction, longest = weights.copy(), weights[away] / max(1 - weights[away], 1e-300)
            direction[away] -= 1
        curvature = direction @ gram @ direction
        slope = -(direction @ slopes)
        weights = weights + direction * (longest if curvature <= 0 else min(slope / curvature, longest))
        weights = np.maximum(weights, 0)
        weights /= weights.sum()
    return weights
