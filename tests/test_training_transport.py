"""Training of the transport codec: its stages, resuming, and the model that comes out."""

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

from transport_models import SMALL, trained  # noqa: E402

import aquatint  # noqa: E402
from aquatint.codecs import models  # noqa: E402
from aquatint.codecs.transport.architecture import ARCHITECTURES  # noqa: E402
from aquatint.codecs.transport.network import Network  # noqa: E402
from aquatint.errors import ModelError, UsageError  # noqa: E402
from aquatint.training import checkpoint, loop, run  # noqa: E402
from aquatint.training.adversarial import transport as adversarial  # noqa: E402
from aquatint.training.adversarial.transport import AdversarialTask  # noqa: E402
from aquatint.training.data import Photograph, batches, find_photographs  # noqa: E402
from aquatint.training.distributed import Processes  # noqa: E402
from aquatint.training.export import export  # noqa: E402
from aquatint.training.log import LOG  # noqa: E402
from aquatint.training.recipes import TransportAdversarial, TransportStage  # noqa: E402
from aquatint.training.transport import TransportTask  # noqa: E402

CPU = torch.device("cpu")
RECIPE = TransportStage(
    steps=10,
    batch=3,
    crop=64,
    learning_rate=1e-3,
    warmup=2,
    holdout=3,
    validation_crops=2,
    log_every=1,
    checkpoint_every=5,
    architecture="small",
)
OPTIONS = ["--steps", "4", "--batch", "3", "--crop", "64", "--architecture", "small", "--quiet", "--threads", "1"]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "small", SMALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of photographs."""
    data = __import__("skimage.data").data.astronaut()
    (tmp_path / "photographs").mkdir()
    for k in range(4):
        PILImage.fromarray(data[100 * k : 100 * k + 100, 100:260]).save(tmp_path / "photographs" / f"{k}.png")
    return tmp_path / "photographs"


@pytest.fixture
def photographs(folder: Path) -> list[Photograph]:
    return find_photographs([folder])


def train(recipe: TransportStage, photographs: list[Photograph], folder: Path) -> dict:
    loop.train(TransportTask(recipe, CPU), recipe, photographs, folder, device=CPU, quiet=True)
    return checkpoint.load(folder / checkpoint.LAST)


def lines(folder: Path, kind: str) -> list[dict]:
    found = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [line for line in found if line["kind"] == kind]


def test_a_resumed_run_is_the_uninterrupted_one(
    tmp_path: Path, photographs: list[Photograph], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(RECIPE, photographs, tmp_path / "whole")
    original = TransportTask.backward

    def stopping(self: TransportTask, *arguments: object) -> dict:
        if int(self.network.step) == 7:
            raise KeyboardInterrupt
        return original(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(TransportTask, "backward", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(RECIPE, photographs, tmp_path / "parts")
    monkeypatch.setattr(TransportTask, "backward", original)
    parts = train(RECIPE, photographs, tmp_path / "parts")
    for name, value in whole["mean"].items():
        assert torch.equal(value, parts["mean"][name]), name
    assert int(parts["mean"]["step"]) == 10


def test_the_potential_is_relaxed(tmp_path: Path, photographs: list[Photograph]) -> None:
    train(RECIPE, photographs, tmp_path / "run")
    early = replace(RECIPE, steps=2, checkpoint_every=2)
    balanced = train(early, photographs, tmp_path / "early")["mean"]["quantiser.biases"]
    relaxed = checkpoint.load(tmp_path / "run" / checkpoint.LAST)["mean"]["quantiser.biases"]
    assert balanced.abs().max() > 0  # the second of two steps is half of the way
    assert relaxed.abs().max() == 0


def test_noise_is_that_of_the_recipe(photographs: list[Photograph]) -> None:
    crops = loop.held_out(photographs, RECIPE, CPU)
    losses = []
    for noise in (0.0, 1.0):
        task = TransportTask(replace(RECIPE, stage="noise", noise=noise, size=0), CPU)
        losses.append(float(task.backward("network", crops, Processes())["loss"]))
    plain = TransportTask(replace(RECIPE, stage="autoencoder", size=0), CPU)
    assert losses[0] == float(plain.backward("network", crops, Processes())["loss"])
    assert losses[1] > 2 * losses[0]


def test_crops_have_all_numbers_of_stages(photographs: list[Photograph]) -> None:
    from aquatint.training.data import Crops

    task = TransportTask(RECIPE, CPU)
    for batch in batches(Crops(photographs, 64, 3, 0), 0, 4):
        assert sorted(task._stages(batch).tolist()) == [1, 2, 3]


def test_validation_has_a_rate_for_each_stage(tmp_path: Path, photographs: list[Photograph]) -> None:
    train(RECIPE, photographs, tmp_path / "run")
    last = lines(tmp_path / "run", "validation")[-1]
    rates = [last[f"bpp{stages}"] for stages in (1, 2, 3)]
    assert rates == sorted(rates)
    assert rates[2] < 0.1  # 12 bits for 256 pixels are 0.047
    assert 0 < lines(tmp_path / "run", "train")[-1]["perplexity"] <= 1.001
    assert len(list((tmp_path / "run" / "samples").iterdir())) == 2


def test_from_photographs_to_files(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AQUATINT_MODELS", str(tmp_path / "models"))
    base: list[str] = []
    for name in ("transport-autoencoder", "transport-noise", "transport"):
        out = tmp_path / name
        run.main(name, ["--data", str(folder), "--out", str(out), *OPTIONS, *base])
        base = ["--from", str(out)]
    model = export(tmp_path / "transport", tmp_path / "made.safetensors", licence="CC0", data="four crops")
    assert (model.card["codec"], model.card["licence"]) == ("transport", "CC0")
    models.add(model.path)
    picture = PILImage.open(folder / "1.png")
    data = aquatint.encode(picture, codec="transport", model="made", quality=67)
    assert aquatint.probe(data).codec == "transport"
    assert np.asarray(aquatint.decode(data).to_array()).shape == (100, 160, 3)


# ---- Against a discriminator


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> AdversarialTask:
    """The adversarial task of a network with codes, with a mean difference in place of LPIPS."""
    monkeypatch.setattr(adversarial, "create_lpips", lambda net, device: lambda x, y: (x - y).abs().mean((1, 2, 3)))
    recipe = TransportAdversarial(steps=4, batch=3, crop=64, discriminator_width=4, warmup=1, learning_rate=1e-3)
    return AdversarialTask(recipe, CPU, (SMALL, trained().state_dict()))


def test_an_adversary_moves_the_decoder_alone(
    tmp_path: Path, photographs: list[Photograph], judged: AdversarialTask
) -> None:
    before = {name: value.clone() for name, value in judged.network.state_dict().items()}
    recipe = replace(judged.recipe, checkpoint_every=2, holdout=3, validation_crops=2)
    loop.train(judged, recipe, photographs, tmp_path / "run", device=CPU, quiet=True)
    moved = {name.split(".")[0] for name, value in judged.network.state_dict().items() if not value.equal(before[name])}
    assert moved == {"expand", "synthesis"}
    found = lines(tmp_path / "run", "validation")[-1]
    assert {f"{name}{stages}" for name in ("psnr", "lpips") for stages in (1, 2, 3)} <= found.keys()
    model = export(tmp_path / "run", tmp_path / "made.safetensors", licence="CC0", data="four crops")
    assert model.card["codec"] == "transport"


def test_codes_of_noise_have_no_original(photographs: list[Photograph], judged: AdversarialTask) -> None:
    batch = loop.held_out(photographs, replace(judged.recipe, holdout=3, validation_crops=4), CPU)
    numbers = judged.backward("generator", batch, Processes())
    assert numbers["loss"] == pytest.approx(
        150 * 10 ** (-float(numbers["psnr"]) / 10) + float(numbers["lpips"]) + 0.15 * float(numbers["adversarial"]),
        rel=1e-4,
    )
    assert judged._judged is not None
    fake, fake_codes, real, real_codes = judged._judged
    assert (len(fake), len(fake_codes), len(real), len(real_codes)) == (5, 5, 4, 4)  # one picture of noise
    codes = judged.network.quantiser.codes[0]
    assert fake_codes[4].abs().max() <= codes.abs().max() + 1e-5  # mixtures of codes
    assert fake_codes[4].equal(judged._from_noise(batch, real_codes)[0])  # the same seeds, the same noise
    assert judged.backward("discriminator", batch, Processes())["loss"] > 0


def test_an_adversary_needs_codes() -> None:
    with pytest.raises(UsageError, match="has no codes yet"):
        AdversarialTask(TransportAdversarial(steps=1), CPU, (SMALL, Network(SMALL).state_dict()))


def test_bases_that_do_not_fit_are_refused(tmp_path: Path, photographs: list[Photograph]) -> None:
    train(replace(RECIPE, steps=1), photographs, tmp_path / "run")
    base = run.trained_transport(tmp_path / "run")
    with pytest.raises(UsageError, match="the base is not of the architecture 'transport'"):
        TransportTask(replace(RECIPE, architecture="transport"), CPU, base)
    with pytest.raises(ModelError, match="kind 'transport', not 'hyperprior'"):
        run.trained(tmp_path / "run")
    with pytest.raises(UsageError, match="architecture 'none' is not one of"):
        TransportTask(replace(RECIPE, architecture="none"), CPU)
    del base[1]["quantiser.codes"]  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="the base does not fit the network"):
        TransportTask(RECIPE, CPU, base)
