"""The guess of a rate from the picture alone."""

from __future__ import annotations

import numpy as np
import pytest

from aquatint.codecs.overfitted.rate_model import (
    LAGRANGIANS,
    block_energies,
    expected_bpp,
    finest_share,
    lagrangian_for,
    slope,
)


def test_energies_are_those_of_an_orthonormal_transform() -> None:
    pixels = np.random.default_rng(0).random((24, 16, 3))
    blocks = pixels.mean(axis=2).reshape(3, 8, 2, 8).transpose(0, 2, 1, 3).reshape(-1, 64)
    expected = np.square(blocks - blocks.mean(axis=1, keepdims=True)).sum(axis=1)
    np.testing.assert_allclose(block_energies(pixels).sum(axis=1), expected, rtol=1e-12)


def test_a_single_cosine_has_one_coefficient() -> None:
    wave = np.cos(np.pi / 8 * 3 * (np.arange(8) + 0.5))
    energies = block_energies(np.broadcast_to(wave[:, None, None], (8, 8, 3)))
    assert np.argmax(energies[0]) == 3 * 8 - 1
    assert energies[0].max() == pytest.approx(energies[0].sum())


def test_the_share_of_the_finest_octave() -> None:
    def share(*frequencies: int) -> float:
        rows = np.arange(8) + 0.5
        wave = sum(np.outer(np.cos(np.pi / 8 * k * rows), np.ones(8)) for k in frequencies)
        return finest_share(block_energies(np.asarray(wave)[..., None].repeat(3, 2)), 1e-3)

    assert share(3) == pytest.approx(0)
    assert share(4) == pytest.approx(1)
    assert share(2, 5) == pytest.approx(0.5)
    assert finest_share(block_energies(np.full((8, 8, 3), 0.5)), 1e-3) == 0
    noise = block_energies(np.random.default_rng(2).random((64, 64, 3)))
    assert finest_share(noise, 1e-3) == pytest.approx(48 / 63, abs=0.02)


def test_the_lagrangian_inverts_the_rate() -> None:
    energies = block_energies(np.random.default_rng(1).random((64, 64, 3)))
    for bpp in (0.05, 0.5, 2.0):
        assert expected_bpp(energies, lagrangian_for(energies, bpp)) == pytest.approx(bpp, rel=1e-4)


def test_the_slope_is_that_of_the_rate() -> None:
    energies = block_energies(np.random.default_rng(1).random((64, 64, 3)))
    for lagrangian in (1e-4, 1e-2):
        near = lagrangian * np.array([0.999, 1.001])
        bits = [expected_bpp(energies, value) for value in near]
        expected = np.diff(np.log(bits)) / np.diff(np.log(near))
        assert slope(energies, lagrangian) == pytest.approx(0.9 * expected[0], rel=1e-4)
    assert slope(block_energies(np.full((8, 8, 3), 0.5)), 1e-3) < 0


def test_what_cannot_be_met_stays_in_range() -> None:
    flat = block_energies(np.full((3, 5, 3), 0.5))
    assert expected_bpp(flat, 1e-3) == pytest.approx(0, abs=1e-9)
    assert lagrangian_for(flat, 1.0) == pytest.approx(LAGRANGIANS[0], rel=1e-3)
    noise = block_energies(np.random.default_rng(2).random((64, 64, 3)))
    assert lagrangian_for(noise, 1e-9) == pytest.approx(LAGRANGIANS[1], rel=1e-3)


def test_large_pictures_are_sampled() -> None:
    pixels = np.random.default_rng(3).random((2048, 2048, 3), dtype=np.float32)
    assert len(block_energies(pixels)) <= 4 * 8192
    assert expected_bpp(block_energies(pixels), 1e-3) == pytest.approx(
        expected_bpp(block_energies(pixels[:512, :512]), 1e-3), rel=0.02
    )
