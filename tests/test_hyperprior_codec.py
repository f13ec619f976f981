"""The hyperprior codec: streams, files, and what may go wrong with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("skimage")

from hyperprior_models import FAMILY, LARGEST_LAMBDA, trained  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402

import aquatint  # noqa: E402
from aquatint import Target, container  # noqa: E402
from aquatint.codecs import hyperprior, models  # noqa: E402
from aquatint.codecs.hyperprior.model import Model, load  # noqa: E402
from aquatint.container import Header  # noqa: E402
from aquatint.errors import (  # noqa: E402
    CorruptStreamError,
    MissingModelError,
    ModelError,
    ModelMismatchError,
    TruncatedError,
    UsageError,
)
from aquatint.training.export import weights  # noqa: E402


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of models."""
    monkeypatch.setenv("AQUATINT_MODELS", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def contents() -> dict[str, bytes]:
    """Weights files of trained networks."""
    return {name: weights(trained(name), LARGEST_LAMBDA) for name in FAMILY}


@pytest.fixture
def installed(folder: Path, contents: dict[str, bytes]) -> Path:
    """The user's folder with a model of each family."""
    for name, content in contents.items():
        (folder / f"{name}.safetensors").write_bytes(content)
    return folder


def loaded(name: str) -> Model:
    return load(models.find(name))


def compressed(picture: np.ndarray, target: Target, model: str | None = "channelwise") -> aquatint.Encoded:
    options = aquatint.Options(model=model, threads=1)
    return aquatint.compress(aquatint.from_array(picture), target, options, codec="hyperprior")


# ---- The shipped model


def test_the_shipped_model_is_the_default_and_suits_all_rates() -> None:
    picture = __import__("skimage.data").data.astronaut()
    done = [compressed(picture, Target(quality=quality), model=None) for quality in (1, 50, 100)]
    assert {encoded.header.model_hash for encoded in done} == {models.find("compact").hash}
    assert models.find("compact").path.parent == models.PACKAGED
    assert done[0].bpp < 0.12
    assert done[2].bpp > 1
    assert done[1].report.psnr > 30


# ---- Files


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("size", [(96, 144), (37, 29), (1, 1), (16, 65)])
def test_files_decode_to_what_the_encoder_saw(
    name: str, size: tuple[int, int], installed: Path, photo: np.ndarray
) -> None:
    picture = photo[: size[0], : size[1]]
    encoded = compressed(picture, Target(quality=60), name)
    assert encoded.header.model_hash == loaded(name).hash
    decoded = aquatint.decode(encoded.data, threads=1)
    error = ((decoded.pixels.astype(np.float64) - picture / 255) ** 2).mean()
    assert -10 * np.log10(error) == pytest.approx(encoded.report.psnr, abs=1e-3)


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("quality", [1, 25, 50, 75, 100])
def test_estimated_bits_are_real_bits(name: str, quality: int, installed: Path) -> None:
    photograph = __import__("skimage.data").data.astronaut()[:256, :256]
    encoded = compressed(photograph, Target(quality=quality), name)
    payload = container.read(encoded.data)[1][container.Chunk.PAYLOAD]
    pixels = torch.from_numpy(photograph.astype(np.float32) / 255).permute(2, 0, 1)[None]
    step = loaded(name).step(payload[0])
    with torch.no_grad():
        estimate = float(trained(name)(pixels, torch.tensor([step]), None).bits)
    coder = 8 * 17  # the level and the coder's states
    # The moment of training leaves HiFiC's scales with the largest errors of rounding.
    assert 8 * len(payload) - coder == pytest.approx(estimate, rel=0.02 if name == "hific" else 0.01)
    assert encoded.report.estimated_bits == pytest.approx(8 * len(payload) - coder, rel=0.004)


def test_rate_rises_with_quality_and_error_falls(installed: Path, photo: np.ndarray) -> None:
    done = [compressed(photo, Target(quality=quality)) for quality in (1, 30, 60, 100)]
    assert [len(e.data) for e in done] == sorted(len(e.data) for e in done)
    assert done[-1].report.psnr > done[0].report.psnr + 0.3
    assert len(done[-1].data) > 2 * len(done[0].data)


@pytest.mark.parametrize("factor", [0.2, 0.5, 0.8])
def test_rates_and_sizes_are_met(factor: float, installed: Path) -> None:
    picture = __import__("skimage.data").data.astronaut()[:256, :256]
    least, most = (len(compressed(picture, Target(quality=quality)).data) for quality in (1, 100))
    size = round(least + factor * (most - least))
    found = len(compressed(picture, Target(size=size)).data)
    assert 0.95 * size <= found <= size
    bpp = 8 * size / 256**2
    assert compressed(picture, Target(bpp=bpp)).bpp == pytest.approx(bpp, rel=0.03)


def test_targets_out_of_reach_are_refused(installed: Path, photo: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"a rate of 40 bpp is out of this model's reach"):
        compressed(photo, Target(bpp=40))
    with pytest.raises(UsageError, match="too small"):
        compressed(photo, Target(size=60))
    big = len(compressed(photo, Target(size=10**6)).data)
    assert big == len(compressed(photo, Target(quality=100)).data)


def test_a_lagrangian_is_that_of_its_step(installed: Path, photo: np.ndarray) -> None:
    for lagrangian in (1e-6, 1e-3, 1.0):
        report = compressed(photo, Target(lagrangian=lagrangian)).report
        low, high = (step**2 / (LARGEST_LAMBDA * 255**2) for step in (1, 18))
        assert report.lagrangian == pytest.approx(min(max(lagrangian, low), high), rel=0.02)


@pytest.mark.parametrize("depth", [8, 16])
def test_grayscale_and_deep_pictures(depth: int, installed: Path, photo: np.ndarray) -> None:
    grey = photo[..., 1].astype(np.uint16 if depth == 16 else np.uint8) * (257 if depth == 16 else 1)
    encoded = compressed(grey, Target(quality=100))
    decoded = aquatint.decode(encoded.data)
    assert (decoded.depth, decoded.grayscale) == (depth, True)
    assert -10 * np.log10(((decoded.pixels[..., 0] - grey / (2.0**depth - 1)) ** 2).mean()) > 20


@pytest.mark.filterwarnings("ignore:TF32")
@pytest.mark.parametrize("name", FAMILY)
def test_symbols_do_not_depend_on_floating_point(
    name: str, installed: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = compressed(photo, Target(quality=70), name)
    payload = container.read(encoded.data)[1][container.Chunk.PAYLOAD]
    straight = aquatint.decode(encoded.data, threads=1).pixels
    model = loaded(name)
    before = model.network.synthesis

    def close() -> None:
        found = hyperprior.decode(payload, encoded.header, threads=0)  # raises if a symbol differs
        assert np.abs(found / 255 - straight).max() < 0.04

    with torch.backends.mkldnn.flags(enabled=False):
        close()
    model.network.synthesis = before.to(memory_format=torch.contiguous_format)
    close()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    close()
    torch.set_num_threads(threads)
    with torch.autocast("cpu", torch.bfloat16):
        close()


def test_decoding_reads_no_float_before_the_last_symbol(installed: Path, photo: np.ndarray) -> None:
    encoded = compressed(photo, Target(quality=70))
    payload = container.read(encoded.data)[1][container.Chunk.PAYLOAD]
    with safe_open(installed / "channelwise.safetensors", "numpy") as opened:
        about = opened.metadata()
    arrays = load_file(installed / "channelwise.safetensors")
    for key in arrays:
        if key.startswith("float."):
            arrays[key] = np.zeros_like(arrays[key])
    save_file(arrays, installed / "hollow.safetensors", about)
    header = Header("hyperprior", 144, 96, model_hash=loaded("hollow").hash)
    assert (hyperprior.decode(payload, header, threads=1) == 128).all()


# ---- Golden files: made by tests/make_golden.py, on a machine with other floating point than this one's

DATA = Path(__file__).parent / "data" / "hyperprior"


@pytest.mark.parametrize("model", ["toy", "compact"])
def test_golden_files_decode_everywhere(model: str, folder: Path) -> None:
    shutil.copy(DATA / "toy.safetensors", folder)
    found = aquatint.decode((DATA / f"{model}.aqt").read_bytes(), threads=1).pixels * 255
    assert np.abs(found - np.load(DATA / f"{model}.npy")).max() <= 2.01  # docs/FORMAT.md, 3.3


# ---- What may go wrong


def test_truncated_and_altered_streams_are_errors(installed: Path, photo: np.ndarray) -> None:
    encoded = compressed(photo, Target(quality=40))
    payload = container.read(encoded.data)[1][container.Chunk.PAYLOAD]
    for length in [0, 1, 10, 17, 18, *range(20, len(payload), 37)]:
        with pytest.raises((TruncatedError, CorruptStreamError)):
            hyperprior.decode(payload[:length], encoded.header, threads=1)
    with pytest.raises(CorruptStreamError):
        hyperprior.decode(payload + b"\0", encoded.header, threads=1)
    chance = np.random.default_rng(0)
    refused = 0
    for _ in range(40):
        damaged = bytearray(payload)
        damaged[chance.integers(1, len(payload))] ^= 1 << int(chance.integers(8))
        try:
            hyperprior.decode(bytes(damaged), encoded.header, threads=1)
        except (TruncatedError, CorruptStreamError):
            refused += 1
    assert refused >= 30  # a bit of a raw field changes a latent and nothing else; the container's checksum knows


def test_other_levels_are_errors_not_crashes(installed: Path, photo: np.ndarray) -> None:
    encoded = compressed(photo, Target(quality=40))
    payload = container.read(encoded.data)[1][container.Chunk.PAYLOAD]
    for level in (0, 99, 255):
        with pytest.raises((TruncatedError, CorruptStreamError)):
            hyperprior.decode(bytes([level]) + payload[1:], encoded.header, threads=1)
    single = compressed(photo, Target(quality=40), "scale")
    payload = container.read(single.data)[1][container.Chunk.PAYLOAD]
    with pytest.raises(CorruptStreamError, match="the level of rate is 3; the model has 1"):
        hyperprior.decode(b"\3" + payload[1:], single.header, threads=1)


def test_what_was_encoded_with_a_path_can_be_decoded(installed: Path, tmp_path: Path, photo: np.ndarray) -> None:
    moved = tmp_path / "elsewhere.safetensors"
    (installed / "channelwise.safetensors").rename(moved)
    data = aquatint.encode(photo, codec="hyperprior", model=str(moved))
    assert aquatint.decode(data).pixels.shape == photo.shape
    moved.unlink()
    with pytest.raises(MissingModelError, match="not installed"):
        aquatint.decode(data)


def test_a_missing_model_is_named(installed: Path, photo: np.ndarray) -> None:
    encoded = compressed(photo, Target(quality=40))
    (installed / "channelwise.safetensors").unlink()
    with pytest.raises(MissingModelError, match=encoded.header.model_hash.hex()):
        aquatint.decode(encoded.data)
    assert hyperprior.describe(b"\7", encoded.header)["model"] == "not installed"
    with pytest.raises(CorruptStreamError, match="names no model"):
        hyperprior.decode(b"\7", Header("hyperprior", 8, 8), threads=1)
    with pytest.raises(MissingModelError, match="no model 'channelwise'"):
        compressed(photo, Target(quality=40))


def test_a_model_that_is_not_its_cards_is_refused(installed: Path, photo: np.ndarray) -> None:
    (installed / "scale.json").write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(ModelMismatchError, match="damaged or was exchanged"):
        compressed(photo, Target(quality=40), "scale")


def _with(folder: Path, change) -> str:
    with safe_open(folder / "channelwise.safetensors", "numpy") as opened:
        about = json.loads(opened.metadata()["aquatint"])
    arrays = load_file(folder / "channelwise.safetensors")
    change(arrays, about)
    save_file(arrays, folder / "altered.safetensors", {"aquatint": json.dumps(about)})
    return "altered"


def _falling(arrays: dict[str, np.ndarray], about: dict) -> None:
    arrays["tables.cumulative"][70, 5] = 0
    arrays["tables.cumulative"][70, 4] = 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays, about: arrays.pop("rates.width"), "rates.width"),
        (lambda arrays, about: arrays.update({"rates.width": arrays["rates.width"][:9]}), "rates.width"),
        (lambda arrays, about: arrays["rates.width"].__setitem__(3, 1), "steps must be from 1 to 64"),
        (lambda arrays, about: arrays["tables.shifts"].__setitem__(3, 77), "shift of table 3"),
        (lambda arrays, about: arrays.update({"tables.cumulative": arrays["tables.cumulative"][1:]}), "tables have"),
        (_falling, "table 70"),
        (lambda arrays, about: arrays.pop("integer.earlier.0.0.weight"), "layer 0 are missing"),
        (lambda arrays, about: arrays.pop("float.analysis.linear.weight"), "linear.weight"),
        (lambda arrays, about: about.update(format=2), "format 2"),
        (lambda arrays, about: about.update(kind="vq"), "not a model of the hyperprior codec"),
        (lambda arrays, about: about["architecture"].update(latents=10**9), "1000000000"),
    ],
)
def test_altered_models_are_refused(installed: Path, change, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        loaded(_with(installed, change))


def test_a_file_that_is_no_model_is_refused(folder: Path) -> None:
    (folder / "noise.safetensors").write_bytes(bytes(range(256)))
    with pytest.raises(ModelError, match=r"noise\.safetensors cannot be used"):
        loaded("noise")


def test_the_overfitted_codec_takes_no_model(photo: np.ndarray) -> None:
    with pytest.raises(UsageError, match="no trained models"):
        aquatint.encode(photo, model="channelwise")


def test_models_are_found_by_name_path_and_hash(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    by_name = models.find("scale")
    assert models.find(str(installed / "scale.safetensors")).hash == by_name.hash
    assert models.find_hash(by_name.hash).name == "scale"
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "mine.safetensors"
    elsewhere.write_bytes(by_name.content)
    assert models.add(elsewhere).path == installed / "mine.safetensors"
    assert "mine" in {model.name for model in models.installed()}
    with pytest.raises(MissingModelError, match="no model file"):
        models.find("nowhere.safetensors")


def test_descriptions_name_model_and_step(installed: Path, photo: np.ndarray) -> None:
    encoded = compressed(photo, Target(quality=1))
    payload = container.read(encoded.data)[1][container.Chunk.PAYLOAD]
    about = hyperprior.describe(payload, encoded.header)
    assert (about["model"], about["level"]) == ("channelwise", 0)
    assert about["step"] == pytest.approx(18, rel=1e-3)
    assert about["multiplications_per_pixel"] == encoded.report.multiplications_per_pixel > 0
