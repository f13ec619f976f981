"""How well a segmentation network still reads decoded pictures: accuracy and mean intersection over union."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def confusion(pairs: Iterable[tuple[np.ndarray, np.ndarray]], classes: int) -> np.ndarray:
    """Pixels by their true and their found class, integers of shape (K, K).

    Arguments:
        pairs: true and found maps of one shape; pixels whose true number is not below K do not count, and what is
            found beyond K counts as a class of none.
        classes: K.
    """
    total = np.zeros((classes, classes + 1), np.int64)
    for true, found in pairs:
        known = true < classes
        found = np.minimum(found[known], classes)
        total += np.bincount(true[known].astype(np.int64) * (classes + 1) + found, minlength=total.size).reshape(
            total.shape
        )
    return total


def accuracy(table: np.ndarray) -> float:
    """The share of pixels of the right class, from a table of `confusion`."""
    return float(np.trace(table) / max(table.sum(), 1))


def mean_intersection_over_union(table: np.ndarray) -> float:
    """The mean, over the classes that there are, of pixels in both sets over pixels in either, from such a table."""
    both = np.diagonal(table)
    either = table.sum(1) + table[:, : len(table)].sum(0) - both
    return float(np.mean(both[either > 0] / either[either > 0])) if either.any() else 0.0
