"""How sure a number is that comes from some pictures of all there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aquatint.errors import DependencyError, UsageError

RESAMPLES = 2000
LEVEL = 0.95
GROUPS = 40  # of pictures that a jackknife leaves out, one after the other, at most


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        mean: over the pictures, or what all of them give together.
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


def jackknife(statistic: Callable[[np.ndarray], float], pictures: int) -> Estimate:
    """What a statistic of a set of pictures is, with the interval of the delete-a-group jackknife.

    A bootstrap would draw pictures repeatedly, which distances between distributions take for less variety: they grow.
    Here every group of pictures is left out once. Source: Efron and Tibshirani, "An introduction to the bootstrap",
    1993, section 11; the interval is that of Student's distribution.

    Arguments:
        statistic: of the chosen pictures' indices, finite.
        pictures: their number, at least 1.

    Raises:
        DependencyError: scipy is not installed.
    """
    whole = np.arange(pictures)
    value = statistic(whole)
    count = min(pictures, GROUPS)
    if count < 2:
        return Estimate(value, None, None, pictures)
    try:
        from scipy.stats import t
    except ImportError:
        raise DependencyError("intervals need scipy: pip install 'aquatint[metrics]'") from None
    without = np.array([statistic(whole[whole % count != group]) for group in range(count)])
    error = float(np.sqrt((count - 1) * np.var(without)))
    reach = float(t.ppf((1 + LEVEL) / 2, count - 1)) * error
    return Estimate(value, value - reach, value + reach, pictures)


def with_ends(estimates: Mapping[str, Estimate | None]) -> dict[str, float | None]:
    """Numbers and the ends of their intervals as columns: NAME, NAME_low and NAME_high; None for what is not known."""
    columns: dict[str, float | None] = {}
    for name, estimate in estimates.items():
        columns |= {
            name: estimate and estimate.mean,
            f"{name}_low": estimate and estimate.low,
            f"{name}_high": estimate and estimate.high,
        }
    return columns
