"""Distances of sets of pictures: networks, patches, and the Frechet and kernel distances."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from conftest import jpeg
from PIL import Image as PILImage

from aquatint.errors import ImageError, UsageError
from aquatint.evaluation.metrics import frechet, measure_sets, patches

RANDOM = np.random.default_rng(7)

with suppress(ImportError):
    import torch

    torch.set_num_threads(1)  # the pictures are small


def test_the_frechet_distance_is_that_of_the_definition() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    for count, other in ((300, 200), (30, 25)):  # more and fewer vectors than dimensions
        x, y = RANDOM.normal(size=(count, 40)), 0.3 + 1.4 * RANDOM.normal(size=(other, 40))
        first, second = np.cov(x.T), np.cov(y.T)
        root = linalg.sqrtm(first @ second).real
        expected = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(first + second - 2 * root)
        assert frechet.frechet_distance(x, y) == pytest.approx(expected, rel=1e-5)
    assert frechet.frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet.frechet_distance(x, x + 0.5) == pytest.approx(40 * 0.25)


def test_the_frechet_distance_agrees_with_torchmetrics() -> None:
    pytest.importorskip("torch")
    fid = pytest.importorskip("torchmetrics.image.fid")
    x, y = RANDOM.normal(size=(200, 32)), RANDOM.gamma(2, size=(150, 32))
    moments = [torch.from_numpy(part) for z in (x, y) for part in (z.mean(0), np.cov(z.T))]
    assert frechet.frechet_distance(x, y) == pytest.approx(fid._compute_fid(*moments).item(), rel=1e-9)


def test_the_kernel_distance_agrees_with_torchmetrics() -> None:
    pytest.importorskip("torch")
    kid = pytest.importorskip("torchmetrics.image.kid")
    x, y = RANDOM.normal(size=(200, 32)), RANDOM.gamma(2, size=(200, 32))
    expected = kid.poly_mmd(torch.from_numpy(x), torch.from_numpy(y)).item()
    assert frechet.kernel_distance(x, y) == pytest.approx(expected, rel=1e-9)
    # By the definition, for sets of two sizes.
    a, b = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 2.0]])
    within = (1.0 + 8.0 + 8.0) / 3  # (x.y / 2 + 1)^3 over the three pairs
    across = np.mean([[3.375, 1.0], [3.375, 8.0], [27.0, 27.0]])
    assert frechet.kernel_distance(a, b) == pytest.approx(within + 8.0 - 2 * across)


def test_the_kernel_distance_of_large_sets_is_a_mean_over_subsets(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (frechet._SUBSETS, frechet._SUBSET_SIZE) == (100, 1000)
    monkeypatch.setattr(frechet, "_SUBSET_SIZE", 100)
    x = RANDOM.normal(size=(150, 4))
    y = 0.5 + RANDOM.normal(size=(150, 4))
    value = frechet.kernel_distance(x, y)
    assert value == frechet.kernel_distance(x, y)
    assert value != frechet.kernel_distance(x, y, seed=1)
    assert value == pytest.approx(frechet._discrepancy(x, y), rel=0.1)


def test_sets_must_be_comparable() -> None:
    for distance in (frechet.frechet_distance, frechet.kernel_distance):
        with pytest.raises(UsageError, match="at least two vectors a set are needed, not 1 and 5"):
            distance(np.zeros((1, 3)), np.zeros((5, 3)))
        with pytest.raises(UsageError, match=r"not \(5, 2\) and \(5, 3\)"):
            distance(np.zeros((5, 2)), np.zeros((5, 3)))


@pytest.mark.parametrize(
    ("height", "width", "corners"),
    [
        (255, 600, []),
        (256, 256, [(0, 0)]),
        (383, 600, [(0, 0), (0, 256)]),
        (384, 384, [(0, 0), (128, 128)]),
        (512, 700, [(0, 0), (0, 256), (256, 0), (256, 256), (128, 128), (128, 384)]),
    ],
)
def test_patches_lie_on_two_grids(height: int, width: int, corners: list[tuple[int, int]]) -> None:
    rows, columns = np.indices((height, width))
    places = np.stack([rows, columns], axis=2)
    found = list(patches.patches(places))
    assert [tuple(patch[0, 0]) for patch in found] == corners
    assert all(patch.shape[:2] == (256, 256) for patch in found)


class Means:
    """A network whose features are the mean colour."""

    def features(self, patches):  # type: ignore[no-untyped-def]
        return patches.float().mean((2, 3))


def test_features_are_those_of_all_patches() -> None:
    pytest.importorskip("torch")
    colours = RANDOM.integers(0, 256, (20, 3), dtype=np.uint8)
    sheets = [np.full((260, 258, 3), colour, np.uint8) for colour in colours]
    small = np.zeros((100, 900, 3), np.uint8)
    (found, again), numbers = patches.features([small, *sheets, small], [Means(), Means()])
    np.testing.assert_array_equal(numbers, 1 + np.arange(20))
    np.testing.assert_array_equal(found, colours)
    np.testing.assert_array_equal(again, colours)
    with pytest.raises(ImageError, match="no picture has a patch of 256x256 pixels"):
        patches.features([small], [Means()])


# --- with networks


def test_mobilenet_recognises_what_it_should(weights_dir: Path) -> None:
    pytest.importorskip("torch")
    data = pytest.importorskip("skimage.data")
    from aquatint.evaluation.metrics import learned

    network = learned.network("mobilenet", "cpu")
    for name, label, expected in (("chelsea", 286, 0.5232), ("coffee", 968, 0.7555)):
        photo = PILImage.fromarray(getattr(data, name)())
        scale = 256 / min(photo.size)
        photo = photo.resize([round(side * scale) for side in photo.size], PILImage.Resampling.BILINEAR)
        left, top = ((side - 224) // 2 for side in photo.size)
        patch = np.array(photo.crop((left, top, left + 224, top + 224)))
        features = network.features(torch.from_numpy(patch).permute(2, 0, 1)[None])
        assert features.shape == (1, 1280)
        assert network.probabilities(features)[0, label].item() == pytest.approx(expected, abs=1e-4)


def test_inception_agrees_with_torch_fidelity(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    other = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    from aquatint.evaluation.metrics.inception import Inception

    monkeypatch.setattr(other.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
    monkeypatch.setattr(other.torch, "load", lambda *_, **__: {})
    torch.manual_seed(4)
    oracle = other.FeatureExtractorInceptionV3("random", ["2048"], feature_extractor_weights_path="none")
    for name, tensor in oracle.state_dict().items():
        if name.endswith("conv.weight"):
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)
        elif name.endswith(("running_var", "bn.weight")):
            tensor.uniform_(0.8, 1.4)
    patches_ = torch.randint(0, 256, (2, 3, 256, 200), dtype=torch.uint8)
    expected = oracle(patches_)[0]
    torch.testing.assert_close(Inception(oracle.state_dict()).features(patches_), expected, rtol=1e-4, atol=1e-3)


def test_distances_of_patches_grow_with_distortion(weights_dir: Path, coffee: np.ndarray) -> None:
    names = ["fid-mobilenet", "kid-mobilenet"]
    same, slight, strong = (
        measure_sets([coffee], [other], names) for other in (coffee, jpeg(coffee, 60), jpeg(coffee, 5))
    )
    assert same["fid-mobilenet"].mean == pytest.approx(0, abs=1e-6)
    for name in names:
        assert same[name].mean < slight[name].mean < strong[name].mean


def test_distances_of_corresponding_pictures_have_intervals(weights_dir: Path, coffee: np.ndarray) -> None:
    originals = [coffee[:384, left : left + 384] for left in (0, 100, 200)]
    decoded = [jpeg(picture, quality) for picture, quality in zip(originals, (5, 10, 20), strict=True)]
    found = measure_sets(originals, decoded, ["fid-mobilenet"])["fid-mobilenet"]
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.mean < found.high
    others = measure_sets(originals, decoded[:2], ["fid-mobilenet"])["fid-mobilenet"]
    assert (others.low, others.high, others.count) == (None, None, 2)
    patches_ = [[picture[:256, :256] for picture in pictures[:2]] for pictures in (originals, decoded)]
    single = measure_sets(*patches_, ["fid-mobilenet"])["fid-mobilenet"]
    assert single.low is None  # without either picture there is one patch, which has no covariance
