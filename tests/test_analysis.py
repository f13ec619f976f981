"""First latents: the analysis that ships, its agreement with PyTorch, and how it is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aquatint import native
from aquatint.codecs.overfitted import analysis, presets
from aquatint.codecs.overfitted.architecture import LATENT_LIMIT, Architecture
from aquatint.codecs.overfitted.engine import create_engine
from aquatint.codecs.overfitted.initialise import origin_for, origin_parameters
from aquatint.training import analysis as training

LAGRANGIAN = 2.5e-3


def planes_of(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(pixels, 2, 0), np.float32) / 255


def cost(
    planes: np.ndarray, architecture: Architecture, latents: list[np.ndarray], skip_finest: bool = False
) -> tuple[float, float]:
    """PSNR and cost of latents with the networks of their origin."""
    engine = create_engine(planes, architecture, skip_finest=skip_finest)
    engine.parameters = origin_parameters(architecture, origin_for(LAGRANGIAN, skip_finest))
    for k, grid in enumerate(latents):
        engine.set_latents(k, grid)
    error, bits = engine.evaluate()
    return -10 * np.log10(float(error)), float(error) + LAGRANGIAN * sum(bits) / planes[0].size


@pytest.mark.parametrize("skip_finest", [False, True])
@pytest.mark.parametrize("decoder", presets.LADDER)
def test_first_latents_already_show_the_picture(photo: np.ndarray, decoder: str, skip_finest: bool) -> None:
    planes, architecture = planes_of(photo), presets.LADDER[decoder]
    zeros = [np.zeros(shape, np.float32) for shape in architecture.grid_shapes(*planes.shape[1:])]
    latents = analysis.first_latents(planes, architecture, LAGRANGIAN, skip_finest)
    psnr, total = cost(planes, architecture, latents, skip_finest)
    assert psnr > 21
    assert total < 0.3 * cost(planes, architecture, zeros, skip_finest)[1]


def test_the_pyramid_halves_and_repeats_odd_edges() -> None:
    planes = np.stack([np.arange(15, dtype=np.float32).reshape(3, 5)] * 3)
    levels = analysis.pyramid(planes, 3)
    assert levels[0] is planes
    np.testing.assert_array_equal(levels[1][1], np.array([[3, 5, 6.5], [10.5, 12.5, 14]]))
    np.testing.assert_array_equal(levels[2][2], np.array([[7.75, 10.25]]))


@pytest.mark.parametrize("isa", native.instruction_sets())
def test_agrees_with_the_network_that_was_trained(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AQUATINT_SIMD", isa)
    random = np.random.default_rng(0)
    networks = {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in analysis.SHAPES.items()}
    architecture = presets.LADDER["fast"]
    monkeypatch.setattr(analysis, "_load", lambda: {analysis.name_of(architecture, False): networks})
    planes = random.random((3, 101, 70), dtype=np.float32)
    ours = analysis.first_latents(planes, architecture, 1e-3, False)
    tensors = {name: torch.from_numpy(array) for name, array in networks.items()}
    theirs = training.analyse(torch.from_numpy(planes), tensors, analysis.scale_of(1e-3), 0)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 0, 8), (3, 1, 65536)])
def test_levels_of_other_shapes_are_refused(shape: tuple[int, int, int]) -> None:
    arrays = [np.zeros(shape, np.float32) for shape in ((17, 75), (17,), (16, 16), (16,), (16,))]
    with pytest.raises(ValueError, match="3xHxW"):
        native.analyse(np.zeros(shape, np.float32), *arrays)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 65), (100, 1)])
def test_any_size_and_any_lagrangian(height: int, width: int) -> None:
    planes = np.random.default_rng(0).random((3, height, width), dtype=np.float32) * 1000
    for grids in (1, 7):
        architecture = Architecture(grids, 14, 2, 24, 1)
        for lagrangian in (1e-6, 1.0):
            latents = analysis.first_latents(planes, architecture, lagrangian, False)
            assert [grid.shape for grid in latents] == architecture.grid_shapes(height, width)
            assert all((np.abs(grid) <= LATENT_LIMIT).all() for grid in latents)


def test_decoders_without_an_analysis_start_at_zero() -> None:
    latents = analysis.first_latents(np.ones((3, 9, 5), np.float32), Architecture(2, 8, 0, 4, 0), LAGRANGIAN, False)
    assert [grid.shape for grid in latents] == [(9, 5), (5, 3)]
    assert not any(grid.any() for grid in latents)


def test_scale_is_logarithmic_and_bounded() -> None:
    assert [analysis.scale_of(x) for x in (1e-6, 4e-4, 9e-2, 1.0)] == pytest.approx([-1, -1, 1, 1])
    assert analysis.scale_of((4e-4 * 9e-2) ** 0.5) == pytest.approx(0)


def test_training_leaves_zero(tmp_path: Path, photo: np.ndarray) -> None:
    from PIL import Image

    Image.fromarray(photo[:64, :64]).save(tmp_path / "photograph.png")
    recipe = training.Recipe(crops=1, side=64, rows=1, columns=1, steps=60, warm_up=5, rate=5e-3)
    architecture = presets.LADDER["fast"]
    networks = training.train([tmp_path / "photograph.png"], architecture, False, recipe)
    planes = planes_of(photo[:64, :64])
    latents = [x.numpy() for x in training.analyse(torch.from_numpy(planes), networks, 0.0, 0)]
    assert cost(planes, architecture, latents)[1] < 0.3 * cost(planes, architecture, [0 * x for x in latents])[1]
