"""How sure a mean over pictures is, and how well a metric agrees with people."""

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


@dataclass(frozen=True)
class Agreement:
    """How well a metric predicts scores that people gave.

    Attributes:
        pearson, spearman, kendall: correlations, positive if the metric's better values had the better scores. Kendall's
            is tau-b. NaN if the metric or the scores are constant.
        count: pairs of a value and a score.
    """

    pearson: float
    spearman: float
    kendall: float
    count: int


def agreement(values: Sequence[float], scores: Sequence[float], *, higher_is_better: bool = True) -> Agreement:
    """Correlations of a metric with scores of people.

    Arguments:
        values: of the metric, one a picture shown.
        scores: of the same pictures, higher for better ones (a mean opinion score, Elo, ...).
        higher_is_better: the direction of the metric.

    Raises:
        UsageError: the lists differ in length, or have fewer than three entries.
    """
    if len(values) != len(scores) or len(values) < 3:
        raise UsageError(f"correlations need at least three pairs, not {len(values)} values and {len(scores)} scores")
    from scipy import stats

    x, y = np.asarray(values, float) * (1 if higher_is_better else -1), np.asarray(scores, float)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return Agreement(np.nan, np.nan, np.nan, len(x))
    pearson, spearman, kendall = (
        float(function(x, y).statistic) for function in (stats.pearsonr, stats.spearmanr, stats.kendalltau)
    )
    return Agreement(pearson, spearman, kendall, len(x))


def two_choice_accuracy(
    left: Sequence[float], right: Sequence[float], left_votes: Sequence[float], *, higher_is_better: bool = True
) -> float:
    """Share of votes between two pictures that a metric predicts; where it sees no difference it gets half of them.

    Arguments:
        left, right: the metric of the two pictures of each pair.
        left_votes: share of the votes for the left picture, in [0, 1]. With single votes it is 0 or 1.
        higher_is_better: the direction of the metric.

    Raises:
        UsageError: the lists differ in length or are empty, or a share lies outside [0, 1].
    """
    if not len(left) == len(right) == len(left_votes) or not len(left):
        raise UsageError(f"two-choice accuracy needs equally long lists, not {len(left)}, {len(right)}, {len(left_votes)}")
    votes = np.asarray(left_votes, float)
    if not ((votes >= 0) & (votes <= 1)).all():
        raise UsageError("shares of votes must lie in [0, 1]")
    sign = np.sign(np.asarray(left, float) - np.asarray(right, float)) * (1 if higher_is_better else -1)
    return float(np.mean(np.where(sign > 0, votes, np.where(sign < 0, 1 - votes, 0.5))))
