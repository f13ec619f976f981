"""The finest octave separated: engines against the definition, and what first latents lose."""

from __future__ import annotations

import numpy as np
import pytest
from engines import ARCHITECTURES, ENGINES, random_engine, random_shares

from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.codecs.overfitted.octaves import without_local_means

pytest.importorskip("torch")


def local_means(grid: np.ndarray) -> np.ndarray:
    """Means over blocks of 4x4, interpolated between their middles, or taken from the outermost ones."""
    blocks = [np.arange(size) // 4 for size in grid.shape]
    means = np.array(
        [[grid[np.ix_(blocks[0] == i, blocks[1] == j)].mean() for j in set(blocks[1])] for i in set(blocks[0])]
    )
    across = [np.interp(np.arange(grid.shape[1]), 4 * np.arange(means.shape[1]) + 1.5, row) for row in means]
    rows, middles = np.arange(grid.shape[0]), 4 * np.arange(means.shape[0]) + 1.5
    return np.transpose([np.interp(rows, middles, column) for column in np.transpose(across)])


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (21, 30), (16, 8)], ids=str)
def test_a_grid_without_its_local_means(size: tuple[int, int]) -> None:
    grid = np.random.default_rng(0).normal(size=size).astype(np.float32)
    share = np.random.default_rng(1).random(size, dtype=np.float32)
    np.testing.assert_allclose(without_local_means(grid, share), grid - share * local_means(grid), atol=1e-6)


@pytest.mark.parametrize("finest", [0, 1])
@pytest.mark.parametrize(("device", "isa"), ENGINES)
def test_the_finest_grid_leaves_what_varies_slowly_to_coarser_ones(device: str, isa: str, finest: int) -> None:
    # Integers with a proxy that hardly rounds have slopes near 1, and what is left of the gradient is a latent's step.
    architecture, lagrangian, rate = Architecture(3, 8, 0, 8, 1), 1e4, 1e-3
    engine = random_engine(21, 30, architecture, device=device, isa=isa, skip_finest=bool(finest))
    shares = random_shares(*architecture.grid_shapes(21, 30)[finest])
    engine.separate_finest(shares)
    before = [engine.latents(k) for k in range(3)]
    _, _, _, gradients = engine.gradients(100, 1, lagrangian, 0)
    engine.step(100, 1, lagrangian, rate, 0, 0)
    epsilon = 3 * lagrangian / (21 * 30)
    for k in range(finest, 3):
        left = gradients[k] - shares * local_means(gradients[k]) if k == finest else gradients[k]
        step = (before[k] - engine.latents(k)) / rate
        np.testing.assert_allclose(step, left / (np.abs(left) + epsilon), rtol=0, atol=2e-3)
        assert np.abs(step).max() > 0.1


@pytest.mark.parametrize(("device", "isa"), ENGINES)
def test_the_finest_octave_can_be_joined_again(device: str, isa: str) -> None:
    latents = []
    for shares in (None, random_shares(21, 30)):
        engine = random_engine(21, 30, ARCHITECTURES[4], device=device, isa=isa)
        engine.separate_finest(shares)
        engine.separate_finest(None)
        engine.step(0.3, 1, 0.01, 1e-2, 0, 0)
        latents.append(engine.latents(0))
    np.testing.assert_array_equal(*latents)
