"""How sure a mean over pictures is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aquatint.errors import UsageError

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval.

    Attributes:
        mean: over the pictures.
        low, high: ends of the 95 % interval; None with fewer than two pictures, which say nothing about others.
        count: pictures.
    """

    mean: float
    low: float | None
    high: float | None
    count: int


def bootstrap(values: Sequence[float] | np.ndarray, *, seed: int = 0) -> Estimate:
    """The mean of values that belong to different pictures, with its percentile bootstrap interval.

    Source: Efron and Tibshirani, "An introduction to the bootstrap", 1993, section 13.3.

    Arguments:
        values: one a picture, finite.
        seed: of the resampling.

    Raises:
        UsageError: there are no values, or one is not finite.
    """
    sample = np.asarray(values, float)
    if sample.size == 0 or not np.isfinite(sample).all():
        raise UsageError(f"a mean needs finite values, at least one; these are {sample.tolist()}")
    if sample.size == 1:
        return Estimate(float(sample[0]), None, None, 1)
    draws = np.random.default_rng(seed).integers(0, sample.size, (RESAMPLES, sample.size))
    low, high = np.quantile(sample[draws].mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(sample.mean()), float(low), float(high), sample.size)
