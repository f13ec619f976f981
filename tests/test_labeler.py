"""The labeler: what its parts compute, and that it learns to use its codes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

torch = pytest.importorskip("torch")
pytest.importorskip("tyro")

from aquatint.errors import ModelError, UsageError  # noqa: E402
from aquatint.training import loop  # noqa: E402
from aquatint.training.adversarial.labeler import Labeler, Quantiser, usage  # noqa: E402
from aquatint.training.adversarial.labeling import LabelerTask, load_labeler  # noqa: E402
from aquatint.training.data import find_photographs  # noqa: E402
from aquatint.training.log import LOG  # noqa: E402
from aquatint.training.recipes import Labels  # noqa: E402

torch.set_num_threads(1)
CPU = torch.device("cpu")
RECIPE = Labels(
    steps=40,
    batch=4,
    crop=64,
    learning_rate=2e-3,
    warmup=5,
    holdout=5,
    validation_crops=4,
    log_every=1,
    checkpoint_every=20,
    ema=0.9,
    width=8,
    codes=32,
)
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.usefixtures("lpips_of_pixels")]


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_labeler_has_the_size_of_the_paper() -> None:
    with torch.device("meta"):
        labeler = Labeler()
    assert count(labeler.encoder) / 1e6 == pytest.approx(7.44, abs=0.005)
    assert count(labeler.decoder) / 1e6 == pytest.approx(10.66, abs=0.005)
    assert labeler.quantiser.codes.shape == (1024, 8)


def _identity(codes: torch.Tensor) -> Quantiser:
    """A quantiser that takes features of 8 channels as they are."""
    quantiser = Quantiser(8, len(codes)).eval()
    with torch.no_grad():
        quantiser.codes.copy_(codes)
        for layer in (quantiser.enter, quantiser.leave):
            layer.weight.copy_(torch.eye(8)[:, :, None, None])
            torch.nn.init.zeros_(layer.bias)
    return quantiser


def test_features_become_the_code_of_the_nearest_angle() -> None:
    codes = torch.eye(8)[:3] * torch.tensor([[1.0], [100.0], [0.01]])  # lengths do not matter
    features = torch.zeros(1, 8, 1, 3)
    features[0, :, 0, 0] = torch.tensor([3.0, 1.0, 2.0, 0, 0, 0, 0, 0])
    features[0, :, 0, 1] = torch.tensor([0.1, 0.0, 0.2, 0, 0, 0, 0, 0])
    features[0, :, 0, 2] = torch.tensor([-9.0, 1.0, 0.0, 0, 0, 0, 0, 0])
    quantised = _identity(codes)(features)
    assert quantised.labels.tolist() == [[[0, 2, 1]]]
    expected = torch.stack([torch.eye(8)[k] for k in (0, 2, 1)], 1)
    assert torch.allclose(quantised.features[0, :, 0], expected, atol=1e-6)
    # Of vectors of length 1 the squared distance is 2 - 2 cos.
    cosines = [3 / math.sqrt(14), 0.2 / math.sqrt(0.05), 1 / math.sqrt(82)]
    assert float(quantised.commitment.detach()) == pytest.approx(np.mean([2 - 2 * c for c in cosines]), rel=1e-4)
    assert float(quantised.movement.detach()) == pytest.approx(float(quantised.commitment.detach()))


def test_the_gradient_passes_through_the_choice() -> None:
    quantiser = _identity(torch.eye(8)[:4])
    features = torch.randn(1, 8, 2, 2, requires_grad=True)
    weight = torch.randn(1, 8, 2, 2)
    quantised = quantiser(features)
    (quantised.features * weight).sum().backward()
    passed = features.detach().clone().requires_grad_()
    whitened = passed / math.sqrt(1 + 1e-5)  # by the statistics that it begins with
    (torch.nn.functional.normalize(whitened, dim=1) * weight).sum().backward()
    assert features.grad is not None
    assert passed.grad is not None
    assert torch.allclose(features.grad, passed.grad, atol=1e-6)
    assert quantiser.codes.grad is None or float(quantiser.codes.grad.abs().max()) == 0


def test_even_use_has_no_unevenness() -> None:
    codes = torch.cat([torch.eye(8), -torch.eye(8)])
    features = codes.T.reshape(1, 8, 4, 4)
    quantiser = _identity(codes)
    assert float(quantiser(features).unevenness.detach()) == pytest.approx(0, abs=1e-5)
    alone = quantiser(features[:, :, :1, :1].expand(1, 8, 4, 4))
    assert float(alone.unevenness.detach()) > 2  # log 16 is 2.77


def test_usage_counts_codes_and_their_perplexity() -> None:
    used, perplexity = usage(torch.tensor([[0, 0], [3, 3]]), 8)
    assert (used, perplexity) == (2, pytest.approx(2))
    used, perplexity = usage(torch.tensor([0, 0, 0, 1]), 8)
    assert (used, perplexity) == (2, pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))))


def test_all_codes_are_alive_at_the_start() -> None:
    torch.manual_seed(0)
    labeler = Labeler(8, 64)
    smooth = torch.nn.functional.interpolate(torch.rand(8, 3, 8, 8), size=(64, 64), mode="bilinear")
    labels = labeler(smooth)[1].labels
    used, perplexity = usage(labels, 64)
    assert used > 40
    assert perplexity > 25


def test_label_maps_are_pictures_of_flat_blocks() -> None:
    labeler = Labeler(8, 16).eval()
    pixels = torch.rand(2, 3, 32, 48)
    labels = labeler.labels(pixels)
    assert labels.shape == (2, 4, 6)
    picture = labeler.picture(labels)
    assert picture.shape == (2, 3, 32, 48)
    blocks = picture.reshape(2, 3, 4, 8, 6, 8)
    assert torch.equal(blocks, blocks[:, :, :, :1, :, :1].expand_as(blocks))
    where = labels.flatten().tolist()
    colours = blocks[:, :, :, 0, :, 0].movedim(1, 3).reshape(-1, 3)
    for a in range(len(where)):
        assert torch.equal(colours[a], colours[where.index(where[a])])


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray) -> Path:
    (tmp_path / "photographs").mkdir()
    for k in range(5):
        PILImage.fromarray(photo[:, k * 16 : k * 16 + 80]).save(tmp_path / "photographs" / f"{k}.png")
    return tmp_path / "photographs"


def test_it_learns_on_a_few_photographs_and_uses_most_codes(tmp_path: Path, folder: Path) -> None:
    task = LabelerTask(RECIPE, CPU)
    loop.train(task, RECIPE, find_photographs([folder]), tmp_path / "run", device=CPU, quiet=True)
    lines = [json.loads(line) for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    first, *_, last = (line for line in lines if line["kind"] == "train")
    assert last["difference"] < 0.6 * first["difference"]
    validated = [line for line in lines if line["kind"] == "validation"]
    assert validated[-1]["loss"] < first["difference"]
    assert validated[-1]["used"] > 0.7
    assert validated[-1]["perplexity"] > 0.5
    with PILImage.open(tmp_path / "run" / "samples" / "0000040.webp") as picture:
        assert picture.size == (3 * 64, 4 * 64)  # originals, reconstructions and labels
    labeler = load_labeler(tmp_path / "run", CPU)
    pixels = torch.rand(1, 3, 64, 64)
    assert torch.equal(labeler.labels(pixels), labeler.labels(pixels))
    assert not any(parameter.requires_grad for parameter in labeler.parameters())


def test_only_labelers_are_loaded_as_labelers(tmp_path: Path) -> None:
    from aquatint.training import checkpoint

    checkpoint.save(tmp_path / "last.pt", {"task": {"kind": "hyperprior"}})
    with pytest.raises(ModelError, match="of kind 'hyperprior', not of a labeler"):
        load_labeler(tmp_path, CPU)


def test_crops_must_hold_whole_labels() -> None:
    with pytest.raises(UsageError, match="crop must be a multiple of 8, not 60"):
        LabelerTask(replace(RECIPE, crop=60), CPU)
