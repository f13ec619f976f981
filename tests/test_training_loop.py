"""Training runs: resuming, several processes, what is written, and what stops a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

torch = pytest.importorskip("torch")
pytest.importorskip("tyro")
pytest.importorskip("safetensors")

from hyperprior_models import FAMILY  # noqa: E402

import aquatint  # noqa: E402
from aquatint.codecs import models  # noqa: E402
from aquatint.codecs.hyperprior.architecture import ARCHITECTURES  # noqa: E402
from aquatint.errors import ModelError, TrainingError, UsageError  # noqa: E402
from aquatint.training import checkpoint, loop  # noqa: E402
from aquatint.training.data import Photograph, batches, find_photographs  # noqa: E402
from aquatint.training.distributed import Processes  # noqa: E402
from aquatint.training.export import export  # noqa: E402
from aquatint.training.hyperprior import HyperpriorTask  # noqa: E402
from aquatint.training.log import LOG  # noqa: E402
from aquatint.training.recipes import RECIPES, Posttrain, RateDistortion  # noqa: E402

CPU = torch.device("cpu")
RECIPE = RateDistortion(
    steps=6,
    batch=4,
    crop=32,
    learning_rate=1e-3,
    warmup=2,
    holdout=3,
    validation_crops=2,
    log_every=1,
    checkpoint_every=2,
    architecture="tiny",
    rates="random",
)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "tiny", FAMILY["channelwise"])
    monkeypatch.setitem(ARCHITECTURES, "tiny-mean", replace(FAMILY["mean-scale"], max_step=1.0, hyper_step=False))


@pytest.fixture
def photographs(tmp_path: Path, photo: np.ndarray) -> list[Photograph]:
    (tmp_path / "photographs").mkdir()
    for k in range(4):
        PILImage.fromarray(photo[:, k * 30 : k * 30 + 50]).save(tmp_path / "photographs" / f"{k}.png")
    return find_photographs([tmp_path / "photographs"])


def run(recipe: RateDistortion, photographs: list[Photograph], folder: Path) -> dict:
    task = HyperpriorTask(recipe, CPU)
    loop.train(task, recipe, photographs, folder, device=CPU, quiet=True)
    return checkpoint.load(folder / checkpoint.LAST)


def lines(folder: Path, kind: str = "train") -> list[dict]:
    found = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [{key: v for key, v in line.items() if "second" not in key} for line in found if line["kind"] == kind]


def same(one: object, other: object) -> bool:
    if isinstance(one, dict):
        assert isinstance(other, dict)
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_a_resumed_run_is_the_uninterrupted_one(
    tmp_path: Path, photographs: list[Photograph], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(RECIPE, photographs, tmp_path / "whole")

    class Stopped(Exception):
        pass

    advance = loop._Run.advance

    def stopping(self: loop._Run, batch) -> dict[str, float]:
        if self.step == 5:
            raise Stopped
        return advance(self, batch)

    monkeypatch.setattr(loop._Run, "advance", stopping)
    with pytest.raises(Stopped):
        run(RECIPE, photographs, tmp_path / "parts")
    assert checkpoint.load(tmp_path / "parts" / checkpoint.LAST)["step"] == 4
    monkeypatch.setattr(loop._Run, "advance", advance)
    resumed = run(RECIPE, photographs, tmp_path / "parts")
    assert resumed["step"] == whole["step"] == 6
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")
    assert lines(tmp_path / "parts", "validation") == lines(tmp_path / "whole", "validation")
    for part in ("phases", "mean", "optimisers"):
        assert same(resumed[part], whole[part]), part


def test_a_run_writes_logs_pictures_and_checkpoints(tmp_path: Path, photographs: list[Photograph]) -> None:
    run(RECIPE, photographs, tmp_path / "run")
    assert [line["step"] for line in lines(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "bpp", "psnr", "gradient", "learning_rate"} <= lines(tmp_path / "run")[0].keys()
    validated = lines(tmp_path / "run", "validation")
    assert [line["step"] for line in validated] == [2, 4, 6]
    assert validated[-1]["bpp0"] < validated[-1]["bpp4"]
    assert sorted(path.name for path in (tmp_path / "run" / "samples").iterdir()) == [
        f"{step:07}.webp" for step in (2, 4, 6)
    ]
    with PILImage.open(tmp_path / "run" / "samples" / "0000006.webp") as picture:
        assert picture.size == (6 * 32, 2 * 32)  # the original and five rates, two crops
    best = checkpoint.load(tmp_path / "run")
    assert best["best"] == min(line["loss"] for line in validated)
    assert not list((tmp_path / "run").glob(".*"))


def test_training_lowers_the_loss(tmp_path: Path, photographs: list[Photograph]) -> None:
    run(replace(RECIPE, steps=60, checkpoint_every=20), photographs, tmp_path / "run")
    validated = lines(tmp_path / "run", "validation")
    assert validated[-1]["loss"] < 0.98 * validated[0]["loss"]


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path, photographs: list[Photograph]) -> None:
    run(replace(RECIPE, steps=2), photographs, tmp_path / "run")
    with pytest.raises(UsageError, match=r"learning_rate = 0\.001, this one 0\.5"):
        run(replace(RECIPE, learning_rate=0.5), photographs, tmp_path / "run")
    assert run(replace(RECIPE, steps=4), photographs, tmp_path / "run")["step"] == 4


def test_what_is_not_a_number_stops_the_run_and_keeps_the_checkpoint(
    tmp_path: Path, photographs: list[Photograph], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = run(replace(RECIPE, steps=2), photographs, tmp_path / "run")
    task = HyperpriorTask(RECIPE, CPU)
    backward = task.backward

    def failing(phase: str, batch, processes: Processes):
        found = backward(phase, batch, processes)
        next(task.network.hyper_analysis.parameters()).grad.fill_(torch.nan)
        return found

    monkeypatch.setattr(task, "backward", failing)
    with pytest.raises(TrainingError, match=r"stopped at step 2.*hyper_analysis\.0\.weight"):
        loop.train(task, RECIPE, photographs, tmp_path / "run", device=CPU, quiet=True)
    assert same(checkpoint.load(tmp_path / "run" / checkpoint.LAST), good)


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path / "last.pt", {"step": 1})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(tmp_path / "last.pt", {"step": 2})
    assert checkpoint.load(tmp_path / "last.pt")["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_damaged_checkpoints_are_errors(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(ModelError, match=r"last\.pt"):
        checkpoint.load(tmp_path / "last.pt")


def test_learning_rates_rise_and_fall() -> None:
    recipe = replace(RECIPE, steps=100, warmup=10, learning_rate=1.0, decay=0.4)
    assert loop.learning_rate(0, recipe) == pytest.approx(0.1)
    assert loop.learning_rate(10, recipe) == loop.learning_rate(60, recipe) == 1
    assert loop.learning_rate(80, recipe) == pytest.approx(0.5)
    assert loop.learning_rate(99, recipe) == pytest.approx(0.025)
    longer = replace(recipe, steps=200)
    assert loop.learning_rate(60, longer) == 1


def test_the_mean_follows_the_weights(tmp_path: Path, photographs: list[Photograph]) -> None:
    task = HyperpriorTask(RECIPE, CPU)
    inside = loop._Run(task, RECIPE, CPU, Processes())
    start = next(inside.mean.parameters()).clone()
    crops, _ = loop._split(photographs, RECIPE)
    inside.advance(next(batches(crops, 0, 1)))
    decay = 2 / 11
    expected = start * decay + next(task.network.parameters()) * (1 - decay)
    assert torch.allclose(next(inside.mean.parameters()), expected)


# ---- Several processes

_WORKER = """
import sys, torch
from pathlib import Path
from dataclasses import replace
sys.path.insert(0, {tests!r})
from hyperprior_models import FAMILY
from aquatint.codecs.hyperprior.architecture import ARCHITECTURES
from aquatint.training import loop
from aquatint.training.data import find_photographs
from aquatint.training.distributed import processes
from aquatint.training.hyperprior import HyperpriorTask
from test_training_loop import RECIPE
ARCHITECTURES["tiny"] = FAMILY["channelwise"]
torch.set_num_threads(1)
recipe = replace(RECIPE, steps=2, rates={rates!r})
with processes(torch.device("cpu")) as group:
    task = HyperpriorTask(recipe, torch.device("cpu"))
    loop.train(task, recipe, find_photographs([Path({data!r})]), Path({out!r}), device=torch.device("cpu"),
               processes=group, quiet=True)
"""


@pytest.mark.parametrize("rates", ["random", "mgda"])
def test_two_processes_have_the_gradients_of_one(
    rates: str, tmp_path: Path, photographs: list[Photograph], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, steps=2, rates=rates)
    alone = run(recipe, photographs, tmp_path / "alone")
    script = tmp_path / "worker.py"
    folders = {"data": str(tmp_path / "photographs"), "out": str(tmp_path / "two"), "tests": str(Path(__file__).parent)}
    script.write_text(_WORKER.format(rates=rates, **folders))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    both = checkpoint.load(tmp_path / "two" / checkpoint.LAST)
    assert both["step"] == 2
    for one, two in zip(lines(tmp_path / "alone"), lines(tmp_path / "two"), strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert two["gradient"] == pytest.approx(one["gradient"], rel=1e-3)
    for name, value in alone["phases"]["network"].items():
        assert torch.allclose(both["phases"]["network"][name], value, atol=2e-4), name


def test_batches_that_cannot_be_shared_are_refused(tmp_path: Path, photographs: list[Photograph]) -> None:
    with pytest.raises(UsageError, match="4 crops cannot be shared by 3 processes"):
        loop.train(HyperpriorTask(RECIPE, CPU), RECIPE, photographs, tmp_path, device=CPU, processes=Processes(0, 3))


# ---- Rates


def test_mgda_steps_along_the_min_norm_combination(photographs: list[Photograph]) -> None:
    recipe = replace(RECIPE, rates="mgda", normalise="none")
    task = HyperpriorTask(recipe, CPU)
    crops, _ = loop._split(photographs, recipe)
    found = task.backward("network", next(batches(crops, 0, 1)), Processes())
    weights = [float(found[f"weight{k}"]) for k in range(8)]
    assert sum(weights) == pytest.approx(1)
    moved = [parameter for parameter in task.network.parameters() if parameter.requires_grad]
    combined = torch.cat([p.grad.flatten() for p in moved if p.grad is not None])
    noisy = next(batches(crops, 0, 1))
    for k, place in enumerate(np.linspace(0, 1, 8)):
        task.network.zero_grad()
        step = torch.full_like(noisy.places, 18.0 ** (1 - place))
        coded = task.network(noisy.pixels, step, noisy.noise)
        losses, _ = task._losses(coded, noisy.pixels, step, balance=0)
        losses.mean().backward()
        own = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in moved])
        # A step along the combination lowers every loss, or leaves it.
        assert own @ combined >= combined @ combined * 0.98, k


def test_hard_steps_round_and_leave_the_analysis_alone(photographs: list[Photograph]) -> None:
    recipe = replace(RECIPE, steps=2, hard=0.5)
    task = HyperpriorTask(recipe, CPU)
    crops, _ = loop._split(photographs, recipe)
    soft, hard = batches(crops, 0, 2)
    task.backward("network", soft, Processes())
    assert any(p.grad is not None and p.grad.any() for p in task.network.analysis.parameters())
    task.network.zero_grad()
    found = task.backward("network", hard, Processes())
    step = task.architecture.max_step**hard.places
    losses, _ = task._losses(task.network(hard.pixels, step, None), hard.pixels, step)
    assert found["loss"].item() == pytest.approx(losses.mean().item(), rel=1e-5)
    assert all(p.grad is None for p in task.network.analysis.parameters())
    assert all(p.grad is None or not p.grad.any() for p in task.network.hyper_analysis.parameters())
    for part in (task.network.context, task.network.prior, task.network.synthesis):
        assert any(p.grad is not None and p.grad.any() for p in part.parameters())


def test_post_training_begins_where_the_base_was(tmp_path: Path, photographs: list[Photograph]) -> None:
    base = replace(RECIPE, architecture="tiny-mean", rates="single", steps=2)
    run(base, photographs, tmp_path / "base")
    from aquatint.training.run import trained

    architecture, weights = trained(tmp_path / "base")
    recipe = Posttrain(steps=1, batch=2, crop=32)
    task = HyperpriorTask(recipe, CPU, (architecture, weights))
    assert task.architecture == replace(architecture, max_step=7.2, offset="mlp", conditioned=True, hyper_step=True)
    before = HyperpriorTask(base, CPU, (architecture, weights)).network
    pixels, step = torch.rand(1, 3, 32, 32), torch.ones(1)
    assert torch.allclose(task.network(pixels, step, None).pixels, before(pixels, step, None).pixels, atol=1e-5)
    assert torch.allclose(task.network(pixels, step, None).bits, before(pixels, step, None).bits, rtol=1e-4)


def test_recipes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="'huge' is not one of"):
        HyperpriorTask(replace(RECIPE, architecture="huge"), CPU)
    with pytest.raises(UsageError, match="has one rate"):
        HyperpriorTask(replace(RECIPE, architecture="tiny-mean"), CPU)
    with pytest.raises(UsageError, match="starts from a trained network"):
        HyperpriorTask(RECIPES["vr-posttrain"], CPU)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_name_architectures_that_suit_their_rates(name: str) -> None:
    recipe = RECIPES[name]
    if not isinstance(recipe, RateDistortion) or isinstance(recipe, Posttrain):
        return
    assert (recipe.rates == "single") == (ARCHITECTURES[recipe.architecture].max_step == 1)


# ---- From the command line to a file


def test_train_export_encode_decode(
    tmp_path: Path, photographs: list[Photograph], photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aquatint.training.run import main

    monkeypatch.setitem(RECIPES, "tiny", RECIPE)
    out = tmp_path / "run"
    arguments = ["--data", str(tmp_path / "photographs"), "--out", str(out), "--steps", "2", "--quiet"]
    main("tiny", arguments)
    monkeypatch.setenv("AQUATINT_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    target = tmp_path / "models" / "mine.safetensors"
    (tmp_path / "shown").mkdir()
    astronaut = __import__("skimage.data").data.astronaut()[:176, :176]  # large enough for MS-SSIM
    PILImage.fromarray(astronaut).save(tmp_path / "shown" / "0.png")
    model = export(out, target, licence="CC0", data="noise", pictures=[tmp_path / "shown"])
    card = json.loads(target.with_suffix(".json").read_text())
    assert card["sha256"].startswith(model.hash.hex())
    assert (card["licence"], card["data"], card["steps"]) == ("CC0", "noise", 2)
    assert list(card["curves"])[:3] == ["model", "jpeg", "webp"]
    for curve in card["curves"].values():
        rates = [point["bpp"] for point in curve]
        assert rates == sorted(set(rates))
    assert [point["quality"] for point in card["curves"]["model"]] == [1, 15, 30, 45, 60, 80, 100]
    for metric, least, most in (("psnr", 20, 45), ("ms_ssim", 0.7, 1)):
        values = [point[metric] for point in card["curves"]["jpeg"]]
        assert values == sorted(values)
        assert least < values[0] < values[-1] < most
    data = aquatint.encode(photo, quality=50, codec="hyperprior", model="mine")
    assert aquatint.probe(data).model_hash == models.find("mine").hash
    assert aquatint.decode(data).pixels.shape == photo.shape
    first = target.read_bytes()
    export(out, target, licence="CC0", data="noise")
    assert target.read_bytes() == first  # the same network has the same hash
    with pytest.raises(UsageError, match=r"ends in \.safetensors"):
        export(out, tmp_path / "mine.bin", licence="", data="")


def test_options_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from aquatint.training.run import main

    with pytest.raises(UsageError, match="recipe 'fast' is not one of"):
        main("fast", [])
    with pytest.raises(SystemExit) as wrong:
        main("compact", ["--out", str(tmp_path)])
    assert wrong.value.code == 2
    assert "--data" in capsys.readouterr().err
