"""Semi-discrete optimal transport: exact cases, symmetries, an oracle, and modes that do not mix."""

from __future__ import annotations

import numpy as np
import pytest

from aquatint.errors import UsageError
from aquatint.transport import power
from aquatint.transport.extension import dihedral_angles, extension, singular_threshold
from aquatint.transport.semidiscrete import cube, empirical, gaussian_heights, relative_error, solve


def random_codes(count: int, dimensions: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dimensions))


def eight_gaussians(count: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Codes around eight points of a circle, and which point each is of."""
    mode = np.arange(count) % 8
    angle = mode * np.pi / 4
    noise = np.random.default_rng(3).normal(scale=0.03, size=(count, 2))
    return np.stack([np.cos(angle), np.sin(angle)], 1) + noise, mode


# ---- Power diagrams


def test_parametrisations_describe_the_same_cells() -> None:
    codes, points = random_codes(20, 3), random_codes(500, 3, 1)
    heights = np.random.default_rng(2).normal(size=20)
    indices = power.cells(points, codes, heights)
    weights = power.weights_of_heights(heights, codes)
    distances = np.square(points[:, None] - codes).sum(2) - weights
    assert np.array_equal(indices, distances.argmin(1))
    biases = power.biases_of_heights(heights, codes)
    assert np.array_equal(indices, (points @ codes.T - np.square(codes).sum(1) / 2 + biases).argmax(1))
    assert power.heights_of_weights(weights, codes) == pytest.approx(heights)
    assert power.heights_of_biases(biases, codes) == pytest.approx(heights)
    assert weights == pytest.approx(2 * biases)


def test_biases_of_zero_are_nearest_neighbours() -> None:
    codes, points = random_codes(30, 4), random_codes(1500, 4, 1)  # several tiles, the last one not full
    indices = power.cells(points, codes, power.heights_of_biases(np.zeros(30), codes))
    assert np.array_equal(indices, np.square(points[:, None] - codes).sum(2).argmin(1))


def test_gaps_are_leads_over_the_second_best() -> None:
    codes, points = random_codes(9, 2), random_codes(50, 2, 1)
    heights = np.zeros(9)
    _, gaps = power.cells_and_gaps(points, codes, heights)
    scores = np.sort(points @ codes.T, axis=1)
    assert gaps == pytest.approx(scores[:, -1] - scores[:, -2], abs=1e-5)


def test_the_gradient_of_the_energy_is_the_excess_of_masses() -> None:
    codes, points = random_codes(6, 2), random_codes(2000, 2, 1)
    heights, masses = np.random.default_rng(2).normal(size=6), np.full(6, 1 / 6)
    excess = power.cell_masses(points, codes, heights) - masses
    for index in range(6):
        moved = heights + 1e-3 * (np.arange(6) == index)
        slope = (power.energy(points, codes, moved, masses) - power.energy(points, codes, heights, masses)) / 1e-3
        assert slope == pytest.approx(excess[index], abs=3e-3)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match=r"\(5, 3\) do not fit codes of shape \(4, 2\)"):
        power.cells(np.ones((5, 3)), np.ones((4, 2)), np.ones(4))
    with pytest.raises(UsageError, match="4 codes need as many heights"):
        power.cells(np.ones((5, 2)), np.ones((4, 2)), np.ones(3))
    with pytest.raises(UsageError, match="positive masses of sum 1"):
        solve(np.ones((4, 2)), cube(2), masses=np.array([0.5, 0.5, 0.5, -0.5]))
    with pytest.raises(UsageError, match="must be finite"):
        solve(np.array([[np.nan, 0.0]]), cube(2))
    with pytest.raises(UsageError, match="tolerance must be between 0 and 1, not 2"):
        solve(np.ones((4, 2)), cube(2), tolerance=2)


# ---- Exact cases


def test_one_dimension_is_sorting() -> None:
    codes = random_codes(12, 1)
    masses = np.random.default_rng(1).dirichlet(np.full(12, 5.0))
    solution = solve(codes, cube(1), masses=masses, tolerance=0.01)
    order = codes[:, 0].argsort()
    edges = np.cumsum(masses[order])[:-1] - 0.5
    # At an edge the scores of both neighbours are equal.
    heights = np.zeros(12)
    heights[order] = np.append(0, np.cumsum(edges * -np.diff(codes[order, 0])))
    assert solution.heights == pytest.approx(heights - heights.mean(), abs=0.01)
    middles = np.append(-0.5, edges) + masses[order] / 2
    assert np.array_equal(power.cells(middles[:, None], codes, solution.heights), order)


def test_areas_of_sixteen_cells() -> None:
    codes = random_codes(16, 2)
    solution = solve(codes, cube(2), tolerance=0.005)
    side = (np.arange(1500) + 0.5) / 1500 - 0.5
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    areas = power.cell_masses(grid, codes, solution.heights)
    assert np.sqrt(np.mean((16 * areas - 1) ** 2)) < 0.01
    assert solution.entropy == pytest.approx(4, abs=1e-3)


def test_given_masses_are_reached() -> None:
    codes, masses = random_codes(40, 5), np.random.default_rng(1).dirichlet(np.full(40, 4.0))
    solution = solve(codes, cube(5), masses=masses, tolerance=0.02)
    counts = np.bincount(power.cells(cube(5)(10**6, np.random.default_rng(9)), codes, solution.heights), minlength=40)
    assert relative_error(counts, masses) < 0.03
    assert solution.error <= 0.02


def test_the_oracle_finds_the_same_map() -> None:
    ot = pytest.importorskip("ot")
    codes = random_codes(256, 2) / 4
    points = cube(2)(8192, np.random.default_rng(5))
    costs = ot.dist(points.astype(np.float64), codes)
    plan = ot.emd(np.full(8192, 1 / 8192), np.full(256, 1 / 256), costs)
    exact = (plan * costs).sum()
    solution = solve(codes, empirical(points), tolerance=0.05)
    found = power.cells(points, codes, solution.heights)
    assert (found == plan.argmax(1)).mean() > 0.9
    assert costs[np.arange(8192), found].mean() == pytest.approx(exact, rel=0.03)
    # Weak duality: no heights give more than the plan's cost, and the right ones give almost all of it.
    weights = power.weights_of_heights(solution.heights, codes)
    dual = (costs - weights).min(1).mean() + weights.mean()
    assert exact * 0.998 < dual <= exact + 1e-6


def test_many_codes_in_many_dimensions() -> None:
    codes = random_codes(512, 16)
    solution = solve(codes, cube(16), tolerance=0.05)
    assert solution.error <= 0.05
    assert solution.empty == 0
    assert solution.entropy > 8.99


def test_the_energy_falls() -> None:
    codes, masses = random_codes(64, 3), np.full(64, 1 / 64)
    points = cube(3)(200_000, np.random.default_rng(4))
    start = gaussian_heights(codes - codes.mean(0), masses, points)
    end = solve(codes, cube(3)).heights
    centred = codes - codes.mean(0)
    voronoi = power.heights_of_biases(np.zeros(64), centred)
    energies = [power.energy(points, centred, heights, masses) for heights in (voronoi, start, end)]
    assert energies == sorted(energies, reverse=True)
    assert energies[1] - energies[2] > 1e-3


# ---- Symmetries


def test_permuted_codes_have_permuted_heights() -> None:
    codes = random_codes(32, 3)
    order = np.random.default_rng(1).permutation(32)
    heights = solve(codes, cube(3), tolerance=0.02).heights
    assert solve(codes[order], cube(3), tolerance=0.02).heights == pytest.approx(heights[order], abs=0.02)


def test_moved_codes_have_the_same_heights() -> None:
    codes = random_codes(32, 3)
    heights = solve(codes, cube(3), tolerance=0.02).heights
    moved = solve(codes + np.array([5.0, -3.0, 1.0]), cube(3), tolerance=0.02).heights
    assert moved == pytest.approx(heights, abs=0.02)


def test_larger_codes_have_larger_heights() -> None:
    codes = random_codes(32, 3)
    heights = solve(codes, cube(3), tolerance=0.02).heights
    assert solve(1000 * codes, cube(3), tolerance=0.02).heights == pytest.approx(1000 * heights, abs=20)


def test_one_code_has_everything() -> None:
    solution = solve(np.array([[3.0, 4.0]]), cube(2))
    assert (solution.heights.tolist(), solution.error, solution.entropy) == ([0.0], 0.0, 0.0)


def test_noise_parts_points_that_are_equal() -> None:
    points = np.repeat(random_codes(4, 2), 50, axis=0)
    codes = random_codes(10, 2, 7)
    assert solve(codes, empirical(points), most_samples=50_000).error > 0.3
    assert solve(codes, empirical(points, noise=0.1), tolerance=0.05).error <= 0.05


def test_errors_of_masses_are_not_those_of_counting() -> None:
    masses = np.full(100, 0.01)
    chance = np.random.default_rng(0)
    found = [relative_error(chance.multinomial(1000, masses), masses) for _ in range(50)]
    assert np.mean(np.square(found)) < 0.01  # the counts' own is 100 / 1000
    tilted = masses * np.where(np.arange(100) < 50, 1.2, 0.8)
    found = [relative_error(chance.multinomial(10_000, tilted), masses) for _ in range(50)]
    assert np.mean(found) == pytest.approx(0.2, abs=0.01)


# ---- Extension


def test_dihedral_angles_are_those_of_planes() -> None:
    assert dihedral_angles(np.array([0.0]), np.array([1.0])) == pytest.approx(np.pi / 4)
    assert dihedral_angles(np.array([-1.0]), np.array([1.0])) == pytest.approx(np.pi / 2)
    assert dihedral_angles(np.array([2.0, 1.0]), np.array([2.0, 1.0])) == pytest.approx(0, abs=1e-7)


def test_the_threshold_lies_between_two_heaps() -> None:
    chance = np.random.default_rng(0)
    angles = np.concatenate([chance.normal(0.2, 0.03, 9000), chance.normal(0.9, 0.05, 1000)])
    assert 0.35 < singular_threshold(angles) < 0.75


def test_modes_mix_only_without_the_filter() -> None:
    codes, mode = eight_gaussians()
    solution = solve(codes, cube(2), tolerance=0.05)
    points = cube(2)(20_000, np.random.default_rng(8))
    centres = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], 1)

    def mixed(threshold: float | None) -> float:
        made = extension(codes, solution.heights, cube(2), neighbours=5, threshold=threshold)(points)
        distances = np.sqrt(np.square(made[:, None] - centres).sum(2)).min(1)
        radius = np.sqrt(np.square(codes - centres[mode]).sum(1)).max()
        return float((distances > radius).mean())

    assert mixed(None) == 0
    assert mixed(np.pi) > 0.05


def test_without_neighbours_the_map_is_that_of_codes() -> None:
    codes = random_codes(20, 2)
    heights = solve(codes, cube(2)).heights
    points = cube(2)(100, np.random.default_rng(1))
    made = extension(codes, heights, cube(2), neighbours=0)(points)
    assert made == pytest.approx(codes[power.cells(points, codes, heights)])


def test_the_extension_is_between_neighbours() -> None:
    codes = np.array([[0.0], [1.0]])
    made = extension(codes, np.array([0.0, 0.0]), cube(1), threshold=np.pi)
    # Centres are -1/4 and 1/4; a point at a centre is its code, one in the middle is half of each.
    assert made(np.array([[-0.25], [0.0], [0.25]]))[:, 0] == pytest.approx([0, 0.5, 1], abs=0.1)


def test_an_empty_cell_has_no_centre() -> None:
    with pytest.raises(UsageError, match="1 of 2 cells are empty"):
        extension(np.array([[0.0], [1.0]]), np.array([0.0, 9.0]), cube(1))
