"""What the server does for raters, without HTTP: joining, the next trials, votes."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aquatint.errors import AquatintError
from aquatint.study import design
from aquatint.study.database import Database, Rater, Trial, Vote
from aquatint.study.design import Chooser, Kind
from aquatint.study.files import Stimulus, Study

AHEAD = 2  # trials that are made before they are voted on: the one on the screen and the one that loads meanwhile
_REPEAT_AFTER = 3  # trials between a pair and its repeat, at least


class RefusedError(AquatintError):
    """A request that cannot be granted.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class State:
    """Where a rater is.

    Attributes:
        done, total: trials with a vote, and all.
        trials: to be voted on next, in order.
    """

    done: int
    total: int
    trials: Sequence[Trial]


class Service:
    """A running study. Safe for threads: the choice of pairs is only touched inside of transactions.

    Arguments:
        study: what is shown.
        database: of its votes, earlier ones included.

    Raises:
        AquatintError: there are votes on stimuli that the study does not have.
    """

    def __init__(self, study: Study, database: Database) -> None:
        self.study = study
        self.database = database
        self._pairs = study.pairs
        self._of_stimuli = pairs_of_stimuli(study)
        self._chooser = Chooser(self._pairs, np.random.default_rng(), ties=study.settings.not_sure)
        votes = database.votes()
        for trial in database.trials():
            check_stimuli(study, trial)
            if trial.kind == Kind.PAIR:
                self._chooser.show(self._pair(trial))
                if trial.id in votes:
                    self._chooser.vote(self._pair(trial), preferred(study, trial, votes[trial.id].choice))

    def join(self) -> Rater:
        """A new rater."""
        rater = Rater(secrets.token_urlsafe(16), secrets.randbits(48), time.time())
        with self.database.transaction():
            self.database.add(rater)
        return rater

    def state(self, rater: Rater) -> State:
        """Where a rater is; makes the next trials."""
        with self.database.transaction():
            return self._top_up(rater)

    def vote(self, rater: Rater, vote: Vote) -> State:
        """Takes a vote, and tells where the rater is then. The same vote again changes nothing.

        Raises:
            RefusedError: the trial is not this rater's (404), has another vote (409), neither is no choice in this
                study or the pictures were seen too briefly (422).
        """
        settings = self.study.settings
        if vote.choice == "neither" and not settings.not_sure:
            raise RefusedError(422, "a choice is asked for")
        if vote.seconds < settings.minimum_seconds:
            raise RefusedError(422, f"{vote.seconds} s of looking are less than {settings.minimum_seconds} s")
        with self.database.transaction():
            trial = self.trial(rater, vote.trial)
            earlier = self.database.vote(trial.id)
            if earlier is not None and earlier.choice != vote.choice:
                raise RefusedError(409, "this trial has another vote already")
            if earlier is None:
                self.database.add(vote)
                if trial.kind == Kind.PAIR:
                    self._chooser.vote(self._pair(trial), preferred(self.study, trial, vote.choice))
            return self._top_up(rater)

    def trial(self, rater: Rater, id: str) -> Trial:
        """A trial of a rater; raises RefusedError (404) for others' and unknown ones."""
        trial = self.database.trial(id)
        if trial is None or trial.rater != rater.id:
            raise RefusedError(404, "there is no such trial")
        return trial

    def _top_up(self, rater: Rater) -> State:
        """The rater's state after the next trials have been made."""
        trials = self.database.trials_of(rater.id)
        voted = self.database.voted(rater.id)
        total, golden, repeats = self.study.plan
        kinds = design.schedule(total, golden, repeats, np.random.default_rng(rater.seed))
        while len(trials) < total and len(trials) - len(voted) < AHEAD:
            trial = self._make(rater, trials, kinds[len(trials)])
            if trial is None:
                break
            self.database.add(trial)
            trials.append(trial)
            if trial.kind == Kind.PAIR:
                self._chooser.show(self._pair(trial))
        return State(len(voted), total, [trial for trial in trials if trial.id not in voted][:AHEAD])

    def _make(self, rater: Rater, earlier: Sequence[Trial], kind: Kind) -> Trial | None:
        rng = np.random.default_rng([rater.seed, len(earlier)])
        sides = self._sides(earlier, kind, rng)
        if sides is None:
            return None
        left, right = sides if rng.random() < 0.5 else sides[::-1]
        reference = self.study.references[left.picture]
        position, now = len(earlier), time.time()
        return Trial(secrets.token_urlsafe(16), rater.id, position, kind, left.id, right.id, reference.id, now)

    def _sides(
        self, earlier: Sequence[Trial], kind: Kind, rng: np.random.Generator
    ) -> tuple[Stimulus, Stimulus] | None:
        study = self.study
        if kind is Kind.GOLDEN:
            shown = {id for trial in earlier for id in (trial.left, trial.right)}
            damaged = [stimulus for stimulus in study.golden if stimulus.id not in shown]
            chosen = damaged[rng.integers(len(damaged))]
            return chosen, study.references[chosen.picture]
        if kind is Kind.REPEAT:
            repeated = {_sides_of(trial) for trial in earlier if trial.kind == Kind.REPEAT}
            known = [trial for trial in earlier if trial.kind == Kind.PAIR and _sides_of(trial) not in repeated]
            old = [trial for trial in known if trial.position < len(earlier) - _REPEAT_AFTER] or known
            chosen = old[rng.integers(len(old))]
            return study.by_id[chosen.left], study.by_id[chosen.right]
        seen = [self._pair(trial) for trial in earlier if trial.kind == Kind.PAIR]
        last = study.by_id[earlier[-1].left].picture if earlier else None
        pair = self._chooser.next(seen, None if last not in study.pictures else study.pictures.index(last))
        if pair is None:
            return None
        rate, picture = study.rates[self._pairs.rate[pair]], study.pictures[self._pairs.picture[pair]]
        one, other = (study.conditions[side[pair]] for side in (self._pairs.first, self._pairs.second))
        return study.compared[rate, one, picture], study.compared[rate, other, picture]

    def _pair(self, trial: Trial) -> int:
        return self._of_stimuli[_sides_of(trial)]


def pairs_of_stimuli(study: Study) -> dict[frozenset[str], int]:
    """The place of each pair in `study.pairs`, by the ids of its two stimuli."""
    pairs = study.pairs
    ids = (
        frozenset(study.compared[study.rates[r], study.conditions[c], study.pictures[p]].id for c in (first, second))
        for r, first, second, p in zip(pairs.rate, pairs.first, pairs.second, pairs.picture, strict=True)
    )
    return {sides: place for place, sides in enumerate(ids)}


def preferred(study: Study, trial: Trial, choice: str) -> int:
    """0 if the condition that comes first in the list was chosen, 1 if the second, -1 if neither."""
    if choice == "neither":
        return -1
    chosen, other = (trial.left, trial.right) if choice == "left" else (trial.right, trial.left)
    return int(study.by_id[chosen].condition > study.by_id[other].condition)


def check_stimuli(study: Study, trial: Trial) -> None:
    """Raises AquatintError if a trial shows what the study does not have."""
    for id in (trial.left, trial.right, trial.reference):
        if id not in study.by_id:
            raise AquatintError(f"{study.folder}: there are votes on the stimulus {id}, which is not in stimuli.jsonl")


def _sides_of(trial: Trial) -> frozenset[str]:
    return frozenset((trial.left, trial.right))
