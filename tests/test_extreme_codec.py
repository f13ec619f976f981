"""The extreme codec: its symbols and files, generative and selective, and what may go wrong with them."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("skimage")

from extreme_models import PAPER, SELECTIVE, SELECTIVE_PAPER, SMALL, halves, trained  # noqa: E402
from PIL import Image as PILImage  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import aquatint  # noqa: E402
from aquatint import Target, container  # noqa: E402
from aquatint.cli import app  # noqa: E402
from aquatint.codecs import extreme, models  # noqa: E402
from aquatint.codecs.extreme import regions  # noqa: E402
from aquatint.codecs.extreme.architecture import ARCHITECTURES, CAMVID  # noqa: E402
from aquatint.codecs.extreme.coding import code  # noqa: E402
from aquatint.codecs.extreme.context import static_odds, symbol_bits  # noqa: E402
from aquatint.codecs.extreme.decoder import STATIC, read  # noqa: E402
from aquatint.codecs.extreme.model import Model, load  # noqa: E402
from aquatint.codecs.turns import Reader, Writer  # noqa: E402
from aquatint.container import Header  # noqa: E402
from aquatint.errors import (  # noqa: E402
    CorruptStreamError,
    MissingModelError,
    ModelError,
    RateError,
    TruncatedError,
    UsageError,
)
from aquatint.evaluation.coders import parse  # noqa: E402
from aquatint.training.export import extreme_weights  # noqa: E402

MODELS = {"small": SMALL, "paper": PAPER, "selective": SELECTIVE, "selective-paper": SELECTIVE_PAPER}


@pytest.fixture(scope="session")
def contents() -> dict[str, bytes]:
    """Weights files of small networks."""
    return {name: extreme_weights(trained(architecture)) for name, architecture in MODELS.items()}


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contents: dict[str, bytes]) -> Path:
    """The user's folder of models, with small ones."""
    monkeypatch.setenv("AQUATINT_MODELS", str(tmp_path))
    for name, content in contents.items():
        (tmp_path / f"{name}.safetensors").write_bytes(content)
    return tmp_path


def model(name: str = "small") -> Model:
    return load(models.find(name))


def photograph(height: int = 96, width: int = 128) -> np.ndarray:
    return __import__("skimage.data").data.astronaut()[100 : 100 + height, 150 : 150 + width]


def labels_of(picture: np.ndarray) -> np.ndarray:
    return halves(*picture.shape[:2]).numpy()


def compressed(picture: np.ndarray, target: Target | None = None, **options: object) -> aquatint.Encoded:
    chosen = aquatint.Options(**{"model": "small", "threads": 1, **options})  # type: ignore[arg-type]
    return aquatint.compress(aquatint.from_array(picture), target or Target(quality=100), chosen, codec="extreme")


def payload_of(encoded: aquatint.Encoded) -> bytes:
    return container.read(encoded.data)[1][container.Chunk.PAYLOAD]


# ---- Symbols


def random_symbols(channels: int, shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(-2, 3, (channels, *shape)).astype(np.int32)


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("channels", [2, 4])
def test_symbols_survive(channels: int, static: bool) -> None:
    symbols, mask = random_symbols(channels, (7, 9)), np.ones((7, 9), bool)
    writer = Writer()
    code(model(), channels, mask, writer, symbols, static=static)
    reader = Reader(writer.stream())
    assert np.array_equal(code(model(), channels, mask, reader, static=static), symbols)
    reader.finish()


def test_what_is_masked_costs_nothing() -> None:
    symbols, mask = random_symbols(2, (7, 9)), np.zeros((7, 9), bool)
    for static in (False, True):
        nothing, some = Writer(), Writer()
        assert not code(model(), 2, mask, nothing, symbols, static=static).any()
        assert (nothing.bits, len(nothing.stream())) == (0, 16)
        mask[2:4, 3:5] = True
        found = code(model(), 2, mask, some, symbols * mask, static=static)
        assert np.array_equal(found, symbols * mask)
        assert 0 < some.bits < 8 * 12
        mask[:] = False


def test_bits_in_training_are_those_of_the_coder() -> None:
    network = trained(SMALL)
    picture = torch.from_numpy(photograph().astype(np.float32) / 255).permute(2, 0, 1)[None]
    with torch.no_grad():
        symbols = network.symbols(network.latents(picture), torch.ones(1, 1, 1, 1))
        expected = float(symbol_bits(network.context(symbols), symbols).sum())
    writer = Writer()
    code(model(), 4, np.ones((6, 8), bool), writer, symbols[0].numpy().astype(np.int32))
    assert writer.bits == pytest.approx(expected, rel=0.01)


def test_the_static_code_has_the_entropy_of_its_frequencies() -> None:
    frequencies = np.array([[0.1, 0.2, 0.3, 0.25, 0.15]])
    odds = torch.from_numpy(static_odds(frequencies))[None, :, :, None, None].expand(-1, -1, -1, 1, 5)
    bits = symbol_bits(odds, torch.arange(-2.0, 3.0).reshape(1, 1, 1, 5))
    assert bits.flatten().numpy() == pytest.approx(-np.log2(frequencies[0]), rel=1e-5)


# ---- Files


@pytest.mark.parametrize("effort", [1, 5])
@pytest.mark.parametrize(
    ("name", "shape"),
    [("small", (96, 128)), ("small", (1, 1)), ("small", (17, 50)), ("paper", (33, 17)), ("paper", (1, 1))],
)
def test_files_decode_to_what_the_encoder_saw(name: str, shape: tuple[int, int], effort: int) -> None:
    picture = photograph(*shape)
    encoded = compressed(picture, model=name, effort=effort)
    decoded = aquatint.decode(encoded.data, threads=1).to_array()
    assert decoded.shape == picture.shape
    error = np.square(decoded / 255.0 - picture / 255.0).mean()
    assert encoded.report.psnr == pytest.approx(-10 * np.log10(error), abs=1e-3)


def test_a_photograph_takes_a_kilobyte() -> None:
    photo = np.tile(photograph(128, 128), (4, 6, 1))
    encoded = compressed(photo, Target(quality=1))
    assert encoded.header.width, encoded.header.height == (768, 512)
    assert len(encoded.data) < 940  # at most 892 bytes of symbols
    static = compressed(photo, Target(quality=1), effort=1)
    assert payload_of(static)[0] == STATIC | 2
    assert len(encoded.data) < len(static.data) < 940


@pytest.mark.parametrize("effort", [1, 5])
def test_estimated_bits_are_real_bits(effort: int) -> None:
    encoded = compressed(photograph(256, 256), effort=effort)
    real = 8 * len(payload_of(encoded))
    assert encoded.report.estimated_bits <= real <= encoded.report.estimated_bits + 8 + 128 + 32


def test_quality_chooses_channels() -> None:
    found = [compressed(photograph(), Target(quality=quality)) for quality in (1, 50, 51, 100)]
    assert [payload_of(one)[0] for one in found] == [2, 2, 4, 4]
    assert found[-1].report.psnr > found[0].report.psnr + 0.5


def test_targets_choose_channels() -> None:
    small, large = (len(compressed(photograph(), Target(quality=quality)).data) for quality in (1, 100))
    assert len(compressed(photograph(), Target(size=large)).data) == large
    assert len(compressed(photograph(), Target(size=large - 1)).data) == small
    bpp = 8 * small / (96 * 128)
    assert len(compressed(photograph(), Target(bpp=1.01 * bpp)).data) == small
    with pytest.raises(RateError, match=r"a rate of 3 bpp is out of this model's reach: the nearest one .* is 0\.\d+"):
        compressed(photograph(), Target(bpp=3))
    with pytest.raises(UsageError, match="is too small"):
        compressed(photograph(), Target(size=small - 1))
    assert len(compressed(photograph(), Target(lagrangian=1e-5)).data) == large
    assert len(compressed(photograph(), Target(lagrangian=10)).data) == small


def test_an_evaluation_takes_the_nearest_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(models.DEFAULTS, "extreme", "small")
    (coder,) = parse(["extreme"])
    small = compressed(photograph(), Target(quality=1))
    assert coder.encode(photograph(), 1.1 * small.bpp, threads=1).data == small.data


@pytest.mark.parametrize("effort", [1, 5])
def test_damaged_payloads_are_refused_or_decoded(effort: int) -> None:
    for name in ("small", "selective"):
        picture = photograph(48, 80)
        chosen = {} if name == "small" else {"labels": labels_of(picture), "preserve": ["box=16,16,40,40"]}
        encoded = compressed(picture, effort=effort, model=name, **chosen)
        header, payload = encoded.header, payload_of(encoded)
        for length in range(0, len(payload), 7):
            with pytest.raises((TruncatedError, CorruptStreamError)):
                read(model(name), payload[:length], 48, 80)
        with pytest.raises(CorruptStreamError):
            extreme.decode(payload + b"\0", header, threads=1)
        chance = np.random.default_rng(0)
        for _ in range(15):
            hostile = bytearray(payload)
            for place in chance.integers(len(payload), size=3):
                hostile[place] = chance.integers(256)
            try:
                content = read(model(name), bytes(hostile), 48, 80)
            except (TruncatedError, CorruptStreamError):
                continue
            assert np.abs(content.symbols).max() <= 2


@pytest.mark.parametrize("first", [0, 3, 5, STATIC, STATIC | 3])
def test_channels_that_the_model_has_not_are_refused(first: int) -> None:
    header = compressed(photograph(16, 16)).header
    with pytest.raises(CorruptStreamError, match=rf"has {first & 127} channels; the model has \(2, 4\)"):
        extreme.decode(bytes([first]) + bytes(40), header, threads=1)


def test_files_without_a_model_are_refused(installed: Path) -> None:
    encoded = compressed(photograph(16, 16))
    with pytest.raises(CorruptStreamError, match="names no model"):
        extreme.decode(b"\2", Header("extreme", 2, 2), threads=1)
    with pytest.raises(TruncatedError, match="is empty"):
        extreme.decode(b"", encoded.header, threads=1)
    (installed / "small.safetensors").unlink()
    with pytest.raises(MissingModelError, match="not installed"):
        aquatint.decode(encoded.data)
    assert extreme.describe(payload_of(encoded), encoded.header)["model"] == "not installed"


def test_models_that_are_not_whole_are_refused(installed: Path) -> None:
    tensors = load_file(installed / "small.safetensors")
    about = {"kind": "extreme", "format": 1, "architecture": SMALL.to_json()}
    broken = {
        "less": ({name: value for name, value in tensors.items() if name != "static"}, about),
        "misshapen": ({**tensors, "static": tensors["static"][:1]}, about),
        "wide": (tensors, {**about, "architecture": PAPER.to_json()}),
        "later": (tensors, {**about, "format": 2}),
        "other": (tensors, {**about, "kind": "transport"}),
    }
    for name, (values, said) in broken.items():
        save_file(values, installed / f"{name}.safetensors", {"aquatint": json.dumps(said)})
        with pytest.raises(ModelError, match="cannot be used"):
            model(name)
    said = {"aquatint": json.dumps(about)}
    save_file({"octets": np.zeros(8, np.uint8)}, installed / "octets.safetensors", said)
    content = (installed / "octets.safetensors").read_bytes()
    unknown = content.replace(b'"dtype":"U8"', b'"dtype":"F8_E5M2"')
    length = int.from_bytes(content[:8], "little") + len(unknown) - len(content)
    (installed / "octets.safetensors").write_bytes(length.to_bytes(8, "little") + unknown[8:])
    with pytest.raises(ModelError, match="tensors cannot be read"):  # numpy has no such numbers
        model("octets")
    (installed / "noise.safetensors").write_bytes(bytes(range(256)))
    with pytest.raises(ModelError, match="is damaged"):
        model("noise")


def test_other_objectives_are_refused() -> None:
    with pytest.raises(UsageError, match="tuned already"):
        compressed(photograph(16, 16), tune="wd")


@pytest.mark.parametrize(("chosen", "name"), [(None, "gc"), ("gc-street", "gc-street")])
def test_the_shipped_models_of_whole_pictures_have_three_rates(chosen: str | None, name: str) -> None:
    picture = aquatint.from_array(__import__("skimage.data").data.astronaut())
    options = aquatint.Options(model=chosen, threads=1)
    done = [aquatint.compress(picture, Target(quality=q), options, codec="extreme") for q in (1, 50, 100)]
    assert {encoded.header.model_hash for encoded in done} == {models.find(name).hash}
    assert models.find(name).path.parent == models.PACKAGED
    assert done[0].bpp < 0.02 < done[1].bpp < 0.04 < done[2].bpp < 0.08
    assert done[0].report.psnr < done[1].report.psnr < done[2].report.psnr


def test_the_shipped_model_of_street_scenes_codes_what_is_preserved_alone(coffee: np.ndarray) -> None:
    pixels = coffee[:240, :320]
    labels = np.zeros(pixels.shape[:2], np.uint8)
    labels[120:], labels[80:200, 100:220] = 3, 8  # a car on a road before the sky
    sizes = []
    for chosen in ("none", "classes=car", "all"):
        data = aquatint.encode(pixels, codec="extreme", model="sc", labels=labels, preserve=[chosen], quality=100)
        assert aquatint.decode(data).to_array().shape == pixels.shape
        sizes.append(len(data))
    assert sizes[0] < 150 < sizes[1] < sizes[2] / 2


# ---- A golden file: made by tests/make_golden.py, perhaps on a machine with other floating point than this one's


def test_the_golden_file_decodes_everywhere(installed: Path) -> None:
    golden = Path(__file__).parent / "data" / "extreme"
    shutil.copy(golden / "toy.safetensors", installed)
    data = (golden / "toy.aqt").read_bytes()
    content = read(model("toy"), container.read(data)[1][container.Chunk.PAYLOAD], 96, 144)
    with np.load(golden / "toy.npz") as known:
        for name, value in vars(content).items():
            assert np.array_equal(value, known[name]), name
        assert content.symbols.any()
        assert 0 < content.mask.mean() < 1
        differences = aquatint.decode(data, threads=1).to_array().astype(int) - known["pixels"]
    assert np.abs(differences).max() <= 2


# ---- Selective compression


def test_everything_and_nothing_may_be_preserved() -> None:
    picture = photograph()
    everything, nothing, default = (
        compressed(picture, model="selective", labels=labels_of(picture), preserve=preserve)
        for preserve in (["all"], ["none"], None)
    )
    assert everything.data == default.data
    assert len(nothing.data) < len(everything.data) - 40
    decoded = [aquatint.decode(encoded.data, threads=1).to_array() for encoded in (everything, nothing)]
    assert np.abs(decoded[0].astype(int) - decoded[1]).mean() > 5
    about = extreme.describe(payload_of(nothing), nothing.header)
    assert (about["model"], about["preserved"]) == ("selective", 0.0)


@pytest.mark.parametrize("name", ["selective", "selective-paper"])
@pytest.mark.parametrize("shape", [(96, 128), (1, 1), (17, 50)])
def test_labels_mask_and_symbols_survive(name: str, shape: tuple[int, int]) -> None:
    picture = photograph(*shape)
    labels = labels_of(picture)
    encoded = compressed(picture, model=name, labels=labels, preserve=["classes=tree", "box=0,0,1,1"])
    content = read(model(name), payload_of(encoded), *shape)
    architecture = MODELS[name]
    assert content.labels is not None
    assert np.array_equal(content.labels, regions.reduced(architecture, labels, *shape))
    wanted = labels == 2
    wanted[0, 0] = True
    assert np.array_equal(content.mask, regions.on_grid(architecture, wanted))
    assert not content.symbols[:, ~content.mask].any()
    decoded = aquatint.decode(encoded.data, threads=1).to_array()
    error = np.square(decoded / 255.0 - picture / 255.0).mean()
    assert encoded.report.psnr == pytest.approx(-10 * np.log10(error), abs=1e-3)


def test_with_all_preserved_selective_is_plain_coding() -> None:
    picture = photograph()
    encoded = compressed(picture, model="selective", labels=labels_of(picture))
    content = read(model("selective"), payload_of(encoded), 96, 128)
    writer = Writer()
    code(model("selective"), 4, np.ones((6, 8), bool), writer, content.symbols)
    labels_and_mask = encoded.report.estimated_bits - writer.bits
    assert 0 < labels_and_mask < 8 * 60


def test_a_symbol_is_preserved_if_a_pixel_of_it_is() -> None:
    labels = np.zeros((40, 70), np.int64)
    for preserve, wanted in (("box=16,15,16,2", [[0, 1, 0, 0, 0], [0, 1, 0, 0, 0], [0] * 5]), ("box=69,39,9,9", None)):
        mask = regions.on_grid(SELECTIVE, regions.preserved(SELECTIVE, labels, [preserve]))
        if wanted is not None:
            assert mask.astype(int).tolist() == wanted
        else:
            assert mask.sum() == 1
            assert mask[2, 4]
    both = regions.preserved(SELECTIVE, labels, ["box=0,0,2,2", labels + 1])
    assert both.all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs labels"),
        ({"labels": np.zeros((95, 128), np.uint8)}, "one for each of the 128x96 pixels"),
        ({"labels": np.zeros((96, 128))}, "labels must be integers"),
        ({"labels": np.full((96, 128), 3)}, "there is no class 3: the model has 0 sky, 1 road, 2 tree"),
        ({"labels": np.full((96, 128), -1)}, "there is no class -1"),
        ({"preserve": ["classes=tree,lamp"]}, "there is no class 'lamp': the model has 0 sky"),
        ({"preserve": ["box=1,2,3"]}, "a box is four whole numbers"),
        ({"preserve": ["box=128,0,5,5"]}, "has no pixel of the picture, which has 128x96"),
        ({"preserve": ["box=0,0,0,5"]}, "has no pixel of the picture"),
        ({"preserve": ["circle=1"]}, "what is preserved is all, none"),
        ({"preserve": [np.ones((2, 2))]}, r"a mask has the shape \(2, 2\); the picture has \(96, 128\)"),
    ],
)
def test_selections_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    picture = photograph()
    labels = {} if not options or "labels" in options else {"labels": labels_of(picture)}
    with pytest.raises(UsageError, match=message):
        compressed(picture, model="selective", **labels, **options)


def test_models_of_whole_pictures_take_no_selection() -> None:
    picture = photograph(16, 16)
    masks = [np.ones((16, 16), bool)]
    for options in ({"labels": labels_of(picture)}, {"preserve": ["none"]}, {"preserve": masks}):
        with pytest.raises(UsageError, match="codes whole pictures"):
            compressed(picture, **options)
    with pytest.raises(UsageError, match="labels and preserve are for extreme, not for the codec hyperprior"):
        aquatint.encode(picture, codec="hyperprior", labels=labels_of(picture))


def test_the_command_selects(tmp_path: Path) -> None:
    picture = photograph(48, 64)
    PILImage.fromarray(picture).save(tmp_path / "in.png")
    PILImage.fromarray(labels_of(picture).astype(np.uint8)).save(tmp_path / "labels.png")
    mask = np.zeros((48, 64), np.uint8)
    mask[:16, 48:] = 255
    PILImage.fromarray(mask).save(tmp_path / "mask.png")
    PILImage.fromarray(np.zeros_like(mask)).save(tmp_path / "black.png")
    command = CliRunner()
    base = ["encode", str(tmp_path / "in.png"), str(tmp_path / "out.aqt"), "--codec", "extreme", "--quiet"]
    base += ["--model", "selective", "--labels"]
    masked = [*base, str(tmp_path / "labels.png"), "--preserve", f"mask={tmp_path / 'mask.png'}"]
    masked += ["--preserve", f"mask={tmp_path / 'black.png'}"]
    found = command.invoke(app, [*masked, "--preserve", "box=0,32,1,1"])
    assert (found.exit_code, found.output) == (0, "")
    _, chunks = container.read((tmp_path / "out.aqt").read_bytes())
    content = read(model("selective"), chunks[container.Chunk.PAYLOAD], 48, 64)
    assert content.mask.astype(int).tolist() == [[0, 0, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]]
    info = command.invoke(app, ["info", str(tmp_path / "out.aqt")])
    assert "preserved" in info.output
    assert command.invoke(app, [*base, str(tmp_path / "in.png")]).exit_code == 1  # colours are no classes
    assert command.invoke(app, [*base, str(tmp_path / "none.png")]).exit_code == 1


def test_classes_of_camvid() -> None:
    assert len(CAMVID) == 12
    assert (CAMVID.index("road"), CAMVID.index("car"), CAMVID[-1]) == (3, 8, "void")
    assert math.isclose(ARCHITECTURES["sc-4"].stride, 8)
