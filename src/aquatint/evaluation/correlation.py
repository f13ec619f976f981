"""How well values predict scores: Pearson, Spearman and Kendall correlation, and two-choice accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from aquatint.errors import UsageError


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Linear correlation, from -1 to 1; NaN if either is constant or not finite.

    Arguments:
        x, y: (N,), N at least 2.

    Raises:
        UsageError: the shapes are others.
    """
    x, y = _checked(x, y)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    norm = math.sqrt(x @ x) * math.sqrt(y @ y)
    return float(x @ y) / norm if norm > 0 else math.nan


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Correlation of ranks, those of equal values averaged; otherwise as `pearson`. Infinite values have ranks."""
    x, y = _checked(x, y)
    return pearson(_ranks(x), _ranks(y))


def kendall(x: np.ndarray, y: np.ndarray) -> float:
    """Kendall's tau-b, which allows for ties (Kendall 1945); NaN if either is constant.

    Arguments:
        x, y: (N,), N at least 2; infinite values have an order too.

    Raises:
        UsageError: the shapes are others.
    """
    x, y = _checked(x, y)
    agreement = untied_x = untied_y = 0
    for k in range(len(x) - 1):  # a row of the matrix of pairs at a time
        order_x, order_y = _order(x[k + 1 :], x[k]), _order(y[k + 1 :], y[k])
        agreement += int(np.sum(order_x * order_y))
        untied_x += int(np.count_nonzero(order_x))
        untied_y += int(np.count_nonzero(order_y))
    return agreement / math.sqrt(untied_x * untied_y) if untied_x and untied_y else math.nan


def two_choice_accuracy(values: np.ndarray, scores: np.ndarray, groups: Sequence[object] | None = None) -> float:
    """Share of pairs of different scores that values put into the same order; equal values count one half.

    Arguments:
        values, scores: (N,), both larger for the better.
        groups: if given, only pairs within a group count: the versions of one photograph.

    Returns:
        From 0 to 1; NaN if there is no such pair.

    Raises:
        UsageError: the shapes are others.
    """
    values, scores = _checked(values, scores)
    labels = np.zeros(len(values), int) if groups is None else np.unique(np.array(groups, str), return_inverse=True)[1]
    if len(labels) != len(values):
        raise UsageError(f"{len(values)} values need as many groups, not {len(labels)}")
    right, pairs = 0.0, 0
    for k in range(len(values) - 1):
        order = _order(scores[k + 1 :], scores[k]) * (labels[k + 1 :] == labels[k])
        right += float(np.sum(order * _order(values[k + 1 :], values[k])))
        pairs += int(np.count_nonzero(order))
    return 0.5 + 0.5 * right / pairs if pairs else math.nan


def _checked(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2:
        raise UsageError(f"two series of one length, at least 2, are needed, not {x.shape} and {y.shape}")
    if np.isnan(x).any() or np.isnan(y).any():
        raise UsageError("a value is not a number")
    return x, y


def _order(values: np.ndarray, value: float) -> np.ndarray:
    """1, 0 or -1 for each of values that is greater than, equal to or less than value; right for infinities too."""
    return (values > value).astype(int) - (values < value)


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]
