"""Sigma maps: their ranges, and where they are large and small."""

from __future__ import annotations

import numpy as np
import pytest

from aquatint.errors import UsageError
from aquatint.perception import sigma


def texture_beside_object() -> np.ndarray:
    """A picture (128, 192, 3): fine noise on the left, and on the right one bright bar on grey."""
    picture = np.full((128, 192, 3), 0.5, np.float32)
    picture[:, :96] += np.random.default_rng(0).normal(0, 0.1, (128, 96, 1)).astype(np.float32)
    picture[40:88, 140:150] = 1.0
    return picture.clip(0, 1)


def test_constant() -> None:
    np.testing.assert_array_equal(sigma.constant(2, 3), np.full((2, 3), 8.0, np.float32))
    assert sigma.constant(2, 3, 0).max() == 0
    for value in (-1, 33, float("nan")):
        with pytest.raises(UsageError, match="from 0 to 32"):
            sigma.constant(2, 3, value)


def test_a_painted_map_goes_from_pointwise_to_the_widest_window() -> None:
    np.testing.assert_allclose(sigma.from_picture(np.array([[0, 0.2, 0.6, 1]])), [[1, 2, 8, 32]], rtol=1e-6)
    with pytest.raises(UsageError, match=r"from 0 to 1, not .* to 255"):
        sigma.from_picture(np.array([[0.0, 255.0]]))
    with pytest.raises(UsageError, match=r"\(1, 2, 3\)"):
        sigma.from_picture(np.zeros((1, 2, 3)))


def test_saliency_maps_to_sigma_by_its_formula() -> None:
    saliency = np.array([[0.0, 1.0, 2.0]])
    np.testing.assert_allclose(sigma.from_saliency(saliency), [[16, 8, 16 / 3]], rtol=1e-6)
    np.testing.assert_allclose(sigma.from_saliency(10 * saliency), [[16, 8, 16 / 3]], rtol=1e-6)
    np.testing.assert_allclose(sigma.from_saliency(np.zeros((2, 2))), 16)
    with pytest.raises(UsageError, match="0 or more"):
        sigma.from_saliency(-saliency)
    with pytest.raises(UsageError, match="least must be"):
        sigma.from_saliency(saliency, least=0)
    with pytest.raises(UsageError, match="sigma_max must be from 1 to 32, not 64"):
        sigma.from_saliency(saliency, sigma_max=64)


def test_what_stands_out_is_salient() -> None:
    saliency = sigma.saliency(texture_beside_object())
    assert saliency.shape == (128, 192)
    assert saliency.mean() == pytest.approx(1, rel=1e-4)
    bar = saliency[40:88, 135:155].mean()
    assert bar > 2 * saliency[:, :90].mean()
    assert bar > 2 * saliency[:, 165:].mean()


def test_texture_is_self_similar_and_edges_are_not() -> None:
    result = sigma.self_similar(texture_beside_object())
    assert np.median(result[16:112, 16:64]) > 6
    assert np.median(result[40:88, 138:140]) < 2
    assert np.median(result[16:112, 95:97]) < 0.5 * np.median(result[16:112, 16:64])


def test_self_similarity_takes_its_limits() -> None:
    picture = texture_beside_object()
    assert sigma.self_similar(picture, sigma_max=4).max() == 4
    assert (sigma.self_similar(picture, tolerance=2) >= sigma.self_similar(picture, tolerance=0.2)).all()
    with pytest.raises(UsageError, match="tolerance must be above 0"):
        sigma.self_similar(picture, tolerance=0)
    with pytest.raises(UsageError, match="sigma_max must be from 1 to 32, not 100"):
        sigma.self_similar(np.full((64, 64, 3), 0.5, np.float32), sigma_max=100)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (200, 3), (33, 47)], ids=str)
def test_maps_of_any_picture_are_in_range(shape: tuple[int, int]) -> None:
    for picture in (np.zeros((*shape, 3), np.float32), np.random.default_rng(1).random((*shape, 3), np.float32)):
        for result in (sigma.self_similar(picture), sigma.from_saliency(sigma.saliency(picture))):
            assert result.shape == shape
            assert result.dtype == np.float32
            assert ((result > 0) & (result <= 16)).all()


def test_sigma_of_a_map_is_counted_in_its_stride() -> None:
    constant = sigma.constant(48, 64, 8)
    for stride, level in ((1, 3), (2, 2), (8, 0), (16, 0)):
        result = sigma.log2_sigma_of_map(constant, stride, (48 // stride, 64 // stride))
        np.testing.assert_allclose(result, np.full((48 // stride, 64 // stride), level), atol=1e-6)
    assert sigma.log2_sigma_of_map(sigma.constant(4, 4, 0.1), 1, (4, 4)).max() == 0


def test_resampling_a_map_averages_log2_sigma() -> None:
    columns = np.broadcast_to(np.array([1, 4], np.float32), (64, 2)).repeat(32, 1)
    result = sigma.log2_sigma_of_map(columns, 1, (1, 1))
    np.testing.assert_allclose(result, [[1]], atol=1e-6)
