"""Multiple-gradient descent against a quadratic program, and on problems with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

pytest.importorskip("torch")

from aquatint.training.mgda import min_norm_weights


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("count", [2, 3, 8])
def test_weights_are_those_of_a_quadratic_program(seed: int, count: int) -> None:
    chance = np.random.default_rng([seed, count])
    gradients = chance.normal(size=(count, 5)) * 10.0 ** chance.uniform(-2, 2, (count, 1)) + chance.normal(size=5)
    gram = gradients @ gradients.T
    scale = np.trace(gram)
    found = min_norm_weights(gram)
    solution = minimize(
        lambda a: a @ gram @ a / scale,
        np.full(count, 1 / count),
        jac=lambda a: 2 * gram @ a / scale,
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda a: a.sum() - 1, "jac": np.ones_like},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()
    assert found @ gram @ found / scale <= solution.fun + 1e-8
    # Optimal: no gradient has a smaller product with the combination than the combination has with itself.
    slopes = gram @ found / scale
    assert slopes.min() >= found @ slopes - 1e-8


def test_two_gradients_have_a_closed_form() -> None:
    gram = np.array([[4.0, 1.0], [1.0, 9.0]])  # weights (9 - 1) / (4 - 2 + 9)
    assert min_norm_weights(gram) == pytest.approx([8 / 11, 3 / 11])
    assert min_norm_weights(np.array([[1.0, 2.0], [2.0, 9.0]])) == pytest.approx([1, 0])
    assert min_norm_weights(np.array([[1.0, -1.0], [-1.0, 1.0]])) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("gram", [np.zeros((3, 3)), np.ones((2, 2)), np.array([[5.0]]), np.eye(4) * 1e-200])
def test_degenerate_problems_have_weights(gram: np.ndarray) -> None:
    found = min_norm_weights(gram)
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()


def test_descent_lowers_all_losses_down_to_a_pareto_point() -> None:
    centres = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    curvatures = np.array([1.0, 10.0, 100.0])
    point = np.array([3.0, 2.0])

    def losses(x: np.ndarray) -> np.ndarray:
        return 0.5 * curvatures * ((x - centres) ** 2).sum(1)

    before = losses(point)
    for _ in range(3000):
        gradients = curvatures[:, None] * (point - centres)
        weights = min_norm_weights(gradients @ gradients.T)
        step = 0.005 * weights @ gradients
        assert (losses(point - step) <= losses(point) + 1e-9).all()
        point = point - step
    assert (losses(point) < before).all()
    # Pareto points of these losses are the triangle of their centres.
    assert point.min() >= -1e-3
    assert point.sum() <= 1 + 1e-3
