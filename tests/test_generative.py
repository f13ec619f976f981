"""Training of generators behind a frozen encoder."""

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

from typer.testing import CliRunner  # noqa: E402

import aquatint  # noqa: E402
from aquatint import cli, container  # noqa: E402
from aquatint.codecs import models  # noqa: E402
from aquatint.codecs.hyperprior import decoder  # noqa: E402
from aquatint.codecs.hyperprior.model import load  # noqa: E402
from aquatint.codecs.hyperprior.network import RANGE  # noqa: E402
from aquatint.codecs.hyperprior.thawed import FrozenEncoder  # noqa: E402
from aquatint.errors import (  # noqa: E402
    ModelError,
    TrainingError,
    UsageError,
)
from aquatint.training import checkpoint, loop  # noqa: E402
from aquatint.training.adversarial import generative  # noqa: E402
from aquatint.training.adversarial.generative import GenerativeTask  # noqa: E402
from aquatint.training.adversarial.labeling import LabelerTask  # noqa: E402
from aquatint.training.data import Batch, Photograph, batches  # noqa: E402
from aquatint.training.distributed import Processes  # noqa: E402
from aquatint.training.export import export  # noqa: E402
from aquatint.training.log import LOG  # noqa: E402
from aquatint.training.recipes import RECIPES, Generative, Labels  # noqa: E402

CPU = torch.device("cpu")
RECIPE = Generative(
    steps=4,
    batch=4,
    crop=64,
    warmup=1,
    holdout=3,
    validation_crops=2,
    log_every=1,
    checkpoint_every=2,
    learning_rate=1e-3,
    encoder="one",
    discriminator_width=8,
)
LABELS = replace(RECIPE, discriminator="labels", adversarial=0.008)
PATCHES = replace(RECIPE, discriminator="patchgan", adversarial=0.15)
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.usefixtures("lpips_of_pixels")]


@pytest.fixture
def labeler(tmp_path: Path, photographs: list[Photograph]) -> Path:
    recipe = Labels(
        steps=2,
        batch=2,
        crop=64,
        holdout=3,
        validation_crops=1,
        checkpoint_every=2,
        width=8,
        codes=6,
        learning_rate=1e-3,
    )
    loop.train(LabelerTask(recipe, CPU), recipe, photographs, tmp_path / "labeler", device=CPU, quiet=True)
    return tmp_path / "labeler"


def run(recipe: Generative, photographs: list[Photograph], folder: Path, base: Path | None = None) -> dict:
    loop.train(GenerativeTask(recipe, CPU, base), recipe, photographs, folder, device=CPU, quiet=True)
    return checkpoint.load(folder / checkpoint.LAST)


def same(one: object, other: object) -> bool:
    if isinstance(one, dict):
        assert isinstance(other, dict)
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


# ---- The frozen encoder


@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize("quality", [1, 60, 100])
def test_latents_in_training_are_those_of_a_decoder(
    name: str, quality: int, installed: Path, photo: np.ndarray
) -> None:
    file = models.find(name)
    model = load(file)
    picture = photo[:96, :144]
    header, chunks = container.read(aquatint.encode(picture, quality=quality, codec="hyperprior", model=name))
    level, stream = decoder._opened(chunks[container.Chunk.PAYLOAD], model)
    decoded = decoder._read(model, level, stream, (6, 9))
    pixels = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]
    found, _ = FrozenEncoder(model, file)(pixels, torch.tensor([1 - level / (len(model.rates) - 1)]))
    difference = np.abs(found[0].numpy() - decoded)
    step = model.step(level) / 16
    assert np.mean(difference > 0.25 * step) < 0.03  # a mean that is rounded to the other side moves a latent by a step
    assert np.median(difference) < 0.03 * step
    assert header.model_hash == model.hash


def test_nothing_of_the_encoder_is_trained(installed: Path, photographs: list[Photograph], tmp_path: Path) -> None:
    task = GenerativeTask(PATCHES, CPU)
    before = {name: value.clone() for name, value in task.encoder.state_dict().items()}
    start = {name: value.clone() for name, value in task.network.state_dict().items()}
    loop.train(task, PATCHES, photographs, tmp_path / "run", device=CPU, quiet=True)
    assert same(dict(task.encoder.state_dict()), before)
    assert not same(dict(task.network.state_dict()), start)


# ---- Training


def _batch(pixels: torch.Tensor) -> Batch:
    count = len(pixels)
    return Batch(pixels, torch.arange(count) / count, torch.arange(count), 0)


class Spy:
    """Stands for a discriminator and notes what it is shown."""

    def __init__(self, inner: torch.nn.Module) -> None:
        self.inner, self.paired, self.sides = inner, inner.paired, inner.sides
        self.generator_loss, self.discriminator_loss = inner.generator_loss, inner.discriminator_loss
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __call__(self, pixels: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        self.seen.append((pixels.detach(), latents))
        return self.inner(pixels, latents)


@pytest.mark.parametrize("kind", ["patchgan", "labels"])
def test_who_sees_what(kind: str, installed: Path, labeler: Path, photographs: list[Photograph]) -> None:
    recipe = replace(PATCHES, batch=4) if kind == "patchgan" else replace(LABELS, labeler=str(labeler))
    task = GenerativeTask(recipe, CPU)
    assert task.discriminator is not None
    task.discriminator = spy = Spy(task.phases["discriminator"])  # type: ignore[assignment]
    crops, _ = loop._split(photographs, recipe)
    batch = next(batches(crops, 0, 1))
    task.backward("generator", batch, Processes())
    task.backward("discriminator", batch, Processes())
    latents, rate = task.encoder(batch.pixels, batch.places)
    fakes, reals = ([0, 1, 2, 3], [0, 1, 2, 3]) if kind == "patchgan" else ([0, 2], [1, 3])
    assert rate is not None
    painted = generative.painted(task.network, latents[fakes], rate[fakes])
    judged, real, fake = spy.seen
    for pixels, wanted in ((judged[0], painted), (fake[0], painted), (real[0], batch.pixels[reals])):
        assert torch.allclose(pixels, wanted, atol=1e-6)
    for seen, wanted in ((judged[1], fakes), (fake[1], fakes), (real[1], reals)):
        assert torch.equal(seen, latents[wanted] / RANGE)


def test_the_generators_gradient_is_that_of_the_written_out_loss(
    installed: Path, labeler: Path, photographs: list[Photograph]
) -> None:
    recipe = replace(LABELS, labeler=str(labeler))
    task = GenerativeTask(recipe, CPU)
    crops, _ = loop._split(photographs, recipe)
    batch = next(batches(crops, 0, 1))
    found = task.backward("generator", batch, Processes())
    gradients = [parameter.grad for parameter in task.network.parameters() if parameter.requires_grad]
    assert all(parameter.grad is None for parameter in task.phases["discriminator"].parameters())
    fresh = GenerativeTask(recipe, CPU)
    latents, rate = fresh.encoder(batch.pixels, batch.places)
    assert rate is not None
    assert fresh.labeler is not None
    pixels = generative.painted(fresh.network, latents[::2], rate[::2])
    logits = fresh.phases["discriminator"].eval()(pixels, latents[::2] / RANGE)
    labels = fresh.labeler.labels(batch.pixels)[::2] + 1
    adversarial = -torch.log_softmax(logits, 1).gather(1, labels[:, None]).mean()
    error = ((pixels - batch.pixels[::2]) ** 2).mean()
    loss = 150 * error + fresh.lpips(pixels, batch.pixels[::2]).mean() + 0.008 * adversarial
    loss.backward()
    assert float(found["loss"]) == pytest.approx(loss.item(), rel=1e-5)
    for own, other in zip(gradients, fresh.network.parameters(), strict=False):
        if own is not None and other.grad is not None:
            assert torch.allclose(own, other.grad, rtol=1e-3, atol=1e-5)


def test_a_pull_is_a_fraction_of_the_distortions_gradient(installed: Path, photographs: list[Photograph]) -> None:
    crops, _ = loop._split(photographs, PATCHES)

    def pulled(recipe: Generative) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        task = GenerativeTask(recipe, CPU)
        found = task.backward("generator", next(batches(crops, 0, 1)), Processes())
        gradients = [parameter.grad.flatten() for parameter in task.network.parameters() if parameter.grad is not None]
        return found, torch.cat(gradients)

    _, alone = pulled(RECIPE)
    fixed, with_fixed = pulled(PATCHES)
    assert float(fixed["weight"]) == pytest.approx(0.15)
    for pull in (0.25, 0.5):
        found, combined = pulled(replace(PATCHES, pull=pull))
        assert float(found["pull"]) == pytest.approx(pull, rel=1e-5)
        # The discriminator's part of the gradient is as many times that at the fixed weight as its weight is.
        factor = float(found["weight"]) / 0.15
        assert factor == pytest.approx(pull / float(fixed["pull"]), rel=1e-4)
        difference = (combined - alone) - factor * (with_fixed - alone)
        assert float(difference.norm()) < 0.02 * float((combined - alone).norm())


def test_a_head_start_is_for_the_discriminator_alone(installed: Path, photographs: list[Photograph]) -> None:
    crops, _ = loop._split(photographs, PATCHES)
    batch = next(batches(crops, 1, 2))
    found = {}
    for head_start in (1, 2):
        task = GenerativeTask(replace(PATCHES, pull=0.5, head_start=head_start), CPU)
        numbers = task.backward("generator", batch, Processes())
        task.backward("discriminator", batch, Processes())
        moved = [parameter.grad for parameter in task.phases["discriminator"].parameters()]
        assert any(gradient is not None and float(gradient.abs().max()) > 0 for gradient in moved)
        found[head_start] = float(numbers["pull"])
    assert found == {1: pytest.approx(0.5), 2: 0}


@pytest.mark.parametrize("kind", ["none", "patchgan", "labels"])
def test_a_resumed_run_is_the_uninterrupted_one(
    kind: str, installed: Path, labeler: Path, photographs: list[Photograph], tmp_path: Path
) -> None:
    recipe = {"none": RECIPE, "patchgan": PATCHES, "labels": replace(LABELS, labeler=str(labeler))}[kind]
    recipe = replace(recipe, decay=0.0)  # so that a shorter run has the same rates
    whole = run(recipe, photographs, tmp_path / "whole")
    run(replace(recipe, steps=2), photographs, tmp_path / "parts")
    resumed = run(recipe, photographs, tmp_path / "parts")
    assert resumed["step"] == whole["step"] == 4
    for part in ("phases", "mean", "optimisers"):
        assert same(resumed[part], whole[part]), part
    lines = [json.loads(line) for line in (tmp_path / "whole" / LOG).read_text().splitlines()]
    names = lines[0].keys()
    assert ("generator_pull" in names) == (kind != "none")
    assert (tmp_path / "whole" / checkpoint.BEST).exists() == (kind == "none")


def test_the_discriminators_rate_is_a_multiple(installed: Path, photographs: list[Photograph]) -> None:
    task = GenerativeTask(PATCHES, CPU)
    inside = loop._Run(task, PATCHES, CPU, Processes())
    crops, _ = loop._split(photographs, PATCHES)
    inside.advance(next(batches(crops, 0, 1)))
    rates = {name: optimiser.param_groups[0]["lr"] for name, optimiser in inside.optimisers.items()}
    assert rates == {"generator": 1e-3, "discriminator": 4e-3}
    assert inside.optimisers["generator"].param_groups[0]["betas"] == (0.5, 0.999)


@pytest.mark.parametrize("phase", ["generator", "discriminator"])
def test_what_is_not_a_number_stops_the_run(
    phase: str, installed: Path, photographs: list[Photograph], tmp_path: Path
) -> None:
    good = run(replace(PATCHES, steps=2), photographs, tmp_path / "run")
    task = GenerativeTask(PATCHES, CPU)
    backward = task.backward

    def failing(name: str, batch: Batch, processes: Processes) -> dict[str, torch.Tensor]:
        found = backward(name, batch, processes)
        return {**found, "loss": torch.tensor(torch.nan)} if name == phase else found

    task.backward = failing  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=f"stopped at step 2: the loss of phase {phase} is nan"):
        loop.train(task, PATCHES, photographs, tmp_path / "run", device=CPU, quiet=True)
    assert same(checkpoint.load(tmp_path / "run" / checkpoint.LAST), good)


def test_a_small_generator_of_hifics_structure_learns_from_nothing(
    installed: Path, photographs: list[Photograph], tmp_path: Path
) -> None:
    recipe = replace(RECIPE, width=4, blocks=1, steps=40, checkpoint_every=20, learning_rate=3e-3)
    run(recipe, photographs, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert np.mean(losses[-5:]) < 0.6 * losses[0]


def test_a_run_starts_from_another_generator_of_the_same_model(
    installed: Path, photographs: list[Photograph], tmp_path: Path
) -> None:
    run(RECIPE, photographs, tmp_path / "first")
    task = GenerativeTask(PATCHES, CPU, tmp_path / "first")
    assert same(dict(task.network.state_dict()), checkpoint.load(tmp_path / "first")["mean"])
    with pytest.raises(ModelError, match=r"encoder .* is needed to start from it"):
        GenerativeTask(replace(PATCHES, encoder="two"), CPU, tmp_path / "first")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop": 96, "discriminator": "labels"}, "crop must be a multiple of 64 with this discriminator, not 96"),
        ({"crop": 72}, "crop must be a multiple of 16 with this discriminator, not 72"),
        ({"batch": 3, "discriminator": "labels"}, "batch must be even, not 3"),
        ({"discriminator": "labels", "labeler": ""}, "needs a labeler"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(
    changes: dict[str, object], message: str, installed: Path, labeler: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        GenerativeTask(replace(RECIPE, **({"labeler": str(labeler)} | changes)), CPU)  # type: ignore[arg-type]


def test_training_hears_other_noise_at_every_step(installed: Path, photographs: list[Photograph]) -> None:
    task = GenerativeTask(replace(PATCHES, noise=2, batch=2), CPU)
    assert task.describe()["name"] == "hific-noise"
    own = task.encoder.network.synthesis.state_dict()
    for key, value in task.network.state_dict().items():
        assert torch.equal(value[: len(own[key])], own[key]), key
    crops, _ = loop._split(photographs, task.recipe)
    heard: list[torch.Tensor] = []
    task.network.stages[-2].register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0][:, -4:]))
    for batch in batches(crops, 0, 2):
        task.backward("generator", batch, Processes())
        task.backward("discriminator", batch, Processes())
    assert not torch.equal(heard[0], heard[1])
    assert not torch.equal(heard[0][0], heard[0][1])


# ---- To the end


def test_from_training_to_a_picture_on_the_command_line(
    installed: Path, photographs: list[Photograph], photo: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aquatint.training.run import main

    monkeypatch.setitem(RECIPES, "tiny-hific", replace(PATCHES, encoder=str(models.find("one").path)))
    out = str(tmp_path / "run")
    main("tiny-hific", ["--data", str(tmp_path / "photographs"), "--out", out, "--steps", "2", "--quiet"])
    file = export(Path(out), installed / "one-hific.safetensors", licence="CC0", data="a cup")
    assert file.card["recipe"]["encoder"] == "one.safetensors"  # type: ignore[index]
    assert (file.card["generator"], file.card["encoder"]) == ("hific", models.find("one").hash.hex())
    assert file.card["sha256"].startswith(file.hash.hex())  # type: ignore[union-attr]
    (tmp_path / "a.aqt").write_bytes(aquatint.encode(photo, quality=30, codec="hyperprior", model="one"))
    runner = CliRunner()

    def decode(*options: str) -> np.ndarray:
        done = runner.invoke(cli.app, ["decode", str(tmp_path / "a.aqt"), str(tmp_path / "a.png"), *options])
        assert done.exit_code == 0, done.output
        return np.asarray(PILImage.open(tmp_path / "a.png")).astype(int)

    own, half, whole = decode(), decode("--generator", "hific", "--realism", "0.5"), decode("--generator", "hific")
    assert np.array_equal(own, decode("--generator", "hific", "--realism", "0"))
    assert not np.array_equal(own, half)
    assert not np.array_equal(half, whole)
    wrong = runner.invoke(cli.app, ["decode", str(tmp_path / "a.aqt"), str(tmp_path / "b.png"), "--realism", "0.5"])
    assert wrong.exit_code == 2
    failed = runner.invoke(cli.app, ["decode", str(tmp_path / "a.aqt"), str(tmp_path / "b.png"), "--generator", "illm"])
    assert failed.exit_code == 1
    assert not (tmp_path / "b.png").exists()
