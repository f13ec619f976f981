"""Pictures of noise with a model of the extreme codec: symbols at random, and a sampler that is trained for them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

torch = pytest.importorskip("torch")
pytest.importorskip("tyro")
pytest.importorskip("safetensors")
pytest.importorskip("skimage")

from extreme_models import SELECTIVE, SMALL, trained  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import aquatint  # noqa: E402
from aquatint.cli import app  # noqa: E402
from aquatint.codecs.extreme.sampler import Critic, Sampler, Shape  # noqa: E402
from aquatint.codecs.extreme.sampling import sample  # noqa: E402
from aquatint.errors import LimitError, ModelError, UsageError  # noqa: E402
from aquatint.training import checkpoint, run  # noqa: E402
from aquatint.training.adversarial.sampler import SamplerTask, gradient_penalty  # noqa: E402
from aquatint.training.data import Batch  # noqa: E402
from aquatint.training.distributed import Processes  # noqa: E402
from aquatint.training.export import export, extreme_weights  # noqa: E402
from aquatint.training.recipes import ExtremeSampler  # noqa: E402

CPU = torch.device("cpu")
RECIPE = ExtremeSampler(steps=6, batch=2, crop=256, encoder="small", width=2)


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of models, with small ones."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("AQUATINT_MODELS", str(folder))
    for name, architecture in (("small", SMALL), ("selective", SELECTIVE)):
        (folder / f"{name}.safetensors").write_bytes(extreme_weights(trained(architecture)))
    return folder


def batch_of(step: int) -> Batch:
    pixels = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    return Batch(pixels, torch.tensor([0.2, 0.7]), torch.tensor([3, 4]), step)


def test_symbols_at_random_are_pictures_of_their_seeds() -> None:
    first, second = sample("small", (40, 56), count=2)
    assert first.shape == (40, 56, 3)
    assert first.std() > 2
    assert not np.array_equal(first, second)
    assert np.array_equal(first, sample("small", (40, 56), count=2)[0])
    assert not np.array_equal(first, sample("small", (40, 56), seed=1)[0])
    assert sample("small", None)[0].shape == (256, 256, 3)


@pytest.mark.parametrize(
    ("size", "options", "error", "message"),
    [
        ((0, 9), {}, UsageError, "1 to 65535 rows and columns, not 0 and 9"),
        ((9, 9), {"count": 257}, UsageError, "there may be 1 to 256 pictures, not 257"),
        ((65535, 65535), {}, LimitError, "exceed the limit"),
        (None, {"codes": "small"}, ModelError, "it is not a sampler"),
        (None, {"model": "selective"}, UsageError, "this one needs labels"),
    ],
)
def test_samples_out_of_range_are_refused(
    size: tuple[int, int] | None, options: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        sample(options.pop("model", "small"), size, **options)


def test_the_networks_are_those_of_the_paper() -> None:
    shape = Shape(4, 32, 64, 64)
    with torch.device("meta"):
        made = Sampler(shape)(torch.zeros(3, 128))
        assert made.shape == (3, 4, 32, 64)
        assert Critic(shape)(made).shape == (3,)
    for wrong in ((4, 20, 64, 64), (4, 32, 0, 64), (17, 32, 64, 64), (4, 32, 64, 0)):
        with pytest.raises(UsageError, match="must be"):
            Shape(*wrong)


def test_the_penalty_is_that_of_the_gradient() -> None:
    weight = torch.tensor([3.0, 4.0])
    real, fake = torch.randn(2, 5, 2).unbind()
    places = torch.rand(5, 1)
    assert gradient_penalty(lambda x: x @ weight, real, fake, places).item() == pytest.approx(16)  # type: ignore[arg-type]
    # |2 x| at the places, which are between the samples.
    found = gradient_penalty(lambda x: x.square().sum(1), real, fake, places)  # type: ignore[arg-type]
    between = real + places * (fake - real)
    assert found.item() == pytest.approx(float((2 * between.norm(dim=1) - 1).square().mean()), rel=1e-5)


def test_the_sampler_moves_in_every_fifth_step() -> None:
    task = SamplerTask(RECIPE, CPU)
    assert list(task.phases) == ["critic", "sampler"]
    for step in range(5):
        task.network.zero_grad(set_to_none=True)
        assert task.backward("critic", batch_of(step), Processes())["penalty"] > 0
        assert all(parameter.grad is None for parameter in task.network.parameters())
        task.backward("sampler", batch_of(step), Processes())
        moved = any(parameter.grad is not None for parameter in task.network.parameters())
        assert moved == (step == 4)


def test_from_a_model_to_samples(tmp_path: Path, installed: Path) -> None:
    (tmp_path / "photographs").mkdir()
    photograph = __import__("skimage.data").data.astronaut()[:300, :300]
    PILImage.fromarray(photograph).save(tmp_path / "photographs" / "0.png")
    options = ["--data", str(tmp_path / "photographs"), "--out", str(tmp_path / "run"), "--encoder", "small", "--quiet"]
    options += ["--steps", "5", "--batch", "2", "--width", "2", "--threads", "1", "--validation-crops", "2"]
    run.main("extreme-sampler", options)
    assert checkpoint.load(tmp_path / "run")["task"]["shape"]["rows"] == 16
    model = export(tmp_path / "run", tmp_path / "noise.safetensors", licence="CC0", data="one crop")
    tensors = load_file(model.path)
    tensors["leave.2.weight"] *= 100  # in five steps it has not learned to leave 0
    with safe_open(model.path, "numpy") as opened:
        save_file(tensors, installed / "noise.safetensors", opened.metadata())
    command = CliRunner()
    out = tmp_path / "out.png"
    found = command.invoke(app, ["sample", "small", str(out), "-n", "3", "--codes", "noise"])
    assert (found.exit_code, found.output) == (0, "")
    grid = aquatint.read(out).pixels
    assert grid.shape == (512, 512, 3)
    assert not grid[256:, 256:].any()  # three of four places
    assert not np.array_equal(grid[:256, :256], grid[:256, 256:])
    with pytest.raises(UsageError, match="makes pictures of 256x256 pixels, no others"):
        sample("small", (64, 64), codes="noise")
    about = {"kind": "sampler", "format": 1, "encoder": "00" * 8, "shape": Shape(4, 16, 16, 2).to_json()}
    save_file(tensors, installed / "other.safetensors", {"aquatint": json.dumps(about)})
    with pytest.raises(ModelError, match="belongs to the model 0000000000000000, not to"):
        sample("small", None, codes="other")
    save_file({}, installed / "empty.safetensors", {"aquatint": json.dumps(about)})
    with pytest.raises(ModelError, match="cannot be used"):
        sample("small", None, codes="empty")


def test_the_command_samples_symbols_at_random(tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    found = CliRunner().invoke(app, ["sample", "small", str(out), "--width", "32", "--height", "20", "-n", "2"])
    assert (found.exit_code, found.output) == (0, "")
    assert aquatint.read(out).pixels.shape == (20, 64, 3)


def test_samplers_need_models_of_whole_pictures() -> None:
    with pytest.raises(UsageError, match="this one needs labels"):
        SamplerTask(ExtremeSampler(steps=1, encoder="selective"), CPU)
    with pytest.raises(UsageError, match="crop must be a multiple of 16, not 250"):
        SamplerTask(ExtremeSampler(steps=1, encoder="small", crop=250), CPU)
