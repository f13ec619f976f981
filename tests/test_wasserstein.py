"""Wasserstein distortion against its definition, its limits, and the native engine against PyTorch."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from aquatint import native
from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.codecs.overfitted.engine import create_engine
from aquatint.errors import UsageError
from aquatint.perception import sigma as sigma_maps
from aquatint.perception.objective import VGG_EVERY, create_distortion

torch = pytest.importorskip("torch")

from aquatint.perception.features import FeatureMap, NetworkFeatures, Vgg, halved, rgb, steerable_stack  # noqa: E402
from aquatint.perception.wasserstein import WassersteinDistortion  # noqa: E402

torch.set_num_threads(1)

ISAS = native.instruction_sets()
SIZES = [(1, 1), (1, 2), (17, 3), (3, 130), (67, 45), (64, 96), (200, 257)]


def varied(height: int, width: int) -> np.ndarray:
    """A map with every level somewhere, and places where it is pointwise."""
    return (2 ** np.random.default_rng(5).uniform(-1, 5, (height, width)).clip(0)).astype(np.float32)


def ramp(height: int, width: int) -> np.ndarray:
    return np.broadcast_to(np.linspace(1, 32, width, dtype=np.float32), (height, width)).copy()


SIGMAS: dict[str, Callable[[int, int], np.ndarray]] = {
    **{str(s): lambda height, width, s=s: sigma_maps.constant(height, width, s) for s in (0, 2, 3, 8, 32)},
    "ramp": ramp,
    "varied": varied,
}


def pair(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    reference = generator.random((3, height, width), dtype=np.float32)
    return reference, reference + generator.normal(0, 0.1, reference.shape).astype(np.float32)


def by_definition(
    f: np.ndarray, g: np.ndarray, log2_sigma: np.ndarray, overlap: int, importance: np.ndarray | None = None
) -> float:
    """The distortion of one map (C, h, w) in double precision: a sum over all positions for every node."""

    def tents(size: int, half: int, step: int) -> np.ndarray:
        count = math.ceil((size - 1) / step) + 1
        return np.maximum(1 - np.abs(np.arange(count)[:, None] * step - np.arange(size)) / half, 0)

    def mean(x: np.ndarray, half: int, step: int) -> np.ndarray:
        down, across = (tents(size, half, step) for size in x.shape[-2:])
        return np.einsum("ny,cyx,mx->cnm", down, x, across) / np.outer(down.sum(1), across.sum(1))

    importance = np.ones_like(log2_sigma) if importance is None else importance
    f, g, log2_sigma, importance = (x.astype(np.float64) for x in (f, g, log2_sigma, importance))
    total = (importance * np.maximum(1 - log2_sigma, 0) * (f - g) ** 2).mean()
    for level in range(1, 6):
        half, step = 2**level, 2**level // overlap
        (m, p), (n, q) = ((mean(x, half, step), mean(x**2, half, step)) for x in (f, g))
        maps = np.stack([log2_sigma, importance])
        sigma, counts = mean(maps, step, step) if step > 1 else maps
        weight = counts * np.maximum(1 - np.abs(sigma - level), 0)
        v, w = (np.sqrt(np.maximum(square - average**2, 0) + 1e-5) for average, square in ((m, p), (n, q)))
        total += (weight * ((m - n) ** 2 + (v - w) ** 2)).mean()
    return total


@pytest.mark.parametrize("overlap", [1, 2])
@pytest.mark.parametrize("name", SIGMAS)
@pytest.mark.parametrize("size", [(1, 1), (5, 9), (33, 47)], ids=str)
def test_value_is_that_of_the_definition(size: tuple[int, int], name: str, overlap: int) -> None:
    reference, image = pair(*size)
    sigma = SIGMAS[name](*size)
    value = WassersteinDistortion(rgb, torch.tensor(reference), sigma, overlap=overlap).value(torch.tensor(image))
    expected = by_definition(image, reference, np.log2(np.maximum(sigma, 1)), overlap)
    assert float(value) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("overlap", [1, 2])
@pytest.mark.parametrize("name", ["0", "3", "varied"])
def test_places_count_by_their_importance(name: str, overlap: int) -> None:
    reference, image = pair(33, 47)
    sigma, importance = SIGMAS[name](33, 47), np.random.default_rng(3).exponential(size=(33, 47)).astype(np.float32)
    distortion = WassersteinDistortion(rgb, torch.tensor(reference), sigma, importance=importance, overlap=overlap)
    expected = by_definition(image, reference, np.log2(np.maximum(sigma, 1)), overlap, importance)
    assert float(distortion.value(torch.tensor(image))) == pytest.approx(expected, rel=1e-4)


def test_value_is_the_sum_over_maps_with_sigma_in_units_of_their_stride() -> None:
    reference, image = pair(32, 48)
    sigma = sigma_maps.constant(32, 48, 8)

    def stack(x: torch.Tensor) -> list[FeatureMap]:
        return [FeatureMap(x, 1), FeatureMap(x[..., ::4, ::4], 4), FeatureMap(x[..., ::16, ::16], 16)]

    value = WassersteinDistortion(stack, torch.tensor(reference), sigma).value(torch.tensor(image))
    expected = sum(
        by_definition(image[:, ::s, ::s], reference[:, ::s, ::s], np.full((32 // s, 48 // s), level), 2)
        for s, level in ((1, 3), (4, 1), (16, 0))
    )
    assert float(value) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", SIGMAS)
def test_equal_images_have_no_distance(name: str) -> None:
    reference, _ = pair(40, 50)
    distortion = WassersteinDistortion(steerable_stack, torch.tensor(reference), SIGMAS[name](40, 50))
    value, gradient = distortion(torch.tensor(reference))
    assert float(value) == 0
    assert (gradient == 0).all()


def test_small_sigma_is_the_pointwise_distance_of_features() -> None:
    reference, image = (torch.tensor(x) for x in pair(40, 50))
    expected = sum(
        float((f.values - g.values).square().mean())
        for f, g in zip(steerable_stack(reference[None]), steerable_stack(image[None]), strict=True)
    )
    for sigma in (0, 0.5, 1):
        distortion = WassersteinDistortion(steerable_stack, reference, sigma_maps.constant(40, 50, sigma))
        assert float(distortion.value(image)) == pytest.approx(expected, rel=1e-5)


def test_another_sample_of_a_texture_is_near_at_large_sigma_only() -> None:
    generator = np.random.default_rng(2)
    sample, other = (generator.normal(0.5, 0.1, (3, 128, 128)).astype(np.float32) for _ in range(2))
    mean = np.full_like(sample, 0.5)

    def distances(sigma: float) -> tuple[float, float]:
        distortion = WassersteinDistortion(rgb, torch.tensor(sample), sigma_maps.constant(128, 128, sigma))
        return float(distortion.value(torch.tensor(other))), float(distortion.value(torch.tensor(mean)))

    resampled, flattened = distances(0)
    assert resampled == pytest.approx(2 * flattened, rel=0.05)  # squares of independent noise add up
    resampled, flattened = distances(32)
    assert resampled < flattened / 50
    assert flattened == pytest.approx(0.1**2, rel=0.15)  # the lost deviation


def test_a_batch_is_its_images() -> None:
    references, images = (torch.tensor(np.stack(x)) for x in zip(pair(30, 40, 1), pair(30, 40, 2), strict=True))
    sigma = varied(30, 40)
    values = WassersteinDistortion(steerable_stack, references, sigma).value(images)
    for i in range(2):
        single = WassersteinDistortion(steerable_stack, references[i], sigma)
        assert float(values[i]) == pytest.approx(float(single.value(images[i])), rel=1e-5)
    shared = WassersteinDistortion(steerable_stack, references[0], sigma).value(torch.stack([images[0], images[0]]))
    assert float(shared[1]) == pytest.approx(float(values[0]), rel=1e-5)


@pytest.mark.parametrize("name", ["0", "8", "varied"])
def test_gradient_is_that_of_finite_differences(name: str) -> None:
    reference, image = (torch.tensor(x, dtype=torch.float64) for x in pair(24, 31))
    direction = torch.tensor(np.random.default_rng(3).normal(size=(3, 24, 31)))
    distortion = WassersteinDistortion(steerable_stack, reference, SIGMAS[name](24, 31))
    step = 1e-7
    difference = float(distortion.value(image + step * direction) - distortion.value(image - step * direction))
    assert float((distortion(image)[1] * direction).sum()) == pytest.approx(difference / (2 * step), rel=1e-5)


def test_flat_regions_have_finite_gradients() -> None:
    reference, _ = pair(32, 32)
    for image in (torch.zeros(3, 32, 32), torch.full((3, 32, 32), 1.0)):
        value, gradient = WassersteinDistortion(rgb, torch.tensor(reference), varied(32, 32))(image)
        assert math.isfinite(float(value))
        assert gradient.isfinite().all()
        assert gradient.abs().max() < 0.1


@pytest.mark.parametrize("name", SIGMAS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_native_is_pytorch(size: tuple[int, int], name: str) -> None:
    reference, image = pair(*size)
    sigma = SIGMAS[name](*size)
    importance = np.random.default_rng(3).exponential(size=size).astype(np.float32)
    options = {"weight": 0.7, "pixel_weight": 3.0, "importance": importance}
    expected, expected_gradient = create_distortion(reference, sigma, device="torch", **options)(image)
    largest = np.abs(expected_gradient).max()
    for isa in ISAS:
        value, gradient = create_distortion(reference, sigma, threads=3, isa=isa, **options)(image)
        assert value == pytest.approx(expected, rel=1e-5), isa
        assert np.abs(gradient - expected_gradient).max() <= 1e-4 * largest, isa


def test_native_on_a_photograph_with_flat_parts(photo: np.ndarray) -> None:
    reference = np.ascontiguousarray(photo.transpose(2, 0, 1) / np.float32(255))
    image = reference.copy()
    image[:, 20:60, 30:90] = 0.25
    reference[:, 50:80, 60:120] = 0.75
    sigma = sigma_maps.constant(*photo.shape[:2])
    expected, expected_gradient = create_distortion(reference, sigma, device="torch")(image)
    value, gradient = create_distortion(reference, sigma)(image)
    assert value == pytest.approx(expected, rel=1e-5)
    assert np.abs(gradient - expected_gradient).max() <= 1e-3 * np.abs(expected_gradient).max()


@pytest.mark.parametrize("threads", [1, 2, 5, 16])
def test_thread_count_changes_rounding_only(threads: int) -> None:
    reference, image = pair(1100, 40)
    sigma = varied(1100, 40)
    expected, expected_gradient = create_distortion(reference, sigma, threads=1)(image)
    value, gradient = create_distortion(reference, sigma, threads=threads)(image)
    assert value == pytest.approx(expected, rel=1e-6)
    assert np.abs(gradient - expected_gradient).max() <= 1e-5 * np.abs(expected_gradient).max()


def test_native_repeats_itself() -> None:
    reference, image = pair(90, 70)
    distortion = create_distortion(reference, varied(90, 70), threads=2)
    value, gradient = distortion(image)
    distortion(reference)
    again, gradient_again = distortion(image)
    assert again == value
    np.testing.assert_array_equal(gradient_again, gradient)


@pytest.mark.parametrize("name", SIGMAS)
def test_the_finest_level_is_held_for_one_call(name: str) -> None:
    reference, first = pair(150, 90)
    second = 0.7 * reference
    sigma = SIGMAS[name](150, 90)
    held = create_distortion(reference, sigma, weight=0.7, pixel_weight=3.0, holds_finest=True, threads=2)
    every = create_distortion(reference, sigma, weight=0.7, pixel_weight=3.0, threads=2)
    finest = WassersteinDistortion(lambda image: steerable_stack(image)[:1], torch.tensor(reference), sigma, overlap=1)

    def expected(image: np.ndarray, seen: np.ndarray) -> tuple[float, np.ndarray]:
        (value, gradient), (late, late_gradient), (own, own_gradient) = (
            every(image),
            finest(torch.tensor(seen)),
            finest(torch.tensor(image)),
        )
        return value + 0.7 * float(late - own), gradient + 0.7 * (late_gradient - own_gradient).numpy()

    for image, seen in ((first, first), (second, first), (second, second), (first, second), (first, first)):
        value, gradient = held(image)
        should, gradient_should = expected(image, seen)
        assert value == pytest.approx(should, rel=1e-5)
        assert np.abs(gradient - gradient_should).max() <= 1e-4 * np.abs(gradient_should).max()
    assert expected(second, first)[0] != pytest.approx(expected(second, second)[0], rel=1e-2)


@pytest.mark.parametrize("ends", [(56,), (512, 800)], ids=["whole", "tiles"])
def test_vgg_sees_half_the_size_in_every_sixteenth_call(ends: tuple[int, ...], weights_dir: Path) -> None:
    reference, first = pair(16, ends[-1])
    second = reference + 0.05
    sigma = varied(16, ends[-1])
    options = {"weight": 0.5, "pixel_weight": 2.0}
    steady = create_distortion(reference, sigma, **options)
    stack = halved(NetworkFeatures(Vgg("vgg19", folder=weights_dir), scales=2, with_image=True))

    def expected(image: np.ndarray, seen: np.ndarray) -> tuple[float, np.ndarray]:
        total, whole = steady(image)
        for begin, end in pairwise((0, *ends)):
            part, share = slice(begin, end), 0.1 * (end - begin) / ends[-1]
            vgg = WassersteinDistortion(stack, torch.tensor(reference[..., part]), sigma[:, part], overlap=1)
            value, gradient = vgg(torch.tensor(seen[..., part]))
            total += share * float(value)
            whole[..., part] += share * gradient.numpy()
        return total, whole

    for device in ("cpu", "torch"):
        both = create_distortion(reference, sigma, vgg_weight=0.1, device=device, folder=weights_dir, **options)
        for call in range(VGG_EVERY + 1):
            value, gradient = both(first if call == 0 else second)
            if call in (0, 1, VGG_EVERY - 1, VGG_EVERY):
                image, seen = first if call == 0 else second, first if call < VGG_EVERY else second
                should, gradient_should = expected(image, seen)
                assert value == pytest.approx(should, rel=1e-4)
                assert np.abs(gradient - gradient_should).max() <= 1e-3 * np.abs(gradient_should).max()
    assert expected(second, first)[0] != pytest.approx(expected(second, second)[0], rel=1e-2)


def test_a_fit_descends(photo: np.ndarray) -> None:
    reference = np.ascontiguousarray(photo[:48, :64].transpose(2, 0, 1) / np.float32(255))
    engine = create_engine(reference, Architecture(7, 16, 0, 16, 2))
    distortion = create_distortion(reference, sigma_maps.constant(48, 64), weight=0.01, pixel_weight=1)
    values = [float(engine.step(0.3, 1, 0, 0.02, 0.01, i, distortion)[0]) for i in range(60)]
    assert values[-1] < 0.5 * values[0]


def test_wrong_arguments_are_named() -> None:
    reference, image = pair(8, 9)
    with pytest.raises(UsageError, match=r"sigma and importance \(H, W\), not \(3, 8, 9\), \(9, 8\) and \(8, 9\)"):
        create_distortion(reference, sigma_maps.constant(9, 8))
    with pytest.raises(UsageError, match="from 0 to 32"):
        create_distortion(reference, np.full((8, 9), 33.0, np.float32))
    with pytest.raises(UsageError, match="importance must be from 0 to 1000000"):
        create_distortion(reference, sigma_maps.constant(8, 9), importance=np.full((8, 9), -1.0, np.float32))
    with pytest.raises(UsageError, match=r"importance must be of the shape \(8, 9\), not \(9, 8\)"):
        WassersteinDistortion(
            rgb, torch.tensor(reference), sigma_maps.constant(8, 9), importance=np.ones((9, 8), np.float32)
        )
    with pytest.raises(UsageError, match="pixel_weight must be from 0 to 1e6"):
        create_distortion(reference, sigma_maps.constant(8, 9), pixel_weight=-1)
    with pytest.raises(UsageError, match="finite"):
        create_distortion(reference * np.float32("nan"), sigma_maps.constant(8, 9))
    with pytest.raises(UsageError, match="threads"):
        create_distortion(reference, sigma_maps.constant(8, 9), threads=-1)
    with pytest.raises(UsageError, match="vgg_weight must be from 0 to 1e6, not nan"):
        create_distortion(reference, sigma_maps.constant(8, 9), vgg_weight=math.nan)
    with pytest.raises(ValueError, match="must be 3x8x9, not 3x8x8"):
        create_distortion(reference, sigma_maps.constant(8, 9))(np.ascontiguousarray(image[..., :8]))
    with pytest.raises(UsageError, match="overlap"):
        WassersteinDistortion(rgb, torch.tensor(reference), sigma_maps.constant(8, 9), overlap=3)
    with pytest.raises(UsageError, match="the image must be"):
        WassersteinDistortion(rgb, torch.tensor(reference), sigma_maps.constant(8, 9)).value(torch.zeros(3, 8, 8))


def test_two_calls_at_once_are_refused_or_follow_each_other() -> None:
    reference, image = pair(400, 300)
    distortion = create_distortion(reference, sigma_maps.constant(400, 300))
    expected, results = distortion(image)[0], []

    def call() -> None:
        for _ in range(5):
            try:
                results.append(distortion(image)[0])
            except RuntimeError as error:
                results.append(str(error))

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert expected in results
    assert set(results) <= {expected, "the distortion is at work already, in another thread"}
