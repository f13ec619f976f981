"""Feature stacks: the weight-free one against its text, networks against values of other ports, files of weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aquatint.errors import DependencyError, ModelMismatchError, UsageError
from aquatint.perception import steerable, weights

torch = pytest.importorskip("torch")

from aquatint.perception.features import NetworkFeatures, create_features, decimate, halved, steerable_stack  # noqa: E402
from aquatint.perception.features_networks import SqueezeNet, Vgg  # noqa: E402

torch.set_num_threads(1)


def grating(frequency: float, angle: float, phase: float = 0.0, size: int = 65) -> torch.Tensor:
    """A grey wave (1, 3, size, size) around 1/2, of an angle in degrees to the horizontal axis."""
    y, x = np.mgrid[:size, :size]
    along = x * np.cos(np.radians(angle)) + y * np.sin(np.radians(angle))
    wave = 0.5 + 0.2 * np.cos(2 * np.pi * frequency * along + phase)
    return torch.tensor(np.broadcast_to(wave, (1, 3, size, size)).astype(np.float32))


def responses(image: torch.Tensor, index: int = 0) -> np.ndarray:
    """The nine signed responses of a map, away from the borders."""
    features = steerable_stack(image)[index].values[0, :, 4:-4, 4:-4].numpy()
    positive, negative = np.split(features, 2)
    assert (positive >= 0).all()
    assert (negative >= 0).all()
    assert (positive * negative == 0).all()
    return positive - negative


def test_maps_are_luma_on_all_levels_and_chromas_but_at_full_size() -> None:
    image = torch.rand(2, 3, 37, 50)
    shapes = [(37, 50), (19, 25), (10, 13), (5, 7), (3, 4)]
    expected = [(2**level, (2, 18, *shapes[level])) for level in (0, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4)]
    assert [(stride, tuple(values.shape)) for values, stride in steerable_stack(image)] == expected


def test_colours_are_those_of_jpeg() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (1, 50, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(colours).convert("YCbCr"), np.float32) - [0, 128, 128]
    actual = colours.astype(np.float32) @ steerable.COLOURS.T
    assert np.abs(actual - expected).max() < 1.01  # the other is rounded


@pytest.mark.parametrize(("angle", "direction"), [(0, 0), (45, 1), (90, 2), (135, 3)])
def test_a_wave_is_seen_most_in_its_direction_and_not_across(angle: float, direction: int) -> None:
    frequency = 0.25 if angle % 90 == 0 else 0.2
    energy = (responses(grating(frequency, angle)) ** 2).mean((1, 2))
    for first in (1, 5):
        band = energy[first : first + 4]
        assert band.argmax() == direction
        assert band[(direction + 2) % 4] < 0.01 * band[direction]


def test_even_and_odd_are_a_quadrature_pair_at_a_quarter_of_the_sampling_rate() -> None:
    for phase in (0.0, 0.4, 1.3):
        r = responses(grating(0.25, 0, phase))
        modulus = np.hypot(r[1] / steerable.EVEN_GAIN, r[5] / steerable.ODD_GAIN)
        np.testing.assert_allclose(modulus, 0.2, rtol=1e-3)


def test_odd_responses_are_derivatives_and_even_ones_ignore_slopes() -> None:
    y, x = np.mgrid[:40, :40].astype(np.float32)
    plane = torch.tensor(np.broadcast_to(0.01 * x + 0.02 * y, (1, 3, 40, 40)).copy())
    r = responses(plane)
    np.testing.assert_allclose(r[1:5], 0, atol=1e-4)
    slopes = np.array([0.01, 0.03 / np.sqrt(2), 0.02, 0.01 / np.sqrt(2)])
    np.testing.assert_allclose(
        r[5:], np.broadcast_to(steerable.ODD_GAIN * slopes[:, None, None], r[5:].shape), rtol=1e-3
    )


def test_turning_the_picture_turns_the_responses() -> None:
    image = torch.rand(1, 3, 33, 33)
    r, turned = responses(image), responses(image.transpose(2, 3))
    for k, other in [(0, 0), (1, 3), (2, 2), (3, 1), (4, 4), (5, 7), (6, 6), (7, 5)]:
        np.testing.assert_allclose(turned[k], r[other].T, atol=1e-4)
    np.testing.assert_allclose(turned[8], -r[8].T, atol=1e-4)


def test_gains_make_the_deviations_of_photographs_about_one(photo: np.ndarray) -> None:
    image = torch.tensor(photo.transpose(2, 0, 1)[None] / np.float32(255))
    for level in range(3):
        deviation = np.sqrt((responses(image, level)[1:] ** 2).mean((1, 2)))
        assert ((deviation > 0.3) & (deviation < 3)).all()


def test_decimate_keeps_constants_and_weighs_neighbours() -> None:
    np.testing.assert_allclose(decimate(torch.full((1, 1, 5, 4), 0.7)).numpy(), np.full((1, 1, 3, 2), 0.7), rtol=1e-6)
    impulse = torch.zeros(1, 1, 5, 5)
    impulse[..., 2, 1] = 16
    np.testing.assert_allclose(decimate(impulse)[0, 0].numpy(), [[0, 0, 0], [2, 2, 0], [0, 0, 0]])


def test_unknown_names_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="not 'resnet'"):
        create_features("resnet")
    with pytest.raises(UsageError, match="not 'resnet'"):
        weights.find("resnet")


# Trained networks.


def test_squeezenet_classifies_as_published(weights_dir: Path) -> None:
    data = pytest.importorskip("skimage.data")
    expected = json.loads((weights_dir / "reference_values.json").read_text())
    tensors = weights.load("squeezenet", weights_dir)
    network = NetworkFeatures(SqueezeNet(folder=weights_dir))
    for name, index in (("chelsea", 285), ("coffee", 967)):  # Egyptian cat and espresso
        picture = Image.fromarray(getattr(data, name)())
        scale = 256 / min(picture.size)
        picture = picture.resize(
            (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BILINEAR
        )
        left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
        crop = np.asarray(picture.crop((left, top, left + 224, top + 224)), np.float32) / 255
        last = network(torch.tensor(crop.transpose(2, 0, 1)[None]))[-1].values
        weight, bias = tensors["classifier.1.weight"].float(), tensors["classifier.1.bias"]
        scores = torch.relu(torch.nn.functional.conv2d(last, weight, bias)).mean((2, 3)).softmax(1)[0]
        assert int(scores.argmax()) == index
        best = expected[name]["squeezenet1_1_torchvision_fp16"][0][1]
        assert float(scores[index]) == pytest.approx(best, abs=0.02)


def test_squeezenet_activations_give_the_published_lpips(weights_dir: Path) -> None:
    from safetensors.torch import load_file

    heads = load_file(weights_dir / "lpips_heads_v0.1.safetensors")
    expected = json.loads((weights_dir / "reference_values.json").read_text())["lpips_squeeze_example_images"]
    network = create_features("squeezenet", folder=weights_dir)

    def activations(name: str) -> list[torch.Tensor]:
        picture = np.asarray(Image.open(weights_dir / "lpips_examples" / f"{name}.png").convert("RGB"), np.float32)
        maps = network(torch.tensor(picture.transpose(2, 0, 1)[None] / 255))
        return [values / (values.square().sum(1, keepdim=True).sqrt() + 1e-10) for values, _ in maps]

    reference = activations("ex_ref")
    for name in ("ex_p0", "ex_p1"):
        distance = sum(
            float((heads[f"squeeze.lin{i}.model.1.weight"] * (f - g).square()).sum(1).mean())
            for i, (f, g) in enumerate(zip(reference, activations(name), strict=True))
        )
        assert distance == pytest.approx(expected[f"ex_ref-{name}"], abs=5e-4)


def test_vgg_is_the_network_of_its_file(weights_dir: Path) -> None:
    from safetensors.torch import load_file

    caffe = load_file(weights_dir / "vgg19_conv1_1_to_conv3_4.safetensors")
    image = torch.rand(1, 3, 72, 80)
    maps = NetworkFeatures(Vgg("vgg19", pooling="max", folder=weights_dir))(image)
    assert [(m.stride, tuple(m.values.shape[1:])) for m in maps] == [
        (1, (64, 72, 80)),
        (2, (128, 36, 40)),
        (4, (256, 18, 20)),
    ]
    x = 255 * image.flip(1) - torch.tensor([103.939, 116.779, 123.68])[:, None, None]
    for block, count in ((1, 2), (2, 2), (3, 4)):
        for i in range(1, count + 1):
            name = f"conv{block}_{i}"
            x = torch.relu(torch.nn.functional.conv2d(x, caffe[f"{name}.weight"], caffe[f"{name}.bias"], padding=1))
        expected, actual = x / (255 * (0.229 + 0.224 + 0.225) / 3), maps[block - 1].values
        # Beyond the border are zeros, which are the mean of either file: half a grey level apart.
        assert (actual - expected).abs().max() < 1e-2 * expected.abs().max()
        inside = (slice(None), slice(None), *2 * (slice(7, -7),))
        assert (actual - expected)[inside].abs().max() < 1e-5 * expected.abs().max()
        x = torch.nn.functional.max_pool2d(x, 2)


def test_vgg_stack_begins_with_the_image_and_has_three_scales(weights_dir: Path) -> None:
    maps = create_features("vgg19", folder=weights_dir)(torch.rand(1, 3, 32, 32))
    assert [m.stride for m in maps] == [1, 1, 2, 4, 2, 4, 8, 4, 8, 16]
    assert [m.values.shape[1] for m in maps] == [3, *(3 * [64, 128, 256])]


def test_halved_stack_lacks_the_first_scale(weights_dir: Path) -> None:
    image = torch.rand(1, 3, 33, 40)
    whole = create_features("vgg19", folder=weights_dir)(image)
    maps = halved(NetworkFeatures(Vgg("vgg19", folder=weights_dir), scales=2, with_image=True))(image)
    assert [m.stride for m in maps] == [2, 2, 4, 8, 4, 8, 16]
    for actual, expected in zip(maps[1:], whole[4:], strict=True):
        torch.testing.assert_close(actual.values, expected.values, rtol=1e-4, atol=1e-4)


def test_pooling_and_layers_are_chosen(weights_dir: Path) -> None:
    image = torch.rand(1, 3, 16, 16)
    (early,) = Vgg("vgg19", ("relu1_1",), folder=weights_dir)(image)
    assert early[1] == 1
    average, largest = (
        Vgg("vgg19", ("relu2_1",), pooling=p, folder=weights_dir)(image)[0][0] for p in ("average", "max")
    )
    assert (average - largest).abs().max() > 0.01
    with pytest.raises(UsageError, match="not relu4_1"):
        Vgg("vgg19", ("relu4_1",), folder=weights_dir)
    with pytest.raises(UsageError, match="'median'"):
        Vgg("vgg19", pooling="median", folder=weights_dir)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 40), (17, 17)], ids=str)
def test_networks_take_small_images_or_say_no(size: tuple[int, int], weights_dir: Path) -> None:
    image = torch.rand(1, 3, *size)
    for values, _ in create_features("vgg19", folder=weights_dir)(image):
        assert values.isfinite().all()
    network = create_features("squeezenet", folder=weights_dir)
    if min(size) < 17:
        with pytest.raises(UsageError, match="at least 17x17"):
            network(image)
    else:
        assert all(values.isfinite().all() and values.numel() for values, _ in network(image))


# Files.


def test_torchvision_names_are_told_by_block() -> None:
    names = [f"{block}_{i}" for block, count in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, count + 1)]
    indices = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]  # of VGG16
    tensors = {f"features.{i}.{kind}": torch.tensor(i) for i in indices for kind in ("weight", "bias")}
    named = weights._from_torchvision(tensors | {"classifier.0.weight": torch.tensor(-1)})
    assert {name: int(t) for name, t in named.items() if name.endswith("weight")} == {
        f"conv{name}.weight": i for name, i in zip(names, indices, strict=True)
    }


def test_a_missing_file_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("AQUATINT_WEIGHTS", str(tmp_path / "mine"))
    with pytest.raises(DependencyError, match=r"python -m aquatint.perception.weights vgg16, or set AQUATINT_WEIGHTS"):
        create_features("vgg16")
    for folder in (tmp_path / "cache" / "aquatint" / "weights", tmp_path / "mine", tmp_path / "argument"):
        folder.mkdir(parents=True)
        (folder / "vgg16-397923af.pth").touch()
        argument = tmp_path / "argument" if folder.name == "argument" else None
        assert weights.find("vgg16", argument).parent == folder  # each comes before those made earlier


def test_downloads_are_checked_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("AQUATINT_WEIGHTS", raising=False)
    source = tmp_path / "net.pth"
    source.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setitem(weights.FILES, "net", weights.WeightsFile(source.as_uri(), digest[:8]))
    assert weights.download("net").read_bytes() == b"weights"
    assert weights.find("net") == weights.cache_folder() / "net.pth"
    (weights.cache_folder() / "net.pth").unlink()
    source.write_bytes(b"damaged")
    with pytest.raises(ModelMismatchError, match=f"should begin with {digest[:8]}"):
        weights.download("net")
    assert list(weights.cache_folder().iterdir()) == []
