"""The hyperprior codec: integers, streams, files, and what may go wrong with them."""

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
from scipy import stats  # noqa: E402
from torch import nn  # noqa: E402

import aquatint  # noqa: E402
from aquatint import Target, container, native  # noqa: E402
from aquatint.codecs import hyperprior, models  # noqa: E402
from aquatint.codecs.hyperprior import tables  # noqa: E402
from aquatint.codecs.hyperprior.coding import scale_index, scale_logarithm  # noqa: E402
from aquatint.codecs.hyperprior.integers import LIMIT, ONE, IntegerNetwork, fixed, quantised, scaled  # noqa: E402
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


# ---- Integers


def test_gaussian_tables_are_the_distribution() -> None:
    cumulative, shifts = tables.gaussian_tables()
    assert cumulative.shape == (64, 32)
    frequencies = np.diff(cumulative.astype(int), axis=1, append=65536)
    assert (frequencies >= 0).all()
    assert (frequencies[:, -1] >= 1).all()
    values = np.arange(-4000, 4001)
    for row in range(64):
        bits = tables.costs(cumulative, shifts, values, np.full(len(values), row))
        assert (2**-bits).sum() <= 1 + 1e-9  # a code that can be decoded
        mass = np.diff(stats.norm.cdf(np.append(values - 0.5, 4000.5), scale=0.11 * 2 ** (row / 5)))
        entropy = -(mass[mass > 0] * np.log2(mass[mass > 0])).sum()
        assert entropy - 1e-3 <= (mass * bits).sum() <= entropy + (0.002 if shifts[row] == 0 else 0.02)


@pytest.mark.parametrize(("scale", "shift"), [(0.4, 0), (3.0, 0), (30.0, 4), (100.0, 5)])
def test_density_tables_are_the_distribution(scale: float, shift: int) -> None:
    numbers = np.arange(-1023, 1024)
    location = 17.3
    logits = (numbers - 0.5 - location) / (scale * 3**0.5 / np.pi)  # a logistic distribution
    table, shifts, centres = tables.density_tables(logits[None], -1023)
    assert (shifts.tolist(), centres.tolist()) == ([shift], [17])
    mass = np.diff(stats.logistic.cdf(np.append(logits, (1023.5 - location) / (scale * 3**0.5 / np.pi))))
    bits = tables.costs(table, shifts, numbers - centres, np.zeros(len(numbers), int))
    entropy = -(mass[mass > 0] * np.log2(mass[mass > 0])).sum()
    assert entropy - 1e-3 <= (mass * bits).sum() <= entropy * 1.01 + 0.02


def test_scale_indices_are_those_of_the_nearest_table() -> None:
    rows = np.arange(64)
    logarithms = np.rint(scale_logarithm(rows).astype(np.float64) * ONE)
    assert (scale_index(logarithms) == rows).all()
    assert (scale_index(logarithms + 100) == rows).all()
    assert scale_index(np.array([-LIMIT, LIMIT])).tolist() == [0, 63]


def test_scaled_rounds_and_clips() -> None:
    values = np.array([1.0, 3.0, -3.0, LIMIT])
    assert scaled(values, 1 << 15).tolist() == [1, 2, -1, LIMIT // 2]
    assert scaled(values, 1 << 17).tolist() == [2, 6, -6, LIMIT]


@pytest.mark.parametrize("groups", [1, 2])
def test_integer_networks_agree_with_their_originals(groups: int) -> None:
    torch.manual_seed(2)
    structure = nn.Sequential(
        nn.ConvTranspose2d(3, 6, 5, stride=2, padding=2, output_padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(6, 4, 5, stride=2, padding=2, output_padding=1, groups=groups),
        nn.ReLU(),
        nn.Conv2d(4, 8, 3, padding=1, groups=groups),
        nn.PixelShuffle(2),
        nn.Conv2d(2, 4, 1),
    ).double()
    x = torch.randint(-40, 40, (3, 5, 7)).double()
    found = IntegerNetwork(structure, quantised(structure))(fixed(x.numpy()))
    expected = structure(x[None])[0].detach().numpy()
    assert found.shape == expected.shape
    assert np.array_equal(found, np.rint(found))
    assert found / ONE == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("isa", native.instruction_sets())
@pytest.mark.parametrize("outputs", [1, 16, 37])
def test_layers_of_columns_are_exact(outputs: int, isa: str) -> None:
    chance = np.random.default_rng(outputs)
    weights = chance.integers(-(2**15), 2**15, (outputs, 300), dtype=np.int16)
    bias = chance.integers(-(2**31), 2**31, outputs).astype(np.float64)
    layer = native.ColumnLayer(weights, bias, 13, LIMIT, isa=isa)
    for count in (1, 3, 8, 15):
        columns = chance.integers(-LIMIT, LIMIT, (300, count))
        exact = weights.astype(object) @ columns.astype(object) + bias.astype(np.int64).astype(object)[:, None]
        expected = np.clip((exact + (1 << 12)) >> 13, -LIMIT, LIMIT).astype(np.float64)
        assert np.array_equal(layer(columns.astype(np.float64)), expected)
    with pytest.raises(ValueError, match="300 rows, not 2"):
        layer(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="a bias for each output"):
        native.ColumnLayer(weights, np.zeros(outputs + 1), 13, LIMIT)


def test_integer_sums_do_not_depend_on_their_order() -> None:
    layer = nn.Conv2d(300, 2, 3, padding=1)
    network = IntegerNetwork([layer], quantised([layer]))
    x = np.random.default_rng(0).integers(-LIMIT, LIMIT, (300, 4, 5)).astype(np.float64)
    (convolution,) = network.layers
    order = np.random.default_rng(1).permutation(2700)
    columns = np.random.default_rng(2).integers(-LIMIT, LIMIT, (2700, 50)).astype(np.float64)
    permuted = type(convolution)(convolution.weight[:, order], convolution.bias, 1, convolution.exponent)
    straight = type(convolution)(convolution.weight, convolution.bias, 1, convolution.exponent)
    assert np.array_equal(permuted.of_columns(columns[order]), straight.of_columns(columns))
    exact = convolution.weight.astype(object) @ columns.astype(np.int64).astype(object)
    expected = [
        [(int(v) + int(b) + (1 << convolution.exponent >> 1)) >> convolution.exponent for v in row]
        for row, b in zip(exact, convolution.bias, strict=True)
    ]
    assert straight.of_columns(columns).tolist() == np.clip(np.array(expected, float), -LIMIT, LIMIT).tolist()
    assert network(x).shape == (2, 4, 5)


def test_large_pictures_are_convolved_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Conv2d(2, 3, 3, padding=1)
    network = IntegerNetwork([layer], quantised([layer]))
    x = np.random.default_rng(0).integers(-1000, 1000, (2, 11, 6)).astype(np.float64)
    whole = network(x)
    monkeypatch.setattr("aquatint.codecs.hyperprior.integers._BAND", 7)
    assert np.array_equal(network(x), whole)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("0.weight", lambda a: a[:, :1]),
        ("0.weight", lambda a: a.astype(np.int32)),
        ("0.bias", lambda a: a[:-1]),
        ("0.exponent", lambda a: a + 20),
        ("0.exponent", lambda a: a[:0]),
    ],
)
def test_tampered_integer_weights_are_refused(name: str, change) -> None:
    layer = nn.Conv2d(2, 3, 3, padding=1)
    arrays = quantised([layer])
    arrays[name] = change(arrays[name])
    with pytest.raises(CorruptStreamError, match="layer 0"):
        IntegerNetwork([layer], arrays)


# ---- The coder


def test_numbers_survive_with_any_table() -> None:
    chance = np.random.default_rng(0)
    cumulative, shifts = tables.gaussian_tables()
    coder = native.NumberTables(cumulative, shifts)
    rows = chance.integers(0, 64, 5000).astype(np.uint16)
    scales = 0.11 * 2 ** (rows / 5)
    values = np.rint(chance.normal(0, scales)).astype(np.int32)
    values[::500] = chance.integers(-(2**15), 2**15 + 1, 10)  # far out of any table
    data = native.encode_numbers(coder, values, rows)
    reader = native.NumberReader(coder, data)
    parts = [reader.read(rows[start : start + 999]) for start in range(0, 5000, 999)]
    reader.finish()
    assert np.array_equal(np.concatenate(parts), values)
    assert 8 * len(data) == pytest.approx(tables.costs(cumulative, shifts, values, rows).sum() + 128, rel=1e-3)


def test_wrong_arguments_of_the_coder_are_refused() -> None:
    cumulative, shifts = tables.gaussian_tables()
    coder = native.NumberTables(cumulative, shifts)
    one = np.zeros(1, np.int32)
    with pytest.raises(UsageError, match="number of a table is 64"):
        native.encode_numbers(coder, one, np.array([64], np.uint16))
    with pytest.raises(UsageError, match="a number is 32769"):
        native.encode_numbers(coder, one + 32769, np.array([0], np.uint16))
    with pytest.raises(UsageError, match="2 tables given for 1 numbers"):
        native.encode_numbers(coder, one, np.array([0, 0], np.uint16))
    falling = cumulative.copy()
    falling[3, 7], falling[3, 8] = 9, 8
    with pytest.raises(UsageError, match="table 3"):
        native.NumberTables(falling, shifts)
    with pytest.raises(UsageError, match="63 shifts"):
        native.NumberTables(cumulative, shifts[:-1].copy())
    with pytest.raises(TruncatedError):
        native.NumberReader(coder, bytes(15))
    reader = native.NumberReader(coder, native.encode_numbers(coder, one, np.array([0], np.uint16)))
    with pytest.raises(UsageError, match="number of a table is 64"):
        reader.read(np.array([64], np.uint16))


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
