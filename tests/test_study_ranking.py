"""Bradley-Terry with ties, its intervals, the choice of pairs, screening."""

from __future__ import annotations

import math

import choix
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquatint.errors import UsageError
from aquatint.study import design, ranking, screening
from aquatint.study.design import Chooser, Kind, Pairs
from aquatint.study.simulate import Truth, power, study


def random_wins(count: int, votes: int, rng: np.random.Generator) -> np.ndarray:
    strengths = rng.normal(size=count)
    wins = np.zeros((count, count))
    for _ in range(votes):
        i, j = rng.choice(count, 2, replace=False)
        winner = rng.random() < 1 / (1 + math.exp(strengths[j] - strengths[i]))
        wins[(i, j) if winner else (j, i)] += 1
    return wins


@pytest.mark.parametrize("count", [2, 5, 9])
def test_strengths_equal_those_of_choix(count: int) -> None:
    wins = random_wins(count, 400, np.random.default_rng(count))
    data = [(i, j) for i, j in np.argwhere(wins) for _ in range(int(wins[i, j]))]
    deviation = 2.0
    expected = choix.opt_pairwise(count, data, alpha=1 / (2 * deviation**2))
    fit = ranking.fit(wins, prior=deviation)
    np.testing.assert_allclose(fit.strengths, expected - expected.mean(), atol=1e-5)
    assert fit.ties == 0


def test_davidson_of_two_has_a_closed_form() -> None:
    # With a flat prior the probabilities are the shares: 1 / v = sqrt(wins * losses) / ties.
    wins = np.array([[0, 6e6], [2e6, 0]])
    ties = np.array([[0, 3e6], [0, 0]])
    fit = ranking.fit(wins, ties, prior=1e3)
    assert fit.strengths[0] - fit.strengths[1] == pytest.approx(math.log(3), abs=1e-4)
    assert fit.ties == pytest.approx(3 / math.sqrt(12), abs=1e-4)


def test_the_gradient_vanishes_and_covariance_is_the_inverse_hessian() -> None:
    rng = np.random.default_rng(3)
    wins, ties = random_wins(4, 300, rng), np.triu(rng.integers(0, 20, (4, 4)), 1).astype(float)
    fit = ranking.fit(wins, ties, prior=1.5)

    def log_posterior(parameters: np.ndarray) -> float:
        win, tie = ranking.probabilities(parameters[:4, None] - parameters[:4], math.exp(parameters[4]))
        likelihood = (wins * np.log(win)).sum() + (ties * np.log(tie)).sum()
        mean, deviation = ranking.TIE_PRIOR
        prior = (parameters[:4] ** 2).sum() / (2 * 1.5**2) + (parameters[4] - mean) ** 2 / (2 * deviation**2)
        return likelihood - prior

    at = np.append(fit.strengths, math.log(fit.ties))
    steps = 1e-4 * np.eye(5)
    gradient = [(log_posterior(at + h) - log_posterior(at - h)) / 2e-4 for h in steps]
    np.testing.assert_allclose(gradient, 0, atol=1e-4)
    hessian = [
        [
            (
                log_posterior(at + g + h)
                - log_posterior(at + g - h)
                - log_posterior(at - g + h)
                + log_posterior(at - g - h)
            )
            / 4e-8
            for h in steps
        ]
        for g in steps
    ]
    np.testing.assert_allclose(fit.covariance, np.linalg.inv(-np.array(hessian))[:4, :4], rtol=1e-3, atol=1e-5)


def test_stacks_are_fitted_one_by_one() -> None:
    rng = np.random.default_rng(5)
    stack = np.stack([random_wins(5, votes, rng) for votes in (10, 100, 1000)])
    together = ranking.fit(stack, stack / 7)
    for one, wins in zip(together.strengths, stack, strict=True):
        np.testing.assert_allclose(one, ranking.fit(wins, wins / 7).strengths, atol=1e-8)


def test_one_who_always_wins_stays_finite() -> None:
    fit = ranking.fit(np.array([[0.0, 50], [0, 0]]))
    assert 500 < fit.elo()[0] - fit.elo()[1] < 3000


def test_elo_scale_and_anchor() -> None:
    fit = ranking.fit(np.array([[0, 10e6], [1e6, 0]]), prior=1e3)
    assert fit.elo()[0] - fit.elo()[1] == pytest.approx(400, abs=0.01)
    assert fit.elo().mean() == pytest.approx(1500)
    assert fit.elo(anchor=1).tolist() == pytest.approx([1900, 1500], abs=0.01)


@pytest.mark.parametrize(
    "tallies", [np.zeros((2, 3)), np.zeros((1, 1)), -np.ones((2, 2)), np.eye(2), np.full((2, 2), np.nan)]
)
def test_tallies_that_make_no_sense_are_refused(tallies: np.ndarray) -> None:
    with pytest.raises(UsageError):
        ranking.fit(tallies)


def test_intervals_are_of_raters_not_votes() -> None:
    # Raters who all agree with themselves and half of whom disagree with the others: 10 raters, however many votes.
    wins = np.zeros((10, 2, 2))
    wins[:5, 0, 1] = wins[5:, 1, 0] = 1000
    drawn = ranking.bootstrap(wins, None, np.random.default_rng(0))
    low, high = ranking.intervals(ranking.fit(wins.sum(0)).elo(), drawn, 10)[0]
    assert high - low > 150
    assert np.isnan(ranking.intervals(np.zeros(2), drawn, 1)).all()


def test_pairs_are_all_pairs_of_one_rate_and_picture() -> None:
    pairs = Pairs.of([(0, 0, 7), (0, 1, 7), (0, 2, 7), (1, 0, 7), (1, 2, 7), (0, 0, 8)])
    rows = sorted(zip(pairs.rate, pairs.first, pairs.second, pairs.picture, strict=True))
    assert rows == [(0, 0, 1, 7), (0, 0, 2, 7), (0, 1, 2, 7), (1, 0, 2, 7)]
    with pytest.raises(UsageError, match="nothing to compare"):
        Pairs.of([(0, 0, 1), (1, 0, 1)])


def test_pairs_are_balanced_at_first_and_never_shown_twice() -> None:
    pairs = Pairs.of((0, codec, picture) for codec in range(4) for picture in range(10))
    chooser = Chooser(pairs, np.random.default_rng(0), ties=False)
    seen: list[int] = []
    for _ in range(6 * design.BALANCED):
        pair = chooser.next(seen, int(pairs.picture[seen[-1]]) if seen else None)
        assert pair is not None
        assert pair not in seen
        assert not seen or pairs.picture[pair] != pairs.picture[seen[-1]]
        chooser.show(pair)
        chooser.vote(pair, 0)
        seen.append(pair)
    shown = np.unique(pairs.first[seen] * 4 + pairs.second[seen], return_counts=True)[1]
    assert shown.tolist() == [design.BALANCED] * 6
    assert chooser.next(list(range(len(pairs)))) is None


def test_close_matches_are_asked_about_more_than_clear_ones() -> None:
    truth = Truth((1100, 1490, 1510, 1900))
    wins, _ = study(truth, 20, 30, np.random.default_rng(1))
    compared = (wins + wins.swapaxes(1, 2)).sum(0)
    assert compared[1, 2] > 2 * compared[0, 3]


def test_expected_information_is_that_of_a_coin() -> None:
    # A difference that is surely 0 tells nothing; one that is surely huge in either direction tells a bit.
    nothing, bit = design.expected_information(np.zeros(2), np.array([0, 1e6]), np.zeros(2))
    assert nothing == pytest.approx(0, abs=1e-12)
    assert bit == pytest.approx(math.log(2), rel=1e-3)
    spread = design.expected_information(np.zeros(3), np.array([0.1, 1, 4]), np.full(3, 0.2))
    assert np.all(np.diff(spread) > 0)


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(0, 20), st.integers(0, 20), st.integers(0, 1000))
def test_schedules_have_what_they_promise(trials: int, golden: int, repeats: int, seed: int) -> None:
    golden = min(golden, trials // 4)
    repeats = min(repeats, trials // 4)
    kinds = design.schedule(trials, golden, repeats, np.random.default_rng(seed))
    assert len(kinds) == trials
    assert kinds.count(Kind.GOLDEN) == golden
    assert kinds.count(Kind.REPEAT) == repeats
    assert kinds[0] is Kind.PAIR
    assert Kind.REPEAT not in kinds[: trials // 2]


def test_poisson_binomial() -> None:
    assert screening.at_most([0.9] * 4, 2) == pytest.approx(0.0523)
    assert screening.at_most([0.2, 0.5], 0) == pytest.approx(0.4)
    assert screening.at_most([0.2, 0.5], 1) == pytest.approx(0.9)
    assert screening.at_most([], 0) == 1


def test_the_population_of_identical_raters_is_the_truth() -> None:
    np.testing.assert_allclose(Truth((1400, 1500, 1600), ties=0.3).population(), [1400, 1500, 1600], atol=0.1)
    drawn_together = Truth((1400, 1500, 1600), taste=100, lapse=0.1).population()
    assert 1400 < drawn_together[0] < 1450


def test_simulated_studies_find_the_order() -> None:
    found = power(Truth((1300, 1500, 1700)), raters=12, trials=30, studies=4)
    assert found.votes == 360
    assert found.ordered == 1
    assert found.told_apart == 1
    assert 15 < found.half_width < 80
