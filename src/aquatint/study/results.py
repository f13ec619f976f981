"""What the votes say: Elo with intervals, per rate and pooled, and how metrics agree with it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aquatint.errors import UsageError
from aquatint.evaluation.correlation import kendall, pearson, spearman
from aquatint.evaluation.metrics import METRICS
from aquatint.study import ballots, ranking, screening
from aquatint.study.ballots import Ballot
from aquatint.study.design import Kind
from aquatint.study.files import Study
from aquatint.study.screening import Record

POOLED = "all"


@dataclass(frozen=True)
class Ranking:
    """Conditions at one rate, or over all rates.

    Attributes:
        rate: its label, or "all".
        conditions: names, (K,), those that occur at the rate.
        elo: (K,).
        intervals: (K, 2), 95 %; NaN for fewer than two raters.
        wins: (K, K), votes for i against j.
        ties: (K, K), votes for neither, symmetric.
        bpp: (K,), mean over pictures; NaN if not known.
    """

    rate: str
    conditions: list[str]
    elo: np.ndarray
    intervals: np.ndarray
    wins: np.ndarray
    ties: np.ndarray
    bpp: np.ndarray

    @property
    def votes(self) -> np.ndarray:
        """Votes on each condition, (K,)."""
        return (self.wins + self.wins.T + self.ties).sum(1).astype(int)

    @property
    def order(self) -> np.ndarray:
        """Places of conditions from the best to the worst."""
        return np.argsort(-self.elo)

    @property
    def win_shares(self) -> np.ndarray:
        """Share of i's votes against j, with half of the ties; NaN where there are none. (K, K)."""
        compared = self.wins + self.wins.T + self.ties
        with np.errstate(invalid="ignore"):
            return (self.wins + self.ties / 2) / np.where(compared > 0, compared, np.nan)


@dataclass(frozen=True)
class Agreement:
    """How well a metric predicts votes.

    Attributes:
        metric: its name.
        pearson, spearman, kendall: of its means over pictures with Elo, over conditions and rates; both centred within
            each rate, because Elo of different rates have no common zero. NaN if there are too few.
        two_choice: share of votes for what the metric prefers; half for equal values. "Not sure" is left out.
        votes: on which it was possible to say.
    """

    metric: str
    pearson: float
    spearman: float
    kendall: float
    two_choice: float
    votes: int


@dataclass(frozen=True)
class Results:
    """Everything that a study says.

    Attributes:
        kept: without flagged raters: per rate, and pooled if there are several rates.
        everyone: with them.
        records: of raters.
        agreement: of metrics, without flagged raters.
        ballots: all votes.
    """

    kept: Sequence[Ranking]
    everyone: Sequence[Ranking]
    records: Sequence[Record]
    agreement: Sequence[Agreement]
    ballots: Sequence[Ballot]


def compute(study: Study, votes: Sequence[Ballot], *, anchor: str | None = None, draws: int = 1000) -> Results:
    """Ranks conditions, screens raters and compares metrics.

    Arguments:
        study: what was shown.
        votes: all of them.
        anchor: the condition whose Elo is 1500; None for the mean.
        draws: of the bootstrap; its seed is fixed, so equal votes give equal results.

    Raises:
        UsageError: there is no such condition, or all raters are flagged.
    """
    if anchor is not None and anchor not in study.conditions:
        raise UsageError(f"there is no condition {anchor!r}, only {', '.join(study.conditions)}")
    raters = list(dict.fromkeys(ballot.trial.rater for ballot in votes))
    wins, ties = ballots.tallies(study, votes, raters)
    fits = [ranking.fit(wins[:, r].sum(0), None if ties is None else ties[:, r].sum(0)) for r in range(wins.shape[1])]
    records = screening.screen(votes, fits)
    keep = np.array([not record.reasons for record in records], bool)
    if len(records) and not keep.any():
        raise UsageError("every rater is flagged: see the table of raters on the page of the admin")
    everyone = _rank(study, wins, ties, anchor, draws)
    kept = everyone if keep.all() else _rank(study, wins[keep], None if ties is None else ties[keep], anchor, draws)
    good = {record.rater for record in records if not record.reasons}
    agreement = _agreement(study, [ballot for ballot in votes if ballot.trial.rater in good], kept)
    return Results(kept, everyone, records, agreement, votes)


def _rank(study: Study, wins: np.ndarray, ties: np.ndarray | None, anchor: str | None, draws: int) -> list[Ranking]:
    groups = [(label, [place]) for place, label in enumerate(study.rates)]
    if len(study.rates) > 1:
        groups.append((POOLED, list(range(len(study.rates)))))
    return [_ranking(study, label, places, wins, ties, anchor, draws) for label, places in groups]


def _ranking(
    study: Study,
    label: str,
    rates: list[int],
    wins: np.ndarray,
    ties: np.ndarray | None,
    anchor: str | None,
    draws: int,
) -> Ranking:
    labels = [study.rates[place] for place in rates]
    names = [
        name for name in study.conditions if any((r, name, p) in study.compared for r in labels for p in study.pictures)
    ]
    places = [study.conditions.index(name) for name in names]
    chosen = wins[:, rates].sum(1)[:, places][:, :, places]
    tied = None if ties is None else ties[:, rates].sum(1)[:, places][:, :, places]
    fit = ranking.fit(chosen.sum(0), None if tied is None else tied.sum(0))
    zero = names.index(anchor) if anchor in names else None
    elo = fit.elo(zero)
    intervals = np.full((len(names), 2), math.nan)
    if len(wins) > 1:
        drawn = ranking.bootstrap(chosen, tied, np.random.default_rng(0), draws=draws, anchor=zero)
        intervals = ranking.intervals(elo, drawn, len(wins))
    total = np.zeros_like(elo * elo[:, None]) if tied is None else tied.sum(0)
    bpp = np.array(
        [_mean(s.bpp for key, s in study.compared.items() if key[0] in labels and key[1] == n) for n in names]
    )
    return Ranking(label, names, elo, intervals, chosen.sum(0), total + total.T, bpp)


def _agreement(study: Study, votes: Sequence[Ballot], rankings: Sequence[Ranking]) -> list[Agreement]:
    names = sorted({name for stimulus in study.compared.values() for name in stimulus.metrics})
    return [_agreement_of(study, votes, [r for r in rankings if r.rate != POOLED], name) for name in names]


def _agreement_of(study: Study, votes: Sequence[Ballot], rankings: Sequence[Ranking], metric: str) -> Agreement:
    sign = 1 if metric not in METRICS or METRICS[metric].higher_is_better else -1
    x, y = [], []
    for one in rankings:
        means = np.array(
            [
                sign * _mean(s.metrics.get(metric) for key, s in study.compared.items() if key[:2] == (one.rate, name))
                for name in one.conditions
            ]
        )
        known = np.isfinite(means)
        if known.sum() > 1:
            x += list(means[known] - means[known].mean())
            y += list(one.elo[known] - one.elo[known].mean())
    right, count = 0.0, 0
    for ballot in votes:
        if ballot.trial.kind != Kind.PAIR or ballot.preferred < 0:
            continue
        left, other = (study.by_id[id].metrics.get(metric) for id in (ballot.trial.left, ballot.trial.right))
        if left is None or other is None:
            continue
        better = sign * (left - other) * (1 if ballot.vote.choice == "left" else -1)
        right += 1.0 if better > 0 else 0.5 if better == 0 else 0.0
        count += 1
    means, elo = np.array(x), np.array(y)
    p, s, k = (f(means, elo) if len(x) > 2 else math.nan for f in (pearson, spearman, kendall))
    return Agreement(metric, p, s, k, right / count if count else math.nan, count)


def rows(results: Results) -> list[Mapping[str, Any]]:
    """A row a condition, rate and choice of raters."""
    return [
        {
            "raters": which,
            "rate": one.rate,
            "condition": name,
            "elo": one.elo[k],
            "low": one.intervals[k, 0],
            "high": one.intervals[k, 1],
            "votes": int(one.votes[k]),
            "bpp": one.bpp[k],
        }
        for which, rankings in (("kept", results.kept), ("everyone", results.everyone))
        for one in rankings
        for k, name in enumerate(one.conditions)
    ]


def _mean(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else math.nan
