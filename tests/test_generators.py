"""Files of generators, and decoding with them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

import aquatint  # noqa: E402
from aquatint import native  # noqa: E402
from aquatint.codecs import models  # noqa: E402
from aquatint.codecs.hyperprior import generators  # noqa: E402
from aquatint.codecs.hyperprior.model import load  # noqa: E402
from aquatint.codecs.hyperprior.transforms import hears_noise, synthesis  # noqa: E402
from aquatint.codecs.models import ModelFile  # noqa: E402
from aquatint.errors import (  # noqa: E402
    DependencyError,
    MissingModelError,
    ModelError,
    ModelMismatchError,
    UsageError,
)
from aquatint.evaluation.coders import parse  # noqa: E402
from aquatint.training.export import generator_weights  # noqa: E402


@pytest.mark.parametrize("generator", ["illm", "perceptual"])
def test_shipped_generators_paint_what_the_shipped_model_leaves_out(photo: np.ndarray, generator: str) -> None:
    encoded = aquatint.encode(photo, codec="hyperprior", bpp=0.2)
    plain, painted, nothing = (
        aquatint.decode(encoded, generator=name, realism=realism).to_array().astype(float)
        for name, realism in ((None, 1.0), (generator, 1.0), (generator, 0.0))
    )
    assert np.array_equal(nothing, plain)
    detail = [np.abs(np.diff(picture.mean(2), axis=1)).mean() for picture in (plain, painted)]
    assert detail[1] > 1.05 * detail[0]
    assert np.abs(painted - plain).mean() < 8


def _generator(model: str, folder: Path, name: str = "illm", **changes: object) -> ModelFile:
    """Installs a generator whose weights are half of those of the model's synthesis."""
    loaded = load(models.find(model))
    architecture = replace(loaded.architecture, **changes)  # type: ignore[arg-type]
    torch.manual_seed(1)
    network = synthesis(architecture)
    if not changes:
        network.load_state_dict({key: value / 2 for key, value in loaded.network.synthesis.state_dict().items()})
    path = folder / f"{model}-{name}.safetensors"
    path.write_bytes(generator_weights(network, name, loaded.hash, architecture))
    path.with_suffix(".json").write_text(json.dumps({"generator": name, "encoder": loaded.hash.hex()}))
    return ModelFile(path)


def test_the_same_file_decodes_with_any_generator(installed: Path, photo: np.ndarray) -> None:
    _generator("one", installed)
    data = aquatint.encode(photo, quality=60, codec="hyperprior", model="one")
    own = aquatint.decode(data).pixels
    assert np.array_equal(aquatint.decode(data, generator="mse").pixels, own)
    assert np.array_equal(aquatint.decode(data, generator="mse", realism=0.3).pixels, own)
    assert np.array_equal(aquatint.decode(data, generator="illm", realism=0).pixels, own)
    painted = aquatint.decode(data, generator="illm").pixels
    assert np.abs(painted - own).max() > 0.05
    path = str(installed / "one-illm.safetensors")
    assert np.array_equal(aquatint.decode(data, generator=path).pixels, painted)


def test_realism_interpolates_weights(installed: Path) -> None:
    _generator("one", installed)
    model = load(models.find("one"))
    own = model.network.synthesis.state_dict()
    mixed = generators.synthesis_for(model, "illm", 0.25).state_dict()
    for key, value in mixed.items():
        assert torch.allclose(value, own[key] * (0.75 + 0.25 / 2), rtol=2e-3, atol=1e-4), key


def test_a_generator_of_another_model_is_refused_by_hash(installed: Path, photo: np.ndarray) -> None:
    _generator("two", installed, "patches")
    data = aquatint.encode(photo, quality=60, codec="hyperprior", model="one")
    one, two = (models.find(name).hash.hex() for name in ("one", "two"))
    for name in ("patches", str(installed / "two-patches.safetensors")):
        with pytest.raises(ModelMismatchError, match=f"belongs to the model with hash {two}.* made with {one}"):
            aquatint.decode(data, generator=name)


def test_what_is_no_generator_is_refused(installed: Path, photo: np.ndarray) -> None:
    data = aquatint.encode(photo, quality=60, codec="hyperprior", model="one")
    with pytest.raises(MissingModelError, match="no generator 'hific'; installed are: mse"):
        aquatint.decode(data, generator="hific")
    with pytest.raises(ModelError, match="it is not a generator"):
        aquatint.decode(data, generator=str(installed / "two.safetensors"))
    with pytest.raises(UsageError, match=r"realism must be from 0 to 1, not 1\.5"):
        aquatint.decode(data, generator="mse", realism=1.5)
    (installed / "cut.safetensors").write_bytes(_generator("one", installed).content[:-100])
    with pytest.raises(ModelError, match=r"cut\.safetensors cannot be used"):
        aquatint.decode(data, generator=str(installed / "cut.safetensors"))
    overfitted = aquatint.encode(photo[:32, :32], quality=20, effort=1)
    with pytest.raises(UsageError, match="overfitted have no generators"):
        aquatint.decode(overfitted, generator="illm")


def test_common_randomness_is_the_formats(installed: Path, photo: np.ndarray) -> None:
    """The channels of a place are the samples of its square in the one field that FORMAT.md describes."""
    _generator("one", installed, noise=2)
    model = load(models.find("one"))
    network = generators.synthesis_for(model, "illm", 1)
    heard: list[torch.Tensor] = []
    network.stages[-2].register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    latents = torch.zeros(2, model.architecture.latents, 3, 5)
    rate = model.network.rate(torch.ones(2))
    with torch.inference_mode():
        network(latents, rate)
    rows, columns = heard[0].shape[2:]
    field = native.noise(0, 2 * rows, 2 * columns)
    for batch, channel, y, x in ((0, 0, 0, 0), (1, 1, 2, 3), (1, 2, rows - 1, 1), (0, 3, 1, columns - 1)):
        wanted = 32 * field[2 * y + channel // 2, 2 * x + channel % 2]
        assert float(heard[0][batch, channel - 4, y, x]) == wanted
    assert float(heard[0][:, -4:].std()) == pytest.approx(np.sqrt(4 / 3), rel=0.1)


def test_realism_raises_common_randomness_from_nothing(installed: Path) -> None:
    _generator("one", installed, noise=2)
    model = load(models.find("one"))
    own, whole = model.network.synthesis, generators.synthesis_for(model, "illm", 1)
    mixed = generators.synthesis_for(model, "illm", 0.25).state_dict()
    key = next(key for key in mixed if hears_noise(key, whole))
    inputs = len(own.state_dict()[key])
    assert torch.allclose(mixed[key][inputs:], 0.25 * whole.state_dict()[key][inputs:], atol=1e-6)
    assert torch.allclose(
        mixed[key][:inputs], torch.lerp(own.state_dict()[key].float(), whole.state_dict()[key][:inputs], 0.25)
    )


def test_a_generator_of_another_structure_has_no_realism_between(installed: Path, photo: np.ndarray) -> None:
    _generator("one", installed, "hific", transform="hific", channels=(4,), blocks=1)
    data = aquatint.encode(photo, quality=60, codec="hyperprior", model="one")
    picture = aquatint.decode(data, generator="hific")
    assert picture.pixels.shape == photo.shape
    with pytest.raises(UsageError, match="realism must be 0 or 1 with the generator hific"):
        aquatint.decode(data, generator="hific", realism=0.5)


def test_a_generator_is_no_model_to_encode_with(installed: Path, photo: np.ndarray) -> None:
    _generator("one", installed)
    with pytest.raises(ModelError, match="not a model of the hyperprior codec"):
        aquatint.encode(photo, quality=60, codec="hyperprior", model="one-illm")


def test_an_evaluation_names_generators_after_a_plus(installed: Path, photo: np.ndarray) -> None:
    (coder,) = parse(["hyperprior+patches"])
    assert coder.name == "hyperprior+patches:e5"
    with pytest.raises(DependencyError, match="there is no generator 'patches'"):
        coder.describe()
    file = _generator("one", installed, "patches")
    assert coder.describe()["settings"]["generators"] == [file.hash.hex()]  # type: ignore[index]
    data = aquatint.encode(photo, quality=60, codec="hyperprior", model="one")
    painted = aquatint.decode(data, generator="patches").to_array()
    assert np.array_equal(coder.decode(data, threads=1), painted)
    assert not np.array_equal(parse(["hyperprior"])[0].decode(data, threads=1), painted)
    with pytest.raises(UsageError, match="overfitted has no generators"):
        parse(["overfitted+illm"])
