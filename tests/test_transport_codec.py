"""The transport codec: its paths and indices, files, and what may go wrong with them."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("skimage")

from safetensors.numpy import load_file, save_file  # noqa: E402
from transport_models import SMALL, trained  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import aquatint  # noqa: E402
from aquatint import Target, container  # noqa: E402
from aquatint.cli import app  # noqa: E402
from aquatint.codecs import models, transport  # noqa: E402
from aquatint.codecs.hyperprior.integers import ONE  # noqa: E402
from aquatint.codecs.transport import coding, encoder, refinement, scale  # noqa: E402
from aquatint.codecs.transport.architecture import Transport  # noqa: E402
from aquatint.codecs.transport.context import index_bits, path  # noqa: E402
from aquatint.codecs.transport.decoder import FIXED, HALF, read, synthesised  # noqa: E402
from aquatint.codecs.transport.model import Model, load  # noqa: E402
from aquatint.codecs.transport.refinement import Reviser, refined  # noqa: E402
from aquatint.codecs.transport.sampling import sample, smooth_noise  # noqa: E402
from aquatint.codecs.turns import table_index, turn_costs, turn_tables  # noqa: E402
from aquatint.container import Header  # noqa: E402
from aquatint.errors import (  # noqa: E402
    CorruptStreamError,
    LimitError,
    MissingModelError,
    ModelError,
    TruncatedError,
    UsageError,
)
from aquatint.training.export import transport_weights  # noqa: E402


@pytest.fixture(scope="session")
def content() -> bytes:
    """The weights file of a trained network."""
    return transport_weights(trained())


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> Path:
    """The user's folder of models, with a small one."""
    monkeypatch.setenv("AQUATINT_MODELS", str(tmp_path))
    (tmp_path / "small.safetensors").write_bytes(content)
    return tmp_path


def small() -> Model:
    return load(models.find("small"))


def photograph(height: int = 96, width: int = 128) -> np.ndarray:
    return __import__("skimage.data").data.astronaut()[100 : 100 + height, 150 : 150 + width]


def compressed(picture: np.ndarray, target: Target, effort: int = 5) -> aquatint.Encoded:
    encoded = aquatint.from_array(picture)
    return aquatint.compress(
        encoded, target, aquatint.Options(model="small", effort=effort, threads=1), codec="transport"
    )


# ---- Paths


def test_paths_are_the_bits_of_indices() -> None:
    nodes, turns = path(np.array([0, 5, 7]), 3)
    assert nodes.tolist() == [[0, 1, 3], [0, 2, 5], [0, 2, 6]]
    assert turns.tolist() == [[0, 0, 0], [1, 0, 1], [1, 1, 1]]


def test_costs_of_indices_are_a_code() -> None:
    tables = np.random.default_rng(0).integers(0, 256, (50, 15)).astype(np.uint8)
    costs = coding.index_costs(tables)
    assert costs.shape == (50, 16)
    # The escape takes one part in 65536 of each turn.
    assert (2.0**-costs).sum(1) == pytest.approx(1, abs=1e-4)
    nodes, turns = path(np.full(50, 11), 4)
    by_hand = turn_costs()[np.take_along_axis(tables, nodes, 1), turns].sum(1)
    assert costs[:, 11] == pytest.approx(by_hand)


def test_bits_in_training_are_those_of_the_coder() -> None:
    odds = torch.linspace(-5, 5, 15).reshape(1, 15, 1, 1)
    tables = table_index(np.rint(odds.numpy().reshape(1, 15) * ONE))
    for index in range(16):
        bits = float(index_bits(odds, torch.full((1, 1, 1), index), 4))
        assert coding.index_costs(tables)[0, index] == pytest.approx(bits, abs=0.2)


def test_tables_are_the_odds() -> None:
    tables, shifts = turn_tables()
    assert not shifts.any()
    assert tables[:, :16].max() == 0
    odds = (65535 - tables[:, 16].astype(float)) / tables[:, 16]
    assert np.log(odds) == pytest.approx((np.arange(256) - 127.5) / 16, abs=0.05)


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_fixed_lengths_pack_and_unpack(bits: int) -> None:
    indices = np.random.default_rng(0).integers(0, 1 << bits, (2, 3, 5))
    data = coding.packed(indices, bits)
    assert len(data) == -(-30 * bits // 8)
    assert np.array_equal(coding.unpacked(data, (2, 3, 5), bits), indices)


# ---- Files


@pytest.mark.parametrize("effort", [1, 5])
@pytest.mark.parametrize("shape", [(96, 128), (1, 1), (17, 250)])
def test_files_decode_to_what_the_encoder_saw(shape: tuple[int, int], effort: int) -> None:
    picture = photograph(*shape)
    encoded = compressed(picture, Target(quality=60), effort)
    decoded = aquatint.decode(encoded.data, threads=1).to_array()
    assert decoded.shape == picture.shape
    error = np.square(decoded / 255.0 - picture / 255.0).mean()
    assert encoded.report.psnr == pytest.approx(-10 * np.log10(error), abs=1e-3)


def test_estimated_bits_are_real_bits() -> None:
    encoded = compressed(photograph(), Target(quality=100))
    _, chunks = container.read(encoded.data)
    real = 8 * len(chunks[container.Chunk.PAYLOAD])
    assert encoded.report.estimated_bits <= real <= encoded.report.estimated_bits + 8 + 128 + 40


def test_quality_means_more_bits_and_less_error() -> None:
    found = [compressed(photograph(), Target(quality=quality)) for quality in (1, 20, 50, 75, 100)]
    sizes = [len(one.data) for one in found]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 1.5 * sizes[0]
    assert found[-1].report.psnr > found[0].report.psnr + 0.5


def test_fixed_lengths_have_their_bits() -> None:
    for stages, quality in ((1, 1), (2, 50), (3, 100)):
        encoded = compressed(photograph(), Target(quality=quality), effort=1)
        _, chunks = container.read(encoded.data)
        payload = chunks[container.Chunk.PAYLOAD]
        assert payload[0] == FIXED | stages
        assert len(payload) == 1 + 6 * 8 * stages * 4 // 8


@pytest.mark.parametrize(("target", "stages"), [({"size": 70}, 2), ({"size": 10**6}, 3), ({"lagrangian": 1.0}, 3)])
def test_fixed_lengths_are_tried_once_for_each_number_of_stages(target: dict[str, float], stages: int) -> None:
    seen: list[aquatint.Progress] = []
    options = aquatint.Options(model="small", effort=1, threads=1, progress=seen.append)
    data = aquatint.compress(aquatint.from_array(photograph()), Target(**target), options, codec="transport").data  # type: ignore[arg-type]
    assert [one.step for one in seen] == list(range(1, stages + 1))
    assert len({one.bpp for one in seen}) == stages
    assert "size" not in target or len(data) <= target["size"]


def test_a_size_is_kept() -> None:
    largest = len(compressed(photograph(), Target(quality=100)).data)
    for size in (largest - 10, largest - 25):
        assert size - 12 <= len(compressed(photograph(), Target(size=size)).data) <= size


def test_rates_out_of_reach_are_refused() -> None:
    with pytest.raises(UsageError, match=r"a rate of .* bpp is out of this model's reach"):
        compressed(photograph(), Target(bpp=3))


@pytest.mark.parametrize(("tune", "sigma_map"), [("wd", None), (None, "saliency")])
def test_other_objectives_are_refused(tune: str | None, sigma_map: str | None) -> None:
    picture = aquatint.from_array(photograph())
    options = aquatint.Options(model="small", tune=tune, sigma_map=sigma_map)
    with pytest.raises(UsageError, match="tuned already"):
        aquatint.compress(picture, Target(quality=50), options, codec="transport")


def test_a_lagrangian_weighs_bits() -> None:
    cheap, dear = (compressed(photograph(), Target(lagrangian=weight)) for weight in (1e-4, 1.0))
    assert len(dear.data) < len(cheap.data)
    assert cheap.report.psnr > dear.report.psnr


def test_rate_and_distortion_choose_better_than_distance() -> None:
    model = small()
    latents = encoder._latents(model, photograph(128, 160).astype(np.float32) / 255)

    def cost(multiplier: float, weight: float) -> float:
        found = coding.coded(model, (8, 10), coding.Chooser(model, latents, 1, multiplier))
        return float(np.square(latents - coding.sum_of_codes(model, found.indices)).sum()) + weight * found.bits

    assert cost(0.5, 0.5) < cost(0.0, 0.5)
    assert cost(2.0, 2.0) < cost(0.0, 2.0)


def test_the_last_stage_is_where_it_gains_most() -> None:
    model, size = small(), (8, 10)
    latents = encoder._latents(model, photograph(128, 160).astype(np.float32) / 255)

    def left(indices: np.ndarray) -> float:
        return float(np.square(latents - coding.sum_of_codes(model, indices)).sum())

    whole = coding.nearest(model, latents, 2)
    errors, costs = [], []
    for share in (0.0, 0.3, 0.7, 1.0):
        found = coding.coded(model, size, coding.Chooser(model, latents, 2, 0.0, share))
        indices = found.indices
        wanted = round(80 * share)
        assert (indices[0] != coding.NONE).all()
        assert (indices[1] != coding.NONE).sum() == wanted
        assert np.array_equal(read(model, found.payload, size), indices)
        if 0 < share < 1:  # better than as many at the top of the picture
            at_top = np.where(np.arange(80).reshape(size) < wanted, whole[1], coding.NONE)
            assert left(indices) < left(np.stack([whole[0], at_top]))
        errors.append(left(indices))
        costs.append(found.bits)
    assert errors == sorted(errors, reverse=True)
    assert costs == sorted(costs)


@pytest.mark.parametrize("stages", [1, 2])
def test_looking_at_decoded_pixels_chooses_better_for_as_many_bits(stages: int) -> None:
    model, size = load(models.find("ot")), (8, 10)
    pixels = photograph(128, 160).astype(np.float32) / 255
    latents = encoder._latents(model, pixels)
    start = coding.coded(model, size, coding.Chooser(model, latents, stages, 0.1, 0.5))
    payloads: list[bytes] = []
    settings = {"multiplier": 0.1, "most_bits": 0.0, "report": payloads.append}
    found = refined(model, latents, pixels, start, rounds=12, **settings)

    def left(one: coding.Coded) -> float:
        decoded = synthesised(model, coding.sum_of_codes(model, one.indices), 128, 160)
        return float(np.square(decoded.clip(0, 1) - pixels).sum())

    assert left(found) < 0.99 * left(start)
    assert 0.98 * len(start.payload) <= len(found.payload) <= len(start.payload)
    assert len(payloads) == 12
    assert found.payload in payloads
    assert np.array_equal(read(model, found.payload, size), found.indices)
    assert refined(model, latents, pixels, start, rounds=0, **settings) is start


def test_places_that_are_not_looked_at_keep_their_indices() -> None:
    model, size = small(), (8, 10)
    latents = encoder._latents(model, photograph(128, 160).astype(np.float32) / 255)
    start = coding.coded(model, size, coding.Chooser(model, latents, 2, 0.1, 0.5))
    places = np.random.default_rng(0).random(size) < 0.3
    wanted = latents + 0.5
    found = coding.coded(model, size, Reviser(model, start.indices, wanted, places, 0.0))
    assert np.array_equal(found.indices[:, ~places], start.indices[:, ~places])

    def left(indices: np.ndarray) -> np.ndarray:
        return np.square(wanted - coding.sum_of_codes(model, indices)).sum(0)

    assert (left(found.indices) <= left(start.indices) + 1e-5).all()
    assert left(found.indices)[places].sum() < left(start.indices)[places].sum()


def test_the_gradient_is_that_of_the_squared_error() -> None:
    model = small()
    chance = np.random.default_rng(0)
    y = chance.normal(size=(model.architecture.dimensions, 3, 4)).astype(np.float32)
    target = torch.rand(1, 3, 40, 60, generator=torch.Generator().manual_seed(0))
    _, gradient = refinement._error(model, y, target)
    step = 1e-2 * chance.normal(size=y.shape).astype(np.float32)
    (above, _), (below, _) = (refinement._error(model, y + way * step, target) for way in (1, -1))
    assert (above - below) / 2 == pytest.approx(float((gradient * step).sum()), rel=0.02)


@pytest.mark.parametrize("shape", [(1, 1), (7, 10), (64, 97)])
def test_half_the_size_and_back(shape: tuple[int, int]) -> None:
    height, width = shape
    rows, columns = np.mgrid[:height, :width] / 100
    ramp = np.stack([rows, columns, 0.5 * (rows + columns)], 2).astype(np.float32)
    smaller = scale.halved(ramp)
    assert smaller.shape == (-(-height // 2), -(-width // 2), 3)
    again = scale.doubled(smaller, height, width)
    assert again.shape == ramp.shape
    assert np.abs(again - ramp)[4:-5, 4:-5].max(initial=0) < 2e-4  # a ramp stays what it is away from the borders
    assert scale.doubled(np.full((2, 3, 3), 0.25, np.float32), 3, 5) == pytest.approx(0.25)


def keys(length: int) -> np.ndarray:
    """Cubic convolution to twice the samples (docs/FORMAT.md, section 4.2), of shape (2 n, n)."""
    away = np.abs((np.arange(2 * length)[:, None] + 0.5) / 2 - 0.5 - np.arange(length))
    near, far = 1.5 * away**3 - 2.5 * away**2 + 1, -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
    taps = np.where(away <= 1, near, np.where(away < 2, far, 0))
    return taps / taps.sum(1, keepdims=True)


def test_enlarging_is_as_specified() -> None:
    pixels = np.random.default_rng(0).random((5, 9, 3), np.float32)
    expected = np.einsum("ay,bx,yxc->abc", keys(5), keys(9), pixels)[:9, :17]
    assert scale.doubled(pixels, 9, 17) == pytest.approx(expected, abs=1e-5)


def test_rates_too_low_for_an_index_everywhere_are_met_at_half_the_size() -> None:
    picture = __import__("skimage.data").data.astronaut()[:256, :320]
    options = aquatint.Options(model="ot", effort=3, threads=1)

    def file(bpp: float) -> tuple[aquatint.Encoded, np.ndarray, dict[str, object]]:
        encoded = aquatint.compress(aquatint.from_array(picture), Target(bpp=bpp), options, codec="transport")
        header, chunks = container.read(encoded.data)
        about = transport.describe(chunks[container.Chunk.PAYLOAD], header)
        return encoded, aquatint.decode(encoded.data).to_array(), about

    low, shown, about = file(0.018)
    assert 8 * len(low.data) / picture[..., 0].size == pytest.approx(0.018, rel=0.03)
    assert about["size"] == "half"
    assert shown.shape == picture.shape
    error = float(np.square(shown / 255 - picture / 255).mean())
    assert low.report.psnr == pytest.approx(-10 * math.log10(error), abs=1e-3)
    whole, _, usual = file(0.04)
    assert usual["size"] == "whole"
    assert low.report.multiplications_per_pixel == pytest.approx(whole.report.multiplications_per_pixel / 4)
    assert low.report.psnr < whole.report.psnr


def test_fixed_lengths_reach_lower_rates_at_half_the_size() -> None:
    picture = photograph(256, 320)
    encoded = compressed(picture, Target(size=120), effort=1)
    header, chunks = container.read(encoded.data)
    payload = chunks[container.Chunk.PAYLOAD]
    assert payload[0] == FIXED | HALF | 2  # of 8 x 10 indices of four bits each
    assert len(encoded.data) <= 120
    assert transport.decode(payload, header, threads=1).shape == picture.shape


def test_damage_of_fixed_lengths_stays_where_it_is() -> None:
    encoded = compressed(photograph(), Target(quality=1), effort=1)
    header, chunks = container.read(encoded.data)
    payload = bytearray(chunks[container.Chunk.PAYLOAD])
    before = read(small(), bytes(payload), (6, 8))
    payload[5] ^= 0xFF
    after = read(small(), bytes(payload), (6, 8))
    assert (before != after).sum() == 2  # two indices a byte
    assert transport.decode(bytes(payload), header, threads=1).shape == (96, 128, 3)


@pytest.mark.parametrize("effort", [1, 5])
def test_damaged_payloads_are_refused_or_decoded(effort: int) -> None:
    header, chunks = container.read(compressed(photograph(), Target(quality=67), effort).data)
    payload = chunks[container.Chunk.PAYLOAD]
    for length in range(len(payload)):
        with pytest.raises((TruncatedError, CorruptStreamError)):
            transport.decode(payload[:length], header, threads=1)
    with pytest.raises(CorruptStreamError):
        transport.decode(payload + b"\0", header, threads=1)
    chance = np.random.default_rng(0)
    for _ in range(60):
        hostile = bytearray(payload)
        for place in chance.integers(len(payload), size=3):
            hostile[place] = chance.integers(256)
        try:
            pixels = transport.decode(bytes(hostile), header, threads=1)
        except (TruncatedError, CorruptStreamError):
            continue
        assert pixels.shape == (96, 128, 3)


@pytest.mark.parametrize("first", [0, 4, FIXED, FIXED | 4, HALF, HALF | FIXED | 4])
def test_stages_that_the_model_has_not_are_refused(first: int) -> None:
    header, _ = container.read(compressed(photograph(), Target(quality=1)).data)
    with pytest.raises(CorruptStreamError, match=f"has {first & 63} stages; the model has 1 to 3"):
        transport.decode(bytes([first]) + bytes(40), header, threads=1)


def test_files_without_a_model_are_refused(installed: Path) -> None:
    encoded = compressed(photograph(), Target(quality=1))
    with pytest.raises(CorruptStreamError, match="names no model"):
        transport.decode(b"\1", Header("transport", 2, 2), threads=1)
    (installed / "small.safetensors").unlink()
    with pytest.raises(MissingModelError, match="not installed"):
        aquatint.decode(encoded.data)
    header, chunks = container.read(encoded.data)
    payload = chunks[container.Chunk.PAYLOAD]
    assert transport.describe(payload, header)["model"] == "not installed"


def test_a_payload_tells_what_it_is() -> None:
    header, chunks = container.read(compressed(photograph(), Target(quality=50), effort=1).data)
    about = transport.describe(chunks[container.Chunk.PAYLOAD], header)
    assert (about["model"], about["stages"], about["indices"]) == ("small", 2, "fixed length")


def test_models_that_are_not_whole_are_refused(installed: Path) -> None:
    tensors = load_file(installed / "small.safetensors")
    about = {"aquatint": '{"kind": "transport", "format": 1, "architecture": %s}' % _json(SMALL)}  # noqa: UP031
    broken = {
        "less": {name: value for name, value in tensors.items() if name != "codes"},
        "infinite": {**tensors, "codes": np.full_like(tensors["codes"], np.inf)},
        "misshapen": {**tensors, "biases": tensors["biases"][:1]},
    }
    for name, content in broken.items():
        save_file(content, installed / f"{name}.safetensors", about)
        with pytest.raises(ModelError, match="cannot be used"):
            load(models.find(name))
    save_file(
        tensors, installed / "later.safetensors", {"aquatint": about["aquatint"].replace('"format": 1', '"format": 2')}
    )
    with pytest.raises(ModelError, match="it has format 2; this program reads 1"):
        load(models.find("later"))
    shutil.copy(installed / "small.safetensors", installed / "copy.safetensors")
    assert load(models.find("copy")).architecture == SMALL


def _json(architecture: Transport) -> str:
    return __import__("json").dumps(architecture.to_json())


# ---- Pictures from noise


def test_noise_is_uniform_and_alike_in_neighbours() -> None:
    noise = smooth_noise(4, 100, 120, 1.5, 0)
    assert noise.shape == (4, 100, 120)
    assert np.abs(noise).max() <= 0.5
    assert noise.var() == pytest.approx(1 / 12, rel=0.05)
    assert np.histogram(noise, 4, (-0.5, 0.5))[0] / noise.size == pytest.approx(0.25, abs=0.03)
    assert np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1] > 0.8
    rough = smooth_noise(4, 100, 120, 0, 0)
    assert abs(np.corrcoef(rough[:, 1:].ravel(), rough[:, :-1].ravel())[0, 1]) < 0.05


def test_samples_are_pictures_of_their_seeds() -> None:
    picture = sample("small", 40, 56)
    assert picture.shape == (40, 56, 3)
    assert picture.std() > 2
    assert np.array_equal(picture, sample("small", 40, 56))
    assert not np.array_equal(picture, sample("small", 40, 56, seed=1))


def test_samples_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="1 to 65535 rows and columns, not 0 and 9"):
        sample("small", 0, 9)
    with pytest.raises(LimitError, match="exceeds the limit"):
        sample("small", 65535, 65535)
    with pytest.raises(UsageError, match="smoothness must be from 0 to 64, not nan"):
        sample("small", 9, 9, smoothness=math.nan)


def test_the_command_samples(tmp_path: Path) -> None:
    command = CliRunner()
    out = tmp_path / "out.png"
    found = command.invoke(app, ["sample", "small", str(out), "--width", "32", "--height", "20"])
    assert (found.exit_code, found.output) == (0, "")
    assert aquatint.read(out).pixels.shape == (20, 32, 3)
    assert command.invoke(app, ["sample", "small", str(tmp_path / "out.jpg")]).exit_code == 2
    assert command.invoke(app, ["sample", "none", str(out)]).exit_code == 1


def test_the_shipped_model_is_the_default_and_meets_a_rate() -> None:
    picture = aquatint.from_array(__import__("skimage.data").data.astronaut())
    encoded = aquatint.compress(picture, Target(bpp=0.03), aquatint.Options(threads=1), codec="transport")
    assert encoded.header.model_hash == models.find("ot").hash
    assert models.find("ot").path.parent == models.PACKAGED
    assert encoded.bpp == pytest.approx(0.03, rel=0.01)
    assert encoded.report.psnr > 21.5
    assert aquatint.decode(encoded.data).to_array().shape == (512, 512, 3)


def test_architectures_are_checked() -> None:
    with pytest.raises(UsageError, match="codes must be a power of 2 from 2 to 4096, not 48"):
        Transport((8, 16), 32, 6, 48, 3, 8)
    with pytest.raises(UsageError, match="stages must be from 1 to 8, not 9"):
        Transport((8, 16), 32, 6, 16, 9, 8)
    with pytest.raises(UsageError, match="has no depth"):
        Transport.from_json({"depth": 3})
    assert Transport.from_json(SMALL.to_json()) == SMALL
