"""Bradley-Terry with Davidson's ties: strengths, their intervals, and Elo.

A rater who compares i with j, whose strengths differ by d = s_i - s_j, prefers i, prefers j or is not sure with
probabilities in the proportions exp(d / 2) : exp(-d / 2) : v (Davidson 1970). Without ties v = 0, which is Bradley and
Terry's model (1952). The likelihood is that of an exponential family whose statistics are half the wins minus half the
losses, and the number of ties: its gradient is what was observed minus what is expected, its Hessian minus the
covariance. A normal prior on strengths keeps those finite that only won or only lost, and fixes their mean at 0.

All functions take stacks of tallies, for bootstraps: `...` stands for any leading axes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from aquatint.errors import AquatintError, UsageError

ELO = 400 / math.log(10)  # points a unit of strength: 400 points are odds of 10 to 1
MEAN = 1500.0  # Elo of the mean, or of the anchor
PRIOR = 3.0  # standard deviation of strengths before any vote, 521 points: weak
TIE_PRIOR = (-1.0, 2.0)  # mean and standard deviation of log v

_STEPS = 100
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Fit:
    """The strengths with the highest posterior density.

    Attributes:
        strengths: (..., K), of mean 0.
        ties: (...), v; 0 for forced choice.
        covariance: (..., K, K), of the strengths: the inverse of the negative Hessian of the log posterior.
    """

    strengths: np.ndarray
    ties: np.ndarray
    covariance: np.ndarray

    def elo(self, anchor: int | None = None) -> np.ndarray:
        """Elo (..., K), with a mean of 1500, or with 1500 for one of the K."""
        zero = self.strengths.mean(-1, keepdims=True) if anchor is None else self.strengths[..., anchor, None]
        return MEAN + ELO * (self.strengths - zero)


def probabilities(difference: np.ndarray, ties: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Of a win and of a tie, for differences of strength and v of shapes that broadcast."""
    weight = np.exp(-np.abs(difference) / 2)  # no overflow: both numerator and denominator times this
    total = 1 + weight**2 + ties * weight
    return np.where(difference > 0, 1, weight**2) / total, ties * weight / total


def fit(wins: np.ndarray, ties: np.ndarray | None = None, *, prior: float = PRIOR) -> Fit:
    """Fits strengths to tallies by Newton's method.

    Arguments:
        wins: (..., K, K), how often i was preferred to j; votes may have weights.
        ties: (..., K, K), how often a rater was not sure, in [i, j], in [j, i] or in parts; None for forced choice.
        prior: standard deviation of strengths before any vote, above 0.

    Raises:
        UsageError: the tallies are not square, negative or not finite.
        AquatintError: the iteration did not converge.
    """
    wins = _checked(wins)
    count = wins.shape[-1]
    forced = ties is None
    tied = np.zeros_like(wins) if ties is None else _checked(ties)
    if tied.shape != wins.shape:
        raise UsageError(f"ties have shape {tied.shape}, not {wins.shape} as wins")
    scores = 0.5 * (wins - wins.swapaxes(-1, -2))
    compared = wins + wins.swapaxes(-1, -2) + tied + tied.swapaxes(-1, -2)
    observed = np.concatenate([scores.sum(-1), tied.sum((-1, -2))[..., None]], -1)
    parameters = np.zeros((*wins.shape[:-2], count + 1))
    parameters[..., count] = -np.inf if forced else TIE_PRIOR[0]
    precision = np.append(np.full(count, prior**-2), TIE_PRIOR[1] ** -2)
    centre = np.append(np.zeros(count), TIE_PRIOR[0])
    free = count if forced else count + 1
    for _ in range(_STEPS):
        expected, information = _moments(parameters, compared)
        gradient = (observed - expected - precision * (parameters - centre))[..., :free]
        hessian = (information + np.diag(precision))[..., :free, :free]
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        step[..., :count] -= step[..., :count].mean(-1, keepdims=True)  # 0 but for rounding
        # The log likelihood is concave and, within a step of this length, close to its quadratic model.
        step /= np.maximum(1, np.abs(step).max(-1, keepdims=True))
        parameters[..., :free] += step
        if np.abs(step).max(initial=0) < _TOLERANCE:
            break
    else:
        raise AquatintError(f"the strengths did not settle within {_STEPS} steps")
    covariance = np.linalg.inv(hessian)[..., :count, :count]  # pyright: ignore[reportPossiblyUnbound]
    strengths = parameters[..., :count]
    return Fit(strengths - strengths.mean(-1, keepdims=True), np.exp(parameters[..., count]), covariance)


def _moments(parameters: np.ndarray, compared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Expectation (..., K + 1) and covariance (..., K + 1, K + 1) of the statistics: K scores and the ties."""
    strengths, ties = parameters[..., :-1], np.exp(parameters[..., -1])[..., None, None]
    win, tie = probabilities(strengths[..., :, None] - strengths[..., None, :], ties)
    lose = win.swapaxes(-1, -2)
    mean = 0.5 * (win - lose)
    upper = np.triu(compared, 1)
    expected = np.concatenate([(compared * mean).sum(-1), (upper * tie).sum((-1, -2))[..., None]], -1)
    information = np.zeros((*expected.shape, expected.shape[-1]))
    variance = compared * (0.25 * (win + lose) - mean**2)
    information[..., :-1, :-1] = -variance
    index = np.arange(variance.shape[-1])
    information[..., index, index] = variance.sum(-1)
    shared = (compared * -mean * tie).sum(-1)
    information[..., :-1, -1] = information[..., -1, :-1] = shared
    information[..., -1, -1] = (upper * tie * (1 - tie)).sum((-1, -2))
    return expected, information


def bootstrap(
    wins: np.ndarray, ties: np.ndarray | None, rng: np.random.Generator, *, draws: int = 1000, anchor: int | None = None
) -> np.ndarray:
    """Elo of studies with raters drawn anew, with replacement: votes of one rater are not independent.

    Arguments:
        wins, ties: (R, K, K), the tallies of each of R raters; see `fit`.
        rng: for the draws.
        draws: how many studies.
        anchor: see `Fit.elo`.

    Returns:
        (draws, K).
    """
    raters = len(wins)
    weights = rng.multinomial(raters, np.full(raters, 1 / raters), size=draws).astype(np.float64)
    drawn_ties = None if ties is None else np.tensordot(weights, ties, 1)
    return fit(np.tensordot(weights, wins, 1), drawn_ties).elo(anchor)


def intervals(elo: np.ndarray, drawn: np.ndarray, raters: int, level: float = 0.95) -> np.ndarray:
    """Confidence intervals (K, 2) from a bootstrap: percentiles, spread about the estimate for few raters.

    Arguments:
        elo: (K,), the estimate.
        drawn: (B, K), of a bootstrap.
        raters: how many there were. The variance of R drawn values is that of the R raters times (R - 1) / R, too
            small on average, so deviations are stretched by the root of R / (R - 1).
        level: of confidence.

    Returns:
        Lower and upper ends; NaN for fewer than two raters.
    """
    if raters < 2:
        return np.full((len(elo), 2), math.nan)
    stretch = math.sqrt(raters / (raters - 1))
    tail = (1 - level) / 2
    ends = np.quantile(drawn - elo, [tail, 1 - tail], axis=0).T
    return elo[:, None] + stretch * ends


def _checked(tallies: np.ndarray) -> np.ndarray:
    tallies = np.asarray(tallies, np.float64)
    if tallies.ndim < 2 or tallies.shape[-1] != tallies.shape[-2] or tallies.shape[-1] < 2:
        raise UsageError(f"tallies must have shape (..., K, K) with K at least 2, not {tallies.shape}")
    if not (np.isfinite(tallies).all() and (tallies >= 0).all()):
        raise UsageError("tallies must be finite and not negative")
    if np.diagonal(tallies, axis1=-2, axis2=-1).any():
        raise UsageError("nothing is compared with itself: the diagonal of tallies must be 0")
    return tallies
