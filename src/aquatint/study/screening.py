"""Raters who did not look: golden pairs answered wrongly, or repeats answered otherwise than chance explains.

The test asks how probable it is that an attentive rater gives as few good answers: one who is right on 19 of 20 golden
pairs, and decides twice on repeats by the probabilities that the votes of all raters give to the pair. Below one in a
hundred the rater is flagged. Results are given with and without those who are.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aquatint.study import ranking
from aquatint.study.ballots import Ballot
from aquatint.study.design import Kind

ATTENTIVE = 0.95  # probability that an attentive rater is right on a golden pair
LEVEL = 0.01


@dataclass(frozen=True)
class Record:
    """How a rater did.

    Attributes:
        rater: id.
        votes: all of them.
        golden, golden_right: golden pairs with a vote, and those on which the original was preferred.
        repeats, repeats_same: repeats with a vote, and those answered as the first time.
        left, not_sure: shares of votes.
        seconds: median of the times.
        reasons: why the rater is flagged; empty if not.
    """

    rater: str
    votes: int
    golden: int
    golden_right: int
    repeats: int
    repeats_same: int
    left: float
    not_sure: float
    seconds: float
    reasons: tuple[str, ...]


def screen(ballots: Sequence[Ballot], fits: Sequence[ranking.Fit]) -> list[Record]:
    """Judges every rater who has voted, in the order of the first vote.

    Arguments:
        ballots: all votes.
        fits: of every rate.
    """
    raters: dict[str, list[Ballot]] = {}
    for ballot in ballots:
        raters.setdefault(ballot.trial.rater, []).append(ballot)
    return [_record(rater, votes, fits) for rater, votes in raters.items()]


def _record(rater: str, ballots: Sequence[Ballot], fits: Sequence[ranking.Fit]) -> Record:
    golden = [ballot.preferred == 0 for ballot in ballots if ballot.trial.kind == Kind.GOLDEN]
    first = {_sides(b): b for b in ballots if b.trial.kind == Kind.PAIR}
    repeats = [(first[_sides(b)], b) for b in ballots if b.trial.kind == Kind.REPEAT and _sides(b) in first]
    same = [one.preferred == other.preferred for one, other in repeats]
    expected = [ATTENTIVE] * len(golden) + [_agreement(ballot, fits) for _, ballot in repeats]
    reasons = []
    if at_most(expected, sum(golden) + sum(same)) < LEVEL:
        reasons = [
            f"{len(golden) - sum(golden)} of {len(golden)} golden pairs wrong",
            f"{len(same) - sum(same)} of {len(same)} repeats answered otherwise",
        ]
    choices = [ballot.vote.choice for ballot in ballots]
    return Record(
        rater,
        votes=len(ballots),
        golden=len(golden),
        golden_right=sum(golden),
        repeats=len(same),
        repeats_same=sum(same),
        left=choices.count("left") / len(choices),
        not_sure=choices.count("neither") / len(choices),
        seconds=statistics.median(ballot.vote.seconds for ballot in ballots),
        reasons=tuple(reasons),
    )


def at_most(probabilities: Sequence[float], successes: int) -> float:
    """Probability of at most so many successes in independent trials (the Poisson binomial distribution)."""
    distribution = np.ones(1)
    for probability in probabilities:
        distribution = np.convolve(distribution, [1 - probability, probability])
    return float(distribution[: successes + 1].sum())


def summary(record: Record) -> Mapping[str, object]:
    """A record as columns of a table."""
    return vars(record) | {"reasons": "; ".join(record.reasons)}


def _agreement(ballot: Ballot, fits: Sequence[ranking.Fit]) -> float:
    """Probability that two independent votes on a pair are equal."""
    assert ballot.rate is not None
    assert ballot.conditions is not None
    fit = fits[ballot.rate]
    first, second = ballot.conditions
    win, tie = ranking.probabilities(fit.strengths[first] - fit.strengths[second], fit.ties)
    return float(win**2 + tie**2 + (1 - win - tie) ** 2)


def _sides(ballot: Ballot) -> frozenset[str]:
    return frozenset((ballot.trial.left, ballot.trial.right))
