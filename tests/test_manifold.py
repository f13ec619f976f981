"""Precision, recall, density and coverage, on sets that are written out and against their definition."""

from __future__ import annotations

import numpy as np
import pytest

from aquatint.errors import UsageError
from aquatint.evaluation.metrics import manifold


def line(*places: float) -> np.ndarray:
    return np.array(places)[:, None]


def test_two_sets_on_a_line() -> None:
    originals = line(0, 1, 2, 3, 10)
    # The third nearest others are 3, 2, 2, 3 and 9 away.
    decoded = line(-2.5, 0, 4, 19.5, 30)
    # -2.5 is within 3 of 0, 4 within 2 of 2, 19.5 is 9.5 from 10, and 30 is alone.
    assert manifold.precision(originals, decoded) == 3 / 5
    # Those of decoded ones are 22, 19.5, 15.5, 19.5 and 30 away: they cover all originals.
    assert manifold.recall(originals, decoded) == 1
    assert manifold.precision(decoded, originals) == 1


def test_density_and_coverage_are_their_definitions() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(size=(40, 3)), 0.6 * random.normal(size=(30, 3))
    distances = np.linalg.norm(first[:, None] - second, axis=2)
    radii = np.sort(np.linalg.norm(first[:, None] - first, axis=2), axis=1)[:, 5]
    assert manifold.density(first, second) == pytest.approx((distances <= radii[:, None]).sum() / (5 * 30))
    assert manifold.coverage(first, second) == pytest.approx((distances.min(1) <= radii).mean())


def test_precision_is_its_definition_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifold, "_ROWS", 7)
    random = np.random.default_rng(1)
    first, second = random.normal(size=(40, 3)), 1.5 * random.normal(size=(30, 3))
    radii = np.sort(np.linalg.norm(first[:, None] - first, axis=2), axis=1)[:, 3]
    inside = (np.linalg.norm(first[:, None] - second, axis=2) <= radii[:, None]).any(0)
    assert 0.2 < manifold.precision(first, second) < 1
    assert manifold.precision(first, second) == inside.mean()


def test_equal_sets_cover_each_other_and_distant_ones_do_not() -> None:
    vectors = np.random.default_rng(2).normal(size=(20, 8)).astype(np.float32)
    for measure in (manifold.precision, manifold.recall, manifold.coverage):
        assert measure(vectors, vectors) == 1
        assert measure(vectors, vectors + 100) == 0
    assert manifold.density(vectors, vectors + 100) == 0


def test_sets_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 4 vectors a set are needed, not 3 and 9"):
        manifold.precision(np.zeros((3, 2)), np.zeros((9, 2)))
    with pytest.raises(UsageError, match="at least 6 vectors"):
        manifold.coverage(np.zeros((5, 2)), np.zeros((9, 2)))
    with pytest.raises(UsageError, match="of one dimension"):
        manifold.recall(np.zeros((9, 2)), np.zeros((9, 3)))
