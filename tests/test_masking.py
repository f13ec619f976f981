"""The weights of contrast masking, and the places that are too smooth to hide anything."""

from __future__ import annotations

import numpy as np
import pytest

from aquatint.codecs.overfitted.octaves import smoothness
from aquatint.perception.masking import EXPONENT, FLOOR, importance


def test_a_flat_picture_counts_alike_everywhere() -> None:
    np.testing.assert_allclose(importance(np.full((33, 47, 3), 0.4, np.float32)), 1, rtol=1e-5)


def test_errors_count_less_within_texture() -> None:
    pixels = np.full((64, 128, 3), 0.5, np.float32)
    pixels[:, 64:] += np.random.default_rng(0).normal(0, 0.1, (64, 64, 1)).astype(np.float32)
    weights = importance(pixels)
    flat, texture = weights[16:48, 16:40], weights[16:48, 88:112]
    # Blurred twice by [1 2 1]/4 across and down, white noise keeps 0.794 of its variance in the difference.
    expected = ((0.794 * 0.1**2 + FLOOR**2) / FLOOR**2) ** -EXPONENT
    assert flat.mean() / texture.mean() == pytest.approx(expected, rel=0.05)
    np.testing.assert_allclose(np.log(weights).mean(), 0, atol=1e-4)


def test_what_is_smooth_is_flat_or_nearly() -> None:
    planes = np.full((3, 64, 192), 0.5, np.float32)
    for column, deviation in ((64, 4 / 255), (128, 40 / 255)):  # as skin, and as gravel
        noise = np.random.default_rng(0).normal(0, deviation, (64, 64)).astype(np.float32)
        planes[:, :, column : column + 64] += noise
    for shape in ((64, 192), (8, 24)):
        share = smoothness(planes, shape)
        assert share.shape == shape
        unit = share.shape[0] // 8
        flat, skin, gravel = np.split(share[2 * unit : -2 * unit], 3, axis=1)
        assert (flat[:, : -2 * unit] == 1).all()
        assert (skin[:, 2 * unit : -2 * unit] == 1).all()
        assert (gravel[:, 2 * unit :] == 0).all()


def test_pictures_of_any_size() -> None:
    for height, width in ((1, 1), (1, 9), (3, 2), (50, 1)):
        weights = importance(np.random.default_rng(0).random((height, width, 3), dtype=np.float32))
        assert weights.shape == (height, width)
        assert weights.dtype == np.float32
        assert (weights > 0).all()
