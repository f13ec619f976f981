"""The integers of the hyperprior codec: tables of distributions, networks, and the coder that uses them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("skimage")

from scipy import stats  # noqa: E402
from torch import nn  # noqa: E402

from aquatint import native  # noqa: E402
from aquatint.codecs.hyperprior import tables  # noqa: E402
from aquatint.codecs.hyperprior.coding import scale_index, scale_logarithm  # noqa: E402
from aquatint.codecs.hyperprior.integers import LIMIT, ONE, IntegerNetwork, fixed, quantised, scaled  # noqa: E402
from aquatint.errors import CorruptStreamError, TruncatedError, UsageError  # noqa: E402

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
