"""Raters with known preferences: how many votes a study needs, and whether its intervals hold what they promise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from aquatint.errors import UsageError
from aquatint.study import ranking
from aquatint.study.design import Chooser, Pairs

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(31)


@dataclass(frozen=True)
class Truth:
    """A population of raters.

    Attributes:
        elo: (K,), what the codecs are worth to the average rater; K at least 2.
        ties: v of Davidson's model; 0 for forced choice.
        taste: standard deviation of a rater's own Elo about the average.
        lapse: share of votes that are a toss of a coin.

    Raises:
        UsageError: a value is outside its range.
    """

    elo: tuple[float, ...]
    ties: float = 0.0
    taste: float = 0.0
    lapse: float = 0.0

    def __post_init__(self) -> None:
        if len(self.elo) < 2 or not all(map(math.isfinite, self.elo)):
            raise UsageError("at least two codecs with finite Elo are needed")
        if not (0 <= self.ties < math.inf and 0 <= self.taste < math.inf and 0 <= self.lapse < 1):
            raise UsageError("ties and taste must not be negative, and lapse must lie between 0 and 1")

    def preferences(self, difference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of a win and of a tie for differences of a rater's strengths."""
        win, tie = ranking.probabilities(difference, self.ties)
        return (1 - self.lapse) * win + self.lapse / 2, (1 - self.lapse) * tie

    def population(self) -> np.ndarray:
        """Elo (K,) that a study of infinitely many raters finds: taste and lapses draw it together."""
        strengths = np.array(self.elo) / ranking.ELO
        difference = strengths[:, None] - strengths
        spread = math.sqrt(2) * self.taste / ranking.ELO
        win, tie = self.preferences(difference[..., None] + spread * _NODES)
        weights = _WEIGHTS / _WEIGHTS.sum()
        apart = 1 - np.eye(len(strengths))
        votes = 1e6  # beside which the prior vanishes
        ties = votes * (tie @ weights) * apart / 2 if self.ties else None
        return ranking.fit(votes * (win @ weights) * apart, ties).elo()


@dataclass(frozen=True)
class Power:
    """What studies of one size find.

    Attributes:
        raters: in each study.
        votes: in each study.
        half_width: mean half of the width of the 95 % intervals, in Elo.
        ordered: share of neighbouring codecs that come out in the right order.
        told_apart: share of neighbouring codecs whose order 95 % of the bootstrap agrees on, rightly.
        coverage: share of intervals that contain the Elo of the population.
    """

    raters: int
    votes: int
    half_width: float
    ordered: float
    told_apart: float
    coverage: float


def study(
    truth: Truth, raters: int, trials: int, rng: np.random.Generator, *, pictures: int = 24
) -> tuple[np.ndarray, np.ndarray | None]:
    """Tallies (R, K, K) of wins and ties of one simulated study, whose pairs are chosen as in a real one."""
    count = len(truth.elo)
    pairs = Pairs.of((0, codec, picture) for codec in range(count) for picture in range(pictures))
    chooser = Chooser(pairs, rng, ties=truth.ties > 0)
    wins, ties = np.zeros((raters, count, count)), np.zeros((raters, count, count))
    for rater in range(raters):
        strengths = (np.array(truth.elo) + truth.taste * rng.standard_normal(count)) / ranking.ELO
        seen: list[int] = []
        for _ in range(trials):
            pair = chooser.next(seen, int(pairs.picture[seen[-1]]) if seen else None)
            if pair is None:
                break
            chooser.show(pair)
            seen.append(pair)
            first, second = int(pairs.first[pair]), int(pairs.second[pair])
            win, tie = truth.preferences(strengths[first] - strengths[second])
            toss = rng.random()
            preferred = 0 if toss < win else -1 if toss < win + tie else 1
            chooser.vote(pair, preferred)
            if preferred < 0:
                ties[rater, first, second] += 1
            else:
                wins[(rater, first, second) if preferred == 0 else (rater, second, first)] += 1
    return wins, ties if truth.ties else None


def power(truth: Truth, raters: int, trials: int, studies: int, seed: int = 0, *, draws: int = 500) -> Power:
    """Simulates studies of one size.

    Arguments:
        truth: of their raters.
        raters: in each study, at least 2.
        trials: of each rater, golden pairs and repeats not included.
        studies: how many.
        seed: of everything random.
        draws: of each bootstrap.

    Raises:
        UsageError: there are fewer than two raters, or no trials or studies.
    """
    if raters < 2 or trials < 1 or studies < 1:
        raise UsageError(f"{raters} raters, {trials} trials and {studies} studies: 2, 1 and 1 are the least")
    population = truth.population()
    order = np.argsort(population)
    widths, ordered, apart, covered, votes = [], [], [], [], 0
    for number in range(studies):
        rng = np.random.default_rng([seed, raters, number])
        wins, ties = study(truth, raters, trials, rng)
        votes = int(wins.sum() + (0 if ties is None else ties.sum()))
        elo = ranking.fit(wins.sum(0), None if ties is None else ties.sum(0)).elo()
        drawn = ranking.bootstrap(wins, ties, rng, draws=draws)
        ends = ranking.intervals(elo, drawn, raters)
        widths.append((ends[:, 1] - ends[:, 0]).mean() / 2)
        covered.append(((ends[:, 0] <= population) & (population <= ends[:, 1])).mean())
        ordered.append((np.diff(elo[order]) > 0).mean())
        apart.append(((np.diff(drawn[:, order]) > 0).mean(0) >= 0.975).mean())
    means = (float(np.mean(values)) for values in (widths, ordered, apart, covered))
    return Power(raters, votes, *means)
