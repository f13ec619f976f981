"""Training of the extreme codec: its losses, labels, selections, and the model that comes out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

torch = pytest.importorskip("torch")
pytest.importorskip("tyro")
pytest.importorskip("safetensors")
pytest.importorskip("skimage")

from extreme_models import SELECTIVE, SMALL, halves  # noqa: E402

import aquatint  # noqa: E402
from aquatint.codecs import models  # noqa: E402
from aquatint.codecs.extreme.architecture import ARCHITECTURES  # noqa: E402
from aquatint.codecs.extreme.context import symbol_bits  # noqa: E402
from aquatint.codecs.extreme.network import Network  # noqa: E402
from aquatint.errors import ImageError, ModelError, UsageError  # noqa: E402
from aquatint.perception.features import NetworkFeatures  # noqa: E402
from aquatint.perception.features_networks import Vgg  # noqa: E402
from aquatint.training import checkpoint, loop, run  # noqa: E402
from aquatint.training.adversarial import multiscale  # noqa: E402
from aquatint.training.adversarial.extreme import ExtremeTask, perceptual_distance  # noqa: E402
from aquatint.training.adversarial.multiscale import MultiScale  # noqa: E402
from aquatint.training.adversarial.selection import random_box, random_instances  # noqa: E402
from aquatint.training.data import Batch, Photograph, find_photographs  # noqa: E402
from aquatint.training.distributed import Processes  # noqa: E402
from aquatint.training.export import export  # noqa: E402
from aquatint.training.log import LOG  # noqa: E402
from aquatint.training.recipes import RECIPES, ExtremeRecipe  # noqa: E402

CPU = torch.device("cpu")
RECIPE = ExtremeRecipe(
    steps=4,
    batch=2,
    crop=32,
    learning_rate=1e-3,
    warmup=1,
    holdout=3,
    validation_crops=2,
    log_every=1,
    checkpoint_every=2,
    architecture="small",
    perceptual="steerable",
    discriminator_width=4,
    scales=2,
)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "small", SMALL)
    monkeypatch.setitem(ARCHITECTURES, "selective", SELECTIVE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of photographs, and beside it one of labels."""
    data = __import__("skimage.data").data.astronaut()
    for name in ("photographs", "labels"):
        (tmp_path / name).mkdir()
    for k in range(4):
        PILImage.fromarray(data[100 * k : 100 * k + 60, 100:180]).save(tmp_path / "photographs" / f"{k}.png")
        PILImage.fromarray(halves(60, 80).numpy().astype(np.uint8)).save(tmp_path / "labels" / f"{k}.png")
    return tmp_path / "photographs"


@pytest.fixture
def photographs(folder: Path) -> list[Photograph]:
    return find_photographs([folder], folder.parent / "labels")


def train(recipe: ExtremeRecipe, photographs: list[Photograph], folder: Path) -> dict:
    loop.train(ExtremeTask(recipe, CPU), recipe, photographs, folder, device=CPU, quiet=True)
    return checkpoint.load(folder / checkpoint.LAST)


def batch_of(photographs: list[Photograph], recipe: ExtremeRecipe = RECIPE) -> Batch:
    return loop.held_out(photographs, recipe, CPU)


# ---- Losses


def test_the_discriminators_are_those_of_the_paper() -> None:
    net = MultiScale(width=64, scales=3)
    assert sum(parameter.numel() for parameter in net.nets[0].parameters()) == 2_764_737
    assert net.nets[0][0][0].weight.std().item() == pytest.approx(0.02, rel=0.05)
    found = net(torch.rand(1, 3, 64, 96), None)
    assert [tuple(scale[-1].shape[2:]) for scale in found] == [(11, 15), (7, 9), (5, 6)]
    assert [len(scale) for scale in found] == [5, 5, 5]


def test_losses_are_those_of_the_paper() -> None:
    real, fake = ([[torch.full((1, 2, 3, 3), a), torch.full((1, 1, 2, 2), b)]] * 2 for a, b in ((1.0, 0.5), (3.0, 0.2)))
    assert float(multiscale.generator_loss(fake)) == pytest.approx(2 * 0.8**2)
    assert float(multiscale.discriminator_loss(real, fake)) == pytest.approx(0.5**2 + 0.2**2)
    assert float(multiscale.feature_matching(real, fake)) == pytest.approx(2.0)  # the logits are no features


def test_every_scale_trains_the_generator() -> None:
    net = MultiScale(width=4, scales=3)
    for scale in range(3):
        pixels = torch.rand(1, 3, 64, 64, requires_grad=True)
        (gradient,) = torch.autograd.grad(multiscale.generator_loss([net(pixels, None)[scale]]), pixels)
        assert gradient.abs().sum() > 0


def test_real_features_are_not_moved() -> None:
    net = MultiScale(width=4, scales=1)
    real, fake = (torch.rand(1, 3, 32, 32, requires_grad=True) for _ in range(2))
    gradients = torch.autograd.grad(
        multiscale.feature_matching(net(real, None), net(fake, None)), [real, fake], allow_unused=True
    )
    assert gradients[0] is None
    assert gradients[1].abs().sum() > 0


def test_the_distance_without_weights_is_one() -> None:
    distance = perceptual_distance("steerable", CPU)
    x, y = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).unbind()
    assert float(distance(x, x)) == 0
    assert 0 < float(distance(x, (x + y) / 2)) < float(distance(x, y))


def test_vgg_has_the_weights_of_pix2pix(weights_dir: Path) -> None:
    if not (weights_dir / "vgg19_conv1_1_to_conv3_4.safetensors").is_file():
        pytest.skip("no weights of VGG19")
    layers = {"relu1_1": 1 / 32, "relu2_1": 1 / 16, "relu3_1": 1 / 8}  # the file ends before the others
    features = NetworkFeatures(Vgg("vgg19", tuple(layers), pooling="max"))
    x, y = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).unbind()
    pairs = zip(layers.values(), features(x), features(y), strict=True)
    expected = sum(weight * float((a.values - b.values).abs().mean()) for weight, a, b in pairs)
    assert float(perceptual_distance("vgg19", CPU)(x, y)) == pytest.approx(expected, rel=1e-5)


def test_the_loss_is_the_sum_of_its_parts(photographs: list[Photograph]) -> None:
    task = ExtremeTask(replace(RECIPE, mse=10, matching=3, perceptual_weight=2), CPU)
    found = {name: float(x) for name, x in task.backward("generator", batch_of(photographs), Processes()).items()}
    mse = 10 ** (-found["psnr"] / 10)
    parts = 40 * mse + 2 * found["perceptual"] + found["adversarial"] + 3 * found["matching"]
    assert found["loss"] == pytest.approx(parts, rel=1e-4)
    early = ExtremeTask(replace(RECIPE, head_start=1), CPU)
    alone = {name: float(x) for name, x in early.backward("generator", batch_of(photographs), Processes()).items()}
    assert alone["loss"] == pytest.approx(40 * 10 ** (-alone["psnr"] / 10) + 10 * alone["perceptual"], rel=1e-4)


def test_phases_move_their_own_parts(photographs: list[Photograph]) -> None:
    task = ExtremeTask(RECIPE, CPU)
    assert list(task.phases) == ["generator", "context", "discriminator"]
    batch = batch_of(photographs)
    for phase, module in task.phases.items():
        for parameter in [*task.network.parameters(), *task.phases["discriminator"].parameters()]:
            parameter.grad = None
        assert task.backward(phase, batch, Processes())["loss"] > 0
        assert any(parameter.grad is not None for parameter in module.parameters())
        if phase == "context":
            assert all(parameter.grad is None for parameter in task.phases["generator"].parameters())
        if phase == "discriminator":
            assert all(parameter.grad is None for parameter in task.network.parameters())


def test_the_baseline_has_no_adversary(tmp_path: Path, photographs: list[Photograph]) -> None:
    recipe = replace(RECIPE, adversarial=0, matching=0, perceptual_weight=0)
    assert list(ExtremeTask(recipe, CPU).phases) == ["generator", "context"]
    state = train(recipe, photographs, tmp_path / "run")
    assert state["best"] < 1  # there is a loss
    for name in ("extreme", "extreme-paper"):
        ours, baseline = RECIPES[name], RECIPES[f"{name}-mse"]
        assert (ours.architecture, ours.steps) == (baseline.architecture, baseline.steps)  # type: ignore[attr-defined]


def test_frequencies_are_counted(photographs: list[Photograph]) -> None:
    task = ExtremeTask(RECIPE, CPU)
    batch = batch_of(photographs)
    for _ in range(400):
        task._count(
            torch.tensor([1.0, -2, 0, 0]).reshape(1, 1, 2, 2).expand(2, 4, 2, 2),
            torch.ones(2, 1, 2, 2),
            torch.tensor([2, 2]),
        )
    assert task.network.context.frequencies[0].numpy() == pytest.approx([0.25, 0, 0.5, 0.25, 0], abs=0.01)
    assert task.network.context.frequencies[3].numpy() == pytest.approx(0.2)  # of a channel that no crop has
    assert task._channels(batch.places).tolist() == [2, 4]


# ---- Labels and selections


def test_instances_are_preserved_whole() -> None:
    labels = halves(24, 24).numpy()
    labels[0, :4] = 3
    labels[23, 10:] = 3
    shares = []
    for seed in range(200):
        mask = random_instances(labels, np.random.default_rng(seed))
        shares.append(mask[labels == 2].mean())
        assert set(np.unique([mask[labels == label].mean() for label in (0, 1, 2)])) <= {0.0, 1.0}
        assert mask.any()
    assert np.mean(shares) == pytest.approx(0.2, abs=0.07)  # one of five


def test_boxes_are_of_all_sizes() -> None:
    masks = [random_box((10, 20), np.random.default_rng(seed)) for seed in range(500)]
    heights, widths = ([int(mask.any(axis).sum()) for mask in masks] for axis in (1, 0))
    assert (min(heights), max(heights), min(widths), max(widths)) == (1, 10, 1, 20)
    assert (np.mean(heights), np.mean(widths)) == (pytest.approx(5.5, abs=0.4), pytest.approx(10.5, abs=0.8))
    assert all(mask.sum() == height * width for mask, height, width in zip(masks, heights, widths, strict=True))


@pytest.mark.parametrize("preserve", ["instances", "box"])
def test_selective_training_masks_the_error(photographs: list[Photograph], preserve: str) -> None:
    recipe = replace(RECIPE, architecture="selective", preserve=preserve)  # type: ignore[arg-type]
    task = ExtremeTask(recipe, CPU)
    batch = batch_of(photographs, recipe)
    masks = task._masks(batch)
    assert masks.shape == (2, 1, 2, 2)
    assert 0 < masks.mean() <= 1
    coded = task._coded(task.network, batch, torch.tensor([4, 4]), masks)
    assert not coded.symbols[(masks == 0).expand_as(coded.symbols)].any()
    nothing = task._coded(task.network, batch, torch.tensor([4, 4]), 0 * masks)
    assert task._mse(nothing, batch.pixels).item() == 0
    everything = task._coded(task.network, batch, torch.tensor([4, 4]), torch.ones_like(masks))
    plain = (everything.pixels - batch.pixels).square().mean()
    assert task._mse(everything, batch.pixels).item() == pytest.approx(plain.item())
    assert task._masks(batch).equal(masks)  # a function of the crops' seeds


def test_labels_follow_their_pictures(folder: Path) -> None:
    """Scaled, cut and mirrored alike: here labels are the brightness of the picture."""
    data = np.zeros((60, 80), np.uint8)
    data[10:40, 20:50] = 7
    for k in range(4):
        PILImage.fromarray(np.repeat(data[..., None] * 30, 3, 2)).save(folder / f"{k}.png")
        PILImage.fromarray(data).save(folder.parent / "labels" / f"{k}.png")
    from aquatint.training.data import Crops

    crops = Crops(find_photographs([folder], folder.parent / "labels"), 32, 1, 0, smallest_scale=0.5)
    for k in range(12):
        pixels, *_, labels = crops[k]
        assert labels is not None
        assert labels.shape == (32, 32)
        differ = (pixels.mean(0) > 0.4) != (labels == 7)
        assert differ.float().mean() < 0.1


def test_discriminators_see_labels_and_the_coder_does_not(
    tmp_path: Path, folder: Path, photographs: list[Photograph]
) -> None:
    recipe = replace(RECIPE, judged_classes=3)
    task = ExtremeTask(recipe, CPU)
    assert task.discriminator is not None
    assert task.discriminator.nets[0][0][0].in_channels == 6  # type: ignore[index]
    assert task.network.label_encoder is None
    train(recipe, photographs, tmp_path / "run")
    with pytest.raises(UsageError, match="learns from labels: name the folder of their maps with --labels"):
        ExtremeTask(recipe, CPU).backward("generator", batch_of(find_photographs([folder])), Processes())
    with pytest.raises(UsageError, match="there is no class 2; the recipe has 2"):
        ExtremeTask(replace(recipe, judged_classes=2), CPU).backward("generator", batch_of(photographs), Processes())


def test_labels_that_do_not_fit_are_refused(folder: Path) -> None:
    with pytest.raises(ImageError, match=r"0\.png has no labels: there is no "):
        find_photographs([folder], folder.parent / "none")
    PILImage.fromarray(np.zeros((9, 9), np.uint8)).save(folder.parent / "labels" / "0.png")
    with pytest.raises(ImageError, match=r"has the shape \(9, 9\); the photograph has \(60, 80\)"):
        batch_of(find_photographs([folder / "0.png"], folder.parent / "labels"))


# ---- Runs


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path, photographs: list[Photograph]) -> None:
    recipe = replace(RECIPE, decay=0.0, adversarial=1)
    whole = train(recipe, photographs, tmp_path / "whole")
    train(replace(recipe, steps=2), photographs, tmp_path / "parts")
    parts = train(recipe, photographs, tmp_path / "parts")
    for name, value in whole["mean"].items():
        assert torch.equal(value, parts["mean"][name]), name


def test_validation_has_a_rate_for_each_number_of_channels(tmp_path: Path, photographs: list[Photograph]) -> None:
    train(replace(RECIPE, architecture="selective"), photographs, tmp_path / "run")
    found = [json.loads(line) for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    last = [line for line in found if line["kind"] == "validation"][-1]
    assert 0 < last["bpp2"] < last["bpp4"] < 4 * 2.4 / 256 * 1.3
    assert "loss" not in last
    assert last["psnr4"] > 10
    assert {line["context_of_bound"] for line in found if line["kind"] == "train"}
    assert len(list((tmp_path / "run" / "samples").iterdir())) == 2


def test_from_photographs_to_files(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AQUATINT_MODELS", str(tmp_path / "models"))
    options = ["--data", str(folder), "--out", str(tmp_path / "run"), "--labels", str(folder.parent / "labels")]
    options += ["--steps", "2", "--batch", "3", "--crop", "32", "--architecture", "selective", "--quiet"]
    options += ["--perceptual", "steerable", "--discriminator-width", "4", "--threads", "1"]
    run.main("extreme-selective", options)
    model = export(tmp_path / "run", tmp_path / "made.safetensors", licence="CC0", data="four crops")
    assert (model.card["codec"], model.card["licence"]) == ("extreme", "CC0")
    models.add(model.path)
    picture = PILImage.open(folder / "1.png")
    data = aquatint.encode(
        picture, codec="extreme", model="made", labels=halves(60, 80).numpy(), preserve=["classes=tree"]
    )
    assert aquatint.probe(data).codec == "extreme"
    assert np.asarray(aquatint.decode(data).to_array()).shape == (60, 80, 3)


def test_the_context_model_learns(photographs: list[Photograph]) -> None:
    task = ExtremeTask(replace(RECIPE, adversarial=0, perceptual_weight=0), CPU)
    batch = batch_of(photographs)
    optimiser = torch.optim.Adam(task.phases["context"].parameters(), lr=0.02)
    bits = []
    for _ in range(40):
        task.backward("generator", batch, Processes())
        optimiser.zero_grad()
        bits.append(float(task.backward("context", batch, Processes())["of_bound"]))
        optimiser.step()
    assert bits[-1] < 0.8 * bits[0] < 0.9
    network = task.network
    assert isinstance(network, Network)
    with torch.no_grad():
        symbols = network.symbols(network.latents(batch.pixels), torch.ones(1, 1, 1, 1))
        assert float(symbol_bits(network.context(symbols), symbols).mean()) < 2.0


def test_bases_and_recipes_that_do_not_fit_are_refused(tmp_path: Path, photographs: list[Photograph]) -> None:
    train(replace(RECIPE, steps=1), photographs, tmp_path / "run")
    base = run.trained_extreme(tmp_path / "run")
    assert ExtremeTask(RECIPE, CPU, base).network.context.frequencies.equal(base[1]["context.frequencies"])
    with pytest.raises(UsageError, match="the base is not of the architecture 'selective'"):
        ExtremeTask(replace(RECIPE, architecture="selective"), CPU, base)
    with pytest.raises(UsageError, match="architecture 'none' is not one of"):
        ExtremeTask(replace(RECIPE, architecture="none"), CPU)
    with pytest.raises(UsageError, match="crop must be a multiple of 16, not 40"):
        ExtremeTask(replace(RECIPE, crop=40), CPU)
    with pytest.raises(ModelError, match="kind 'extreme', not 'transport'"):
        run.trained_transport(tmp_path / "run")
