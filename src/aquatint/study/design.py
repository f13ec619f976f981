"""Which pair a rater sees next: balanced first, then the one whose vote is expected to tell most.

A *pair* is two conditions at one rate on one picture. Pairs with the same conditions and rate form a *match*; strengths
belong to the conditions of a rate, so the choice of a match decides how much a vote tells, and within a match the
pictures take turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from aquatint.errors import UsageError
from aquatint.study import ranking

BALANCED = 6  # times that every match is shown before the votes decide
REFIT = 16  # votes between two fits: strengths move little meanwhile
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(20)  # for deviations up to 4; none at 0


class Kind(StrEnum):
    """What a trial is for."""

    PAIR = "pair"
    GOLDEN = "golden"
    REPEAT = "repeat"


@dataclass(frozen=True)
class Pairs:
    """All pairs of a study.

    Attributes:
        rate, first, second, picture: (P,), places in the lists of rates, conditions and pictures; first < second.
        rates, conditions: how many there are.
    """

    rate: np.ndarray
    first: np.ndarray
    second: np.ndarray
    picture: np.ndarray
    rates: int
    conditions: int

    def __len__(self) -> int:
        return len(self.rate)

    @staticmethod
    def of(stimuli: Iterable[tuple[int, int, int]]) -> Pairs:
        """All pairs of stimuli, each given as its rate, condition and picture.

        Raises:
            UsageError: there is no pair.
        """
        groups: dict[tuple[int, int], list[int]] = {}
        for rate, condition, picture in sorted(stimuli):
            groups.setdefault((rate, picture), []).append(condition)
        rows = [
            (rate, one, other, picture)
            for (rate, picture), present in groups.items()
            for place, one in enumerate(present)
            for other in present[place + 1 :]
        ]
        if not rows:
            raise UsageError("there is nothing to compare: no picture has two conditions at one rate")
        columns = np.array(rows).T
        return Pairs(*columns, rates=int(columns[0].max()) + 1, conditions=int(columns[2].max()) + 1)


class Chooser:
    """Chooses pairs from the votes so far. Not safe for threads.

    Arguments:
        pairs: of the study.
        ties: whether raters may be not sure.
        rng: breaks ties between pairs.
    """

    def __init__(self, pairs: Pairs, rng: np.random.Generator, *, ties: bool) -> None:
        self._pairs = pairs
        self._rng = rng
        shape = (pairs.rates, pairs.conditions, pairs.conditions)
        self.wins = np.zeros(shape)
        self.ties = np.zeros(shape) if ties else None
        self._shown = np.zeros(len(pairs), int)
        self._open = np.zeros(shape)  # shown, not voted on
        self._votes_until_fit = 0
        names = (pairs.rate, pairs.first, pairs.second)
        self._matches, self._match = np.unique(np.ravel_multi_index(names, shape), return_inverse=True)
        self._index = np.unravel_index(self._matches, shape)
        self._match_shown = np.zeros(len(self._matches), int)

    def show(self, pair: int) -> None:
        """Notes that a rater is shown a pair; abandoned ones stay open, and cost a little balance."""
        self._shown[pair] += 1
        self._match_shown[self._match[pair]] += 1
        self._open[self._place(pair)] += 1

    def vote(self, pair: int, preferred: int) -> None:
        """Notes a vote on a pair that was shown: 0 for its first condition, 1 for its second, -1 for not sure."""
        rate, first, second = self._place(pair)
        self._open[rate, first, second] -= 1
        self._votes_until_fit -= 1
        if preferred == 0:
            self.wins[rate, first, second] += 1
        elif preferred == 1:
            self.wins[rate, second, first] += 1
        elif self.ties is not None:
            self.ties[rate, first, second] += 1

    def next(self, seen: Sequence[int], last_picture: int | None = None) -> int | None:
        """The pair to show next.

        Arguments:
            seen: pairs that the rater has had; none of them is chosen.
            last_picture: what the rater saw last; another one is taken if there is one.

        Returns:
            None when the rater has seen all.
        """
        unseen = np.ones(len(self._pairs), bool)
        unseen[list(seen)] = False
        if last_picture is not None and (others := unseen & (self._pairs.picture != last_picture)).any():
            unseen = others
        if not unseen.any():
            return None
        matches = np.unique(self._match[unseen])
        shown = self._match_shown[matches]
        value = -shown if shown.min() < BALANCED else self._information()[matches]
        match = matches[self._best(value)]
        pairs = np.flatnonzero(unseen & (self._match == match))
        return int(pairs[self._best(-self._shown[pairs])])

    def _best(self, values: np.ndarray) -> int:
        return int(self._rng.choice(np.flatnonzero(values >= values.max() - 1e-12)))

    def _place(self, pair: int) -> tuple[int, int, int]:
        return int(self._pairs.rate[pair]), int(self._pairs.first[pair]), int(self._pairs.second[pair])

    def _information(self) -> np.ndarray:
        """Of a vote on each match, in nats, given the votes and the pairs that others are looking at."""
        if self._votes_until_fit <= 0:
            self._fit = ranking.fit(self.wins, self.ties)
            self._precision = np.linalg.inv(self._fit.covariance)
            self._votes_until_fit = REFIT
        strengths = self._fit.strengths
        difference = strengths[:, :, None] - strengths[:, None, :]
        tie = np.zeros(len(strengths)) if self.ties is None else self._fit.ties
        win, _ = ranking.probabilities(difference, tie[:, None, None])
        lose = win.swapaxes(1, 2)
        pending = (self._open + self._open.swapaxes(1, 2)) * (0.25 * (win + lose) - 0.25 * (win - lose) ** 2)
        laplacian = -pending
        index = np.arange(pending.shape[1])
        laplacian[:, index, index] += pending.sum(2)
        covariance = np.linalg.inv(self._precision + laplacian)
        own = np.diagonal(covariance, axis1=1, axis2=2)
        spread = own[:, :, None] + own[:, None, :] - 2 * covariance
        return expected_information(difference[self._index], spread[self._index], tie[self._index[0]])


def expected_information(mean: np.ndarray, variance: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """Mutual information of a vote and a difference of strength, in nats.

    It is the entropy of the expected vote minus the expected entropy of the vote (Lindley 1956; Houlsby et al. 2011),
    by Gauss-Hermite quadrature.

    Arguments:
        mean, variance: (M,), of the normal posterior of the difference.
        ties: (M,), v of Davidson's model.
    """
    nodes = mean[:, None] + np.sqrt(np.maximum(variance, 0))[:, None] * _NODES
    win, tie = ranking.probabilities(nodes, ties[:, None])
    outcomes = np.stack([win, tie, np.maximum(1 - win - tie, 0)])
    weights = _WEIGHTS / _WEIGHTS.sum()
    return _entropy(outcomes @ weights) - _entropy(outcomes) @ weights


def _entropy(outcomes: np.ndarray) -> np.ndarray:
    return -(outcomes * np.log(np.maximum(outcomes, 1e-300))).sum(0)


def schedule(trials: int, golden: int, repeats: int, rng: np.random.Generator) -> list[Kind]:
    """What each of a rater's trials is for.

    Golden pairs are spread evenly, the first among the first trials; repeats are in the second half, where what they
    repeat is long ago.

    Arguments:
        trials: in all, golden pairs and repeats included.
        golden, repeats: of them; at least half of the trials are neither.
        rng: for the places.
    """
    kinds = [Kind.PAIR] * trials
    for part in np.array_split(np.arange(1, trials), golden) if golden else []:
        kinds[int(rng.choice(part[: max(1, len(part) // 2)]))] = Kind.GOLDEN
    late = [place for place in range(trials // 2, trials) if kinds[place] is Kind.PAIR]
    for place in rng.choice(late, repeats, replace=False):
        kinds[int(place)] = Kind.REPEAT
    return kinds
