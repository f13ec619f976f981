"""Votes as results need them: which condition was preferred to which, and tallies by rater."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aquatint.study.database import Database, Trial, Vote
from aquatint.study.design import Kind
from aquatint.study.files import Study
from aquatint.study.service import check_stimuli, preferred


@dataclass(frozen=True)
class Ballot:
    """A trial with its vote.

    Attributes:
        trial, vote: as stored.
        rate: place of the rate; None for golden pairs.
        conditions: places of the two conditions, in order; None for golden pairs.
        picture: name of what was shown.
        preferred: 0 or 1 for the first or second of `conditions`, -1 for not sure. Of a golden pair 0 is the original.
    """

    trial: Trial
    vote: Vote
    rate: int | None
    conditions: tuple[int, int] | None
    picture: str
    preferred: int


def read(study: Study, database: Database) -> list[Ballot]:
    """All votes in the order of arrival.

    Raises:
        AquatintError: a vote is on a stimulus that the study does not have.
    """
    trials = {trial.id: trial for trial in database.trials()}
    return [_ballot(study, trials[vote.trial], vote) for vote in database.votes().values()]


def _ballot(study: Study, trial: Trial, vote: Vote) -> Ballot:
    check_stimuli(study, trial)
    left, right = study.by_id[trial.left], study.by_id[trial.right]
    if trial.kind == Kind.GOLDEN:
        chosen = {"left": trial.left, "right": trial.right}.get(vote.choice)
        verdict = -1 if chosen is None else int(chosen != trial.reference)
        return Ballot(trial, vote, None, None, left.picture, verdict)
    places = sorted(study.conditions.index(side.condition) for side in (left, right))
    pair = places[0], places[1]
    return Ballot(trial, vote, study.rates.index(left.rate), pair, left.picture, preferred(study, trial, vote.choice))


def tallies(study: Study, ballots: Sequence[Ballot], raters: Sequence[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Wins and ties of each rater on ordinary pairs; repeats are for screening and do not count again.

    Returns:
        wins: (R, rates, K, K).
        ties: likewise; None if raters had to choose.
    """
    shape = (len(raters), len(study.rates), len(study.conditions), len(study.conditions))
    wins, ties = np.zeros(shape), np.zeros(shape)
    place = {rater: index for index, rater in enumerate(raters)}
    for ballot in ballots:
        if ballot.trial.kind != Kind.PAIR or ballot.conditions is None or ballot.trial.rater not in place:
            continue
        first, second = ballot.conditions
        where = place[ballot.trial.rater], ballot.rate
        if ballot.preferred < 0:
            ties[(*where, first, second)] += 1
        else:
            winner, loser = (first, second) if ballot.preferred == 0 else (second, first)
            wins[(*where, winner, loser)] += 1
    return wins, ties if study.settings.not_sure or ties.any() else None
