"""Metrics against other implementations of them, against their definitions, and on pictures they must refuse."""

from __future__ import annotations

import hashlib
import io
import json
import math
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import FakeCodec
from PIL import Image as PILImage
from typer.testing import CliRunner

import aquatint
from aquatint.cli import app
from aquatint.errors import ImageError, UsageError
from aquatint.evaluation import pictures
from aquatint.evaluation.metrics import METRICS, fidelity, frechet, measure, measure_sets, missing, patches, select
from aquatint.evaluation.metrics.ssimulacra import ssimulacra2
from aquatint.perception import weights
from aquatint.perception.weights import FILES

RANDOM = np.random.default_rng(7)

with suppress(ImportError):
    import torch

    torch.set_num_threads(1)  # the pictures are small


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    PILImage.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.array(PILImage.open(file))


@pytest.fixture(scope="session")
def coffee() -> np.ndarray:
    """A photograph, uint8 (400, 600, 3)."""
    return pytest.importorskip("skimage.data").coffee()


@pytest.fixture(scope="session")
def worse(coffee: np.ndarray) -> np.ndarray:
    return jpeg(coffee, 15)


# --- two pictures


def test_psnr_is_that_of_the_definition(coffee: np.ndarray, worse: np.ndarray) -> None:
    error = np.mean((coffee.astype(float) - worse) ** 2)
    assert fidelity.psnr(coffee, worse) == pytest.approx(10 * math.log10(255**2 / error), abs=1e-10)
    assert fidelity.psnr(np.zeros((3, 5, 3), np.uint8), np.full((3, 5, 3), 255, np.uint8)) == 0
    assert fidelity.psnr(coffee, coffee) == math.inf


@pytest.mark.parametrize("size", [(161, 176), (176, 208), (400, 600)])
def test_ms_ssim_agrees_with_another_implementation(
    coffee: np.ndarray, worse: np.ndarray, size: tuple[int, int]
) -> None:
    pytest.importorskip("torch")
    other = pytest.importorskip("pytorch_msssim")
    # Where a side is odd at some scale that package pads with zeros; these two sides stay even.
    height, width = (side // 16 * 16 for side in size)
    height = max(height, 176)
    x, y = (np.ascontiguousarray(picture[:height, :width]) for picture in (coffee, worse))
    tensors = [torch.from_numpy(picture).permute(2, 0, 1)[None].double() for picture in (x, y)]
    expected = other.ms_ssim(*tensors, data_range=255).item()
    assert fidelity.ms_ssim(x, y) == pytest.approx(expected, abs=1e-6)


def test_one_scale_of_ms_ssim_agrees_with_scikit_image(coffee: np.ndarray, worse: np.ndarray) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    x, y = coffee[:211, :303] / 255, worse[:211, :303] / 255
    expected = [
        metrics.structural_similarity(
            x[..., c], y[..., c], data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for c in range(3)
    ]
    np.testing.assert_allclose(fidelity._similarity(x, y)[0], expected, atol=1e-6)


def test_ms_ssim_extends_odd_sides_by_their_last_sample() -> None:
    values = np.arange(15, dtype=np.float32).reshape(3, 5, 1)
    np.testing.assert_array_equal(fidelity._halve(values)[..., 0], [[3, 5, 6.5], [10.5, 12.5, 14]])


def test_ms_ssim_of_a_negative_is_zero(coffee: np.ndarray) -> None:
    assert fidelity.ms_ssim(coffee, 255 - coffee) == 0
    assert fidelity.ms_ssim(coffee, coffee) == 1


def test_ssimulacra2_is_that_of_its_package(tmp_path: Path, coffee: np.ndarray, worse: np.ndarray) -> None:
    package = pytest.importorskip("ssimulacra2")
    for height, width in ((211, 303), (9, 40)):
        x, y = (np.ascontiguousarray(picture[:height, :width]) for picture in (coffee, worse))
        for picture, name in ((x, "x.png"), (y, "y.png")):
            PILImage.fromarray(picture).save(tmp_path / name)
        expected = package.compute_ssimulacra2(tmp_path / "x.png", tmp_path / "y.png")
        assert ssimulacra2(x, y) == pytest.approx(expected, abs=1e-9)
    assert ssimulacra2(coffee, coffee) == 100


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if not metric.on_sets])
def test_directions_are_right(request: pytest.FixtureRequest, coffee: np.ndarray, name: str) -> None:
    if METRICS[name].weights:
        request.getfixturevalue("weights_dir")
    if (lack := missing(name)) is not None:
        pytest.skip(lack)
    photo = coffee[100:300, 200:400]
    values = [measure(photo, jpeg(photo, quality), [name])[name] for quality in (5, 20, 60, 95)]
    assert values == sorted(values, reverse=not METRICS[name].higher_is_better)
    assert len(set(values)) == 4


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("ms-ssim", (160, 400, 3), "at least 161 pixels; the picture is 400x160"),
        ("ssimulacra2", (7, 400, 3), "at least 8 pixels, not 400x7"),
    ],
)
def test_small_pictures_are_refused(name: str, shape: tuple[int, ...], words: str) -> None:
    picture = np.zeros(shape, np.uint8)
    with pytest.raises(ImageError, match=words):
        measure(picture, picture, [name])


def test_pictures_of_other_shapes_and_types_are_refused() -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    with pytest.raises(ImageError, match="the same size, not 30x20 and 20x30"):
        measure(picture, picture.transpose(1, 0, 2))
    with pytest.raises(ImageError, match=r"uint8 of shape \(H, W, 3\), not float64 of shape \(20, 30, 3\)"):
        measure(picture, picture / 255)
    with pytest.raises(ImageError, match=r"not uint8 of shape \(20, 30\)"):
        measure(picture[..., 0], picture)


def test_metrics_are_chosen_by_name() -> None:
    assert [metric.name for metric in select(" psnr,MS-SSIM,,psnr")] == ["psnr", "ms-ssim"]
    assert {"psnr", "ms-ssim"} <= {metric.name for metric in select("all")}
    assert all(missing(metric.name) is None for metric in select("all"))
    with pytest.raises(UsageError, match="metric 'ssim' is not one of psnr, ms-ssim, "):
        select("psnr,ssim")
    with pytest.raises(UsageError, match="no metric is named"):
        select(" , ")
    picture = np.zeros((20, 30, 3), np.uint8)
    with pytest.raises(UsageError, match="fid compares sets"):
        measure(picture, picture, ["fid"])
    with pytest.raises(UsageError, match="psnr compares two pictures"):
        measure_sets([picture], [picture], ["psnr"])
    assert measure_sets([picture], [picture], []) == {}


# --- trained networks


def layers(net: str) -> list[object]:
    """The layers of a network as torchvision lists them: (inputs, outputs, size, stride, padding), or a kind."""
    if net == "alex":
        first = [(3, 64, 11, 4, 2), "relu", "max", (64, 192, 5, 1, 2), "relu", "max"]
        return [*first, (192, 384, 3, 1, 1), "relu", (384, 256, 3, 1, 1), "relu", (256, 256, 3, 1, 1), "relu"]
    found: list[object] = []
    width = 3
    for outputs, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            found += [(width, outputs, 3, 1, 1), "relu"]
            width = outputs
        found.append("max2")
    return found


def random_network(net: str):  # type: ignore[no-untyped-def]
    """The first part of AlexNet or VGG16 with random weights, as torch layers."""
    from torch import manual_seed, nn

    manual_seed(5)
    kinds = {"relu": nn.ReLU, "max": lambda: nn.MaxPool2d(3, 2), "max2": lambda: nn.MaxPool2d(2)}
    return nn.Sequential(*(kinds[layer]() if isinstance(layer, str) else nn.Conv2d(*layer) for layer in layers(net)))


def pair(height: int, width: int):  # type: ignore[no-untyped-def]
    """Two images (1, 3, H, W) in [0, 1], the second a noisy version of the first."""
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(1, 3, height, width, generator=generator)
    return x, (x + 0.2 * torch.rand(x.shape, generator=generator)).clamp(0, 1)


@pytest.fixture
def weights_dir(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of weights at hand."""
    pytest.importorskip("torch")
    folder = data_dir / "weights"
    if not folder.is_dir():
        pytest.skip(f"no weights: {folder} does not exist")
    monkeypatch.setenv("AQUATINT_WEIGHTS", str(folder))
    return folder


def save_network(folder: Path, net: str):  # type: ignore[no-untyped-def]
    """Files of weights as they are downloaded, with a random network; the network."""
    network = random_network(net)
    name = {"alex": "alexnet", "vgg": "vgg16"}[net]
    torch.save({f"features.{key}": tensor for key, tensor in network.state_dict().items()}, folder / FILES[name].name)
    return network


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips_agrees_with_torchmetrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, net: str) -> None:
    pytest.importorskip("torch")
    other = pytest.importorskip("torchmetrics.functional.image.lpips")
    from aquatint.perception.lpips import create_lpips

    network = save_network(tmp_path, net)
    monkeypatch.setattr(other, "_get_tv_model_features", lambda name, pretrained: network)
    oracle = other._LPIPS(net=net)
    heads = Path(other.__file__).parent / "lpips_models" / f"{net}.pth"
    shutil.copy(heads, tmp_path / FILES[f"lpips-{net}"].name)
    lpips = create_lpips(net, folder=tmp_path)
    x, y = pair(97, 129)
    assert lpips(x, y).item() == pytest.approx(oracle(x, y, normalize=True).item(), rel=1e-4)
    assert lpips(x, x).item() == 0


def test_heads_of_lpips_are_those_of_torchmetrics(weights_dir: Path) -> None:
    other = pytest.importorskip("torchmetrics.functional.image.lpips")
    for net, count in (("alex", 5), ("squeeze", 7), ("vgg", 5)):
        file = Path(other.__file__).parent / "lpips_models" / f"{net}.pth"
        assert hashlib.sha256(file.read_bytes()).hexdigest().startswith(FILES[f"lpips-{net}"].sha256)
        expected, found = torch.load(file, "cpu", weights_only=True), weights.load(f"lpips-{net}")
        assert len(found) == count
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor)


def test_dists_agrees_with_torchmetrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    other = pytest.importorskip("torchmetrics.functional.image.dists")
    from aquatint.perception.dists import DISTS

    network = save_network(tmp_path, "vgg")
    stand_in = lambda weights: SimpleNamespace(features=network)  # noqa: E731
    monkeypatch.setattr(other, "_TORCHVISION_AVAILABLE", True)
    monkeypatch.setattr(other, "vgg16", stand_in, raising=False)
    monkeypatch.setattr(other, "VGG16_Weights", SimpleNamespace(DEFAULT=None), raising=False)
    oracle = other.DISTSNetwork()
    dists = DISTS(weights.load("vgg16", tmp_path), oracle.alpha.detach(), oracle.beta.detach())
    x, y = pair(65, 98)
    with torch.inference_mode():
        assert dists(x, y).item() == pytest.approx(oracle(x, y).item(), abs=1e-5)
        assert dists(x, x).item() == pytest.approx(0, abs=1e-6)


def test_lpips_has_its_published_values(weights_dir: Path) -> None:
    examples = weights_dir / "lpips_examples"
    first, *others = (pictures.load(examples / f"ex_{name}.png") for name in ("ref", "p0", "p1"))
    values = [measure(first, other, ["lpips-squeeze"])["lpips-squeeze"] for other in others]
    assert values == pytest.approx([0.7112, 0.1479], abs=1e-4)
    tid = weights_dir.parent / "rated" / "tid2013_pair"
    value = measure(pictures.load(tid / "I01.BMP"), pictures.load(tid / "i01_01_5.bmp"), ["lpips-squeeze"])
    assert value["lpips-squeeze"] == pytest.approx(0.2423, abs=1e-4)


def test_a_device_that_is_not_there_is_wrong_usage(weights_dir: Path, coffee: np.ndarray) -> None:
    with pytest.raises(UsageError, match="device 'abacus' cannot be used: "):
        measure(coffee, coffee, ["lpips-squeeze"], device="abacus")


def test_tiles_change_no_value(monkeypatch: pytest.MonkeyPatch, weights_dir: Path, coffee: np.ndarray) -> None:
    from aquatint.evaluation.metrics import learned
    from aquatint.perception import tiles

    model = random_dists()
    monkeypatch.setattr(learned, "_dists", lambda device: model)
    cases = ((330, 270, partial(learned.lpips, "squeeze")), (393, 35, learned.dists))
    for height, width, function in cases:
        reference = np.ascontiguousarray(coffee[:height, :width])
        distorted = jpeg(reference, 20)
        values = []
        for side, count in ((64, 5), (4096, 1)):
            monkeypatch.setattr(tiles, "SIDE", side)
            assert len(list(tiles.tiles(height, width))) >= count
            values.append(function(reference, distorted, "cpu"))
        assert values[0] == pytest.approx(values[1], rel=1e-5)
        assert values[0] > 1e-3


def random_dists():  # type: ignore[no-untyped-def]
    from aquatint.perception.dists import DISTS

    tensors = weights._from_torchvision({f"features.{k}": t for k, t in random_network("vgg").state_dict().items()})
    generator = torch.Generator().manual_seed(3)
    return DISTS(tensors, *(torch.rand(1475, generator=generator) for _ in range(2)))


@pytest.mark.parametrize("length", [1, 511, 512, 767, 768, 1024, 4000])
def test_tiles_cover_a_side_once(length: int) -> None:
    from aquatint.perception.tiles import tiles

    for stride in (1, 16):
        covered = []
        for tile in tiles(length, 1):
            crop = np.arange(length)[tile.rows]
            assert crop[0] % 16 == 0
            covered += list(crop[::stride][tile.inside(stride)[0]])
        assert covered == list(range(0, length, stride))


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


def test_what_lacks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("safetensors")
    monkeypatch.setenv("AQUATINT_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "run python -m aquatint.perception.weights vgg16" in str(missing("lpips-vgg"))
    assert "mobilenet_v2_1.0_224_int8.safetensors) are not in" in str(missing("fid-mobilenet"))
    with pytest.raises(UsageError, match="mobilenet cannot be downloaded"):
        weights.download("mobilenet")


# --- sets of pictures


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


# --- files and folders


def test_pictures_of_every_kind_become_8_bits_of_rgb(tmp_path: Path, fake_codec: FakeCodec) -> None:
    gray = np.array([[0, 128, 65535, 385]], np.uint16)
    aquatint.from_array(gray).write(tmp_path / "gray.png")
    assert pictures.load(tmp_path / "gray.png").tolist() == [[[0] * 3, [0] * 3, [255] * 3, [1] * 3]]
    colours = RANDOM.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    (tmp_path / "a.aqt").write_bytes(aquatint.encode(colours))
    np.testing.assert_array_equal(pictures.load(tmp_path / "a.aqt"), colours)
    np.testing.assert_array_equal(pictures.load(io.BytesIO(aquatint.encode(colours))), colours)
    aquatint.from_array(RANDOM.integers(0, 256, (5, 7, 4), dtype=np.uint8)).write(tmp_path / "alpha.png")
    with pytest.raises(ImageError, match=r"alpha\.png: the picture has an alpha channel"):
        pictures.load(tmp_path / "alpha.png")


@pytest.fixture
def folders(tmp_path: Path, coffee: np.ndarray, worse: np.ndarray, fake_codec: FakeCodec) -> tuple[Path, Path]:
    """Originals a.png and b.png, and their distorted versions a.aqt and b.png."""
    first, second = tmp_path / "originals", tmp_path / "distorted"
    first.mkdir()
    second.mkdir()
    for name, part in (("a", slice(0, 180)), ("b", slice(200, 380))):
        PILImage.fromarray(coffee[part, :200]).save(first / f"{name}.png")
    (second / "a.aqt").write_bytes(aquatint.encode(worse[:180, :200]))
    PILImage.fromarray(worse[200:380, :200]).save(second / "b.png")
    (second / "notes.txt").write_text("no picture")
    return first, second


def run(*arguments: str | Path, given: bytes = b"") -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["metrics", *map(str, arguments)], input=given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_two_files_are_compared(folders: tuple[Path, Path], coffee: np.ndarray, worse: np.ndarray) -> None:
    first, second = (folder / name for folder, name in zip(folders, ("a.png", "a.aqt"), strict=True))
    expected = measure(coffee[:180, :200], worse[:180, :200])
    code, out, words = run(first, second, "--json")
    assert (code, words) == (0, "")
    assert json.loads(out) == {"reference": str(first), "distorted": str(second)} | expected
    code, out, _ = run(first, second, "--metrics", "psnr")
    assert (code, out) == (0, f"{second}: psnr {expected['psnr']:.5g}\n")
    assert json.loads(run(first, first, "--json")[1])["psnr"] is None
    assert json.loads(run("-", second, "--json", given=first.read_bytes())[1])["psnr"] == expected["psnr"]


def test_two_folders_are_compared(folders: tuple[Path, Path], coffee: np.ndarray, worse: np.ndarray) -> None:
    code, out, words = run(*folders, "--json")
    assert (code, words) == (0, "")
    a, b, both = map(json.loads, out.splitlines())
    assert (a["reference"], a["distorted"]) == (str(folders[0] / "a.png"), str(folders[1] / "a.aqt"))
    assert b["psnr"] == fidelity.psnr(coffee[200:380, :200], worse[200:380, :200])
    assert (both["reference"], both["pictures"]) == (str(folders[0]), 2)
    assert both["psnr"] == pytest.approx((a["psnr"] + b["psnr"]) / 2)
    assert both["ms-ssim"] == pytest.approx((a["ms-ssim"] + b["ms-ssim"]) / 2)


def test_folders_must_match(folders: tuple[Path, Path]) -> None:
    (folders[1] / "b.png").unlink()
    code, out, words = run(*folders)
    assert (code, out, words) == (1, "", f"aquatint: error: {folders[1]}: there is no picture named 'b'\n")
    (folders[0] / "a.jpg").write_bytes(b"")
    assert f"{folders[0]}: a.jpg and a.png have the same name" in run(*folders)[2]


def test_a_pair_that_fails_is_reported_and_there_are_no_means(folders: tuple[Path, Path]) -> None:
    PILImage.new("RGB", (3, 4)).save(folders[1] / "b.png")
    code, out, words = run(*folders, "--metrics", "psnr")
    assert (code, out.count("\n")) == (1, 1)
    expected = "the pictures must have the same size, not 200x180 and 3x4"
    assert words == f"aquatint: error: {folders[1] / 'b.png'}: {expected}\n"


@pytest.mark.parametrize("options", [("--metrics", "ssim"), ("--metrics", "")])
def test_wrong_names_are_wrong_usage(folders: tuple[Path, Path], options: tuple[str, ...]) -> None:
    assert run(*folders, *options)[0] == 2


def test_a_file_is_not_compared_with_a_folder(folders: tuple[Path, Path]) -> None:
    assert run(folders[0] / "a.png", folders[1])[0] == 2
    assert run("-", "-")[0] == 2


def test_what_a_metric_lacks_is_an_error_of_one_line(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, out, words = run(*folders, "--metrics", "psnr,ssimulacra2")
    assert (code, out) == (1, "")
    lack = "the package ssimulacra2 is not installed: pip install 'aquatint[metrics]'"
    assert words == f"aquatint: error: ssimulacra2: {lack}\n"
