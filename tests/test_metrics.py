"""Metrics of two pictures against other implementations of them, their definitions, and pictures they must refuse."""

from __future__ import annotations

import hashlib
import math
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import jpeg
from PIL import Image as PILImage

from aquatint.errors import ImageError, UsageError
from aquatint.evaluation import pictures
from aquatint.evaluation.metrics import (
    METRICS,
    SetFeatures,
    compare_sets,
    fidelity,
    measure,
    measure_sets,
    missing,
    select,
)
from aquatint.evaluation.metrics.ssimulacra import ssimulacra2
from aquatint.perception import weights
from aquatint.perception.weights import FILES

RANDOM = np.random.default_rng(7)

with suppress(ImportError):
    import torch

    torch.set_num_threads(1)  # the pictures are small


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
    nothing = SetFeatures({}, np.zeros(0))
    with pytest.raises(UsageError, match="metric 'ssim' is not one of psnr, ms-ssim, "):
        compare_sets(nothing, nothing, ["ssim"])


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
    first.setflags(write=False)  # as arrays of Pillow's pictures are: no warning about it
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
            assert list(np.arange(length)[tile.place[0]][::stride]) == list(crop[::stride][tile.inside(stride)[0]])
        assert covered == list(range(0, length, stride))


def test_what_lacks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("safetensors")
    monkeypatch.setenv("AQUATINT_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "run python -m aquatint.perception.weights vgg16" in str(missing("lpips-vgg"))
    assert "mobilenet_v2_1.0_224_int8.safetensors) are not in" in str(missing("fid-mobilenet"))
    with pytest.raises(UsageError, match="mobilenet cannot be downloaded"):
        weights.download("mobilenet")
