"""The overfitted stream: every native path against the reference decoder, and golden files."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference_decoder import RATES, ROOTS, decode_stream, noise_grid, picture
from streams import (
    TINY,
    bits,
    exponents_for,
    number_intervals,
    synthetic_stream,
)

from aquatint import native
from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.codecs.overfitted.presets import LADDER
from aquatint.codecs.overfitted.stream import (
    GROUPS,
    MAX_EXPONENTS,
    Stream,
    measure,
    multiplications_per_pixel,
    origin_of,
    read,
    round_origin,
    write,
)
from aquatint.errors import UnsupportedFeatureError, UsageError

ISAS = native.instruction_sets()
DATA = Path(__file__).parent / "data"

# Every width of the entropy network with and without parents, pairs of inputs that mix both, all extremes of the rest.
ARCHITECTURES = {
    "default": Architecture(),
    "8 inputs": Architecture(grids=5, context=8, parents=0, hidden=12, residuals=1),
    "8 inputs, 1 parent": Architecture(grids=4, context=7, parents=1, hidden=4, residuals=3),
    "16 inputs, 4 parents": Architecture(grids=3, context=12, parents=4, hidden=8, residuals=0),
    "24 inputs": Architecture(grids=2, context=24, parents=0, hidden=20, residuals=4),
    "24 inputs, 3 parents": Architecture(grids=9, context=21, parents=3, hidden=64, residuals=2),
    "one grid": Architecture(grids=1, context=6, parents=2, hidden=16, residuals=2),
    "1 noise grid": Architecture(grids=1, context=8, hidden=8, residuals=1, noise=1),
    "2 noise grids": Architecture(grids=5, context=8, hidden=4, residuals=0, noise=2),
    "3 noise grids": Architecture(grids=3, context=8, hidden=12, residuals=3, noise=3),
}
SIZES = [(1, 1), (1, 40), (40, 1), (2, 2), (17, 3), (16, 16), (33, 19), (70, 35)]


def assert_same_latents(latents: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(latents) == len(expected)
    for grid, expected_grid in zip(latents, expected, strict=True):
        np.testing.assert_array_equal(grid, expected_grid)


def assert_close_pixels(pixels: np.ndarray, expected: np.ndarray, depth: int = 8) -> None:
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).max() <= (1 if depth == 8 else 257)


# ---- Against the reference decoder


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_decodes_like_the_reference(name: str, size: tuple[int, int]) -> None:
    stream = synthetic_stream(ARCHITECTURES[name], *size, seed=len(name))
    payload = write(stream)
    decoded = decode_stream(payload, *size)
    assert_same_latents(list(stream.latents), decoded.latents)
    expected = picture(decoded, *size, depth=8, grayscale=False)
    for isa in ISAS:
        assert_same_latents(native.decode_latents(payload, *size, isa=isa), decoded.latents)
        assert_close_pixels(native.decode(payload, *size, isa=isa), expected)


# ---- Origins of the parameters


@pytest.mark.parametrize(("grids", "noise"), [(1, 0), (4, 0), (7, 0), (1, 1), (4, 3), (7, 2)])
@pytest.mark.parametrize("which", [1, 9, 17, 49, 65, 97])
def test_counts_parameters_from_an_origin(which: int, grids: int, noise: int) -> None:
    architecture = replace(LADDER["fast"], grids=grids, noise=noise)
    origin = origin_of(architecture, which)
    plain = synthetic_stream(architecture, 17, 20, seed=which)
    from_defaults = write(plain)
    stream = replace(plain, origin=which)
    payload = write(stream)
    assert payload[3] == which
    assert payload != from_defaults
    decoded = decode_stream(payload, 17, 20)
    assert_same_latents(list(stream.latents), decoded.latents)
    for isa in ISAS:
        assert_same_latents(native.decode_latents(payload, 17, 20, isa=isa), decoded.latents)
        assert_close_pixels(native.decode(payload, 17, 20, isa=isa), picture(decoded, 17, 20, 8, False))
    assert write(read(payload, 17, 20)) == payload
    at_origin = {
        name: round_origin(origin[name], exponent)
        for names, exponent in zip(GROUPS.values(), stream.exponents, strict=True)
        for name in names
    }
    # Nothing but zeros are coded then: the finest distribution gives each of them 0.006 bits.
    assert sum(measure(replace(stream, parameters=at_origin)).groups) < 0.01 * architecture.parameter_count


def test_origins_lie_between_their_rows() -> None:
    architecture = LADDER["default"]
    first, between, last = (origin_of(architecture, which) for which in (1, 9, 17))
    for name in first:
        np.testing.assert_array_equal(between[name], (8 * first[name] + 8 * last[name] + 8) >> 4)


@pytest.mark.parametrize(
    ("architecture", "which"),
    [(LADDER["default"], 98), (LADDER["default"], 255), (Architecture(), 1), (replace(LADDER["fast"], grids=8), 1)],
)
def test_unknown_origins_are_refused(architecture: Architecture, which: int) -> None:
    with pytest.raises(UnsupportedFeatureError, match=f"origin {which} is not known"):
        write(replace(synthetic_stream(architecture, 9, 9, seed=0), origin=which))


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("grayscale", [False, True])
def test_depth_and_grayscale(depth: int, grayscale: bool) -> None:
    payload = write(synthetic_stream(ARCHITECTURES["8 inputs"], 21, 35, seed=3))
    expected = picture(decode_stream(payload, 21, 35), 21, 35, depth, grayscale)
    assert len(np.unique(expected)) > 50  # neither flat nor clipped to black and white
    for isa in ISAS:
        pixels = native.decode(payload, 21, 35, depth, grayscale, isa=isa)
        assert pixels.dtype == (np.uint8 if depth == 8 else np.uint16)
        assert_close_pixels(pixels, expected, depth)


@pytest.mark.parametrize("noise", [0, 3])
@pytest.mark.parametrize("residuals", [0, 1, 2, 3, 4])
def test_strips_and_threads_join_without_a_seam(residuals: int, noise: int) -> None:
    architecture = Architecture(grids=4, context=8, hidden=8, residuals=residuals, noise=noise)
    height, width = 200, 9  # four strips of 64 rows
    payload = write(synthetic_stream(architecture, height, width, seed=residuals))
    expected = picture(decode_stream(payload, height, width), height, width, 8, False)
    for isa in ISAS:
        for threads in (0, 1, 2, 3, 64):
            assert_close_pixels(native.decode(payload, height, width, threads=threads, isa=isa), expected)


@pytest.mark.parametrize("grid", [0, 1, 2])
def test_noise_is_the_same_everywhere(grid: int) -> None:
    expected = noise_grid(grid, 37, 70)
    for isa in ISAS:
        np.testing.assert_array_equal(native.noise(grid, 37, 70, isa), expected)


def test_noise_is_white_and_nearly_normal() -> None:
    grids = [native.noise(k, 600, 800).astype(np.float64) for k in range(3)]
    for i, grid in enumerate(grids):
        deviation = math.sqrt((256**2 - 1) / 3) / 4096
        assert grid.mean() == pytest.approx(0, abs=4 * deviation / math.sqrt(grid.size))
        assert grid.std() == pytest.approx(deviation, rel=0.01)
        standardised = grid / deviation
        assert (standardised**4).mean() == pytest.approx(3 - 0.3, abs=0.03)  # a sum of four uniform numbers
        spectrum = np.abs(np.fft.fft2(standardised)) ** 2 / grid.size
        assert spectrum.max() < 25  # of exponentially distributed ones, one of all grids exceeds this in 10^5 draws
        bands = spectrum.reshape(20, 30, 20, 40).mean((1, 3))
        assert np.abs(bands - 1).max() < 0.2
        for other in grids[:i]:
            assert abs((standardised * other).mean() / deviation) < 5 / math.sqrt(grid.size)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((3, 1, 1), "grid is 3, outside 0 to 2"), ((0, 0, 1), "height is 0"), ((0, 1, 65536), "width is 65536")],
)
def test_noise_that_is_not_specified(arguments: tuple[int, int, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        native.noise(*arguments)


def test_constants_are_what_their_formulas_say() -> None:
    assert [int(369.32994 * 2 ** ((40 - s) / 8) + 0.5) for s in range(52)] == RATES
    assert [int(2**31 * 2 ** -(2.0**-j) + 0.5) for j in range(1, 13)] == ROOTS


# ---- Golden files: made by tests/make_golden.py, so that a changed decoder cannot go unseen

GOLDEN = json.loads((DATA / "golden.json").read_text())


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str, isa: str) -> None:
    golden = GOLDEN[name]
    height, width = golden["height"], golden["width"]
    payload = (DATA / f"{name}.stream").read_bytes()
    symbols = hashlib.sha256()
    for grid in native.decode_latents(payload, height, width, isa=isa):
        symbols.update(grid.astype("<i2").tobytes())
    assert symbols.hexdigest() == golden["latents"]
    expected = np.load(DATA / f"{name}.npy")
    for threads in (1, 2, 5):
        pixels = native.decode(payload, height, width, threads=threads, isa=isa)
        assert_close_pixels(pixels, expected)
    assert write(read(payload, height, width)) == payload


# ---- Writing, reading, measuring


def test_every_instruction_set_writes_and_measures_the_same() -> None:
    stream = synthetic_stream(ARCHITECTURES["16 inputs, 4 parents"], 50, 61, seed=5)
    arguments = (
        (3, 12, 4, 8, 0, 0),
        [
            np.concatenate([stream.parameters[name].ravel() for name in names]).astype(np.int32)
            for names in GROUPS.values()
        ],
        stream.exponents,
        0,
        list(stream.latents),
    )
    payload = write(stream)
    cost = measure(stream)
    for isa in ISAS:
        assert native.encode(*arguments, isa=isa) == payload
        assert native.measure(*arguments, isa=isa) == ([*cost.grids], [*cost.groups])


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("size", [(1, 1), (90, 70)])
def test_measure_agrees_with_the_payload(name: str, size: tuple[int, int]) -> None:
    stream = synthetic_stream(ARCHITECTURES[name], *size, seed=1)
    assert abs(len(write(stream)) - measure(stream).payload_bytes) <= 3


def test_grids_of_zeros_cost_nothing() -> None:
    stream = synthetic_stream(Architecture(), 64, 64, seed=2)
    latents = [grid if k in (2, 4) else np.zeros_like(grid) for k, grid in enumerate(stream.latents)]
    sparse = replace(stream, latents=latents)
    payload = write(sparse)
    assert int.from_bytes(payload[11:13], "little") == 0b10100
    assert_same_latents(list(read(payload, 64, 64).latents), latents)
    assert [cost > 0 for cost in measure(sparse).grids] == [k in (2, 4) for k in range(7)]
    rest = Architecture().multiplications_per_pixel([False] * 7)
    assert multiplications_per_pixel(payload) == pytest.approx(rest + (2 * 16**2 + 2 * 16) * (4**-2 + 4**-4))


@pytest.mark.parametrize("spread", [0.05, 1, 10, 300, 9000])
def test_code_scale_is_the_cheapest_of_a_group(spread: float) -> None:
    rng = np.random.default_rng(0)
    parameters = {
        name: np.rint(rng.laplace(scale=spread, size=shape)).clip(-32767, 32767).astype(np.int32)
        for name, shape in TINY.arrays().items()
    }
    stream = Stream(TINY, parameters, (10, 15, 0, 7, 7, 0, 0), [np.zeros((1, 1), np.int16)])
    scales = [byte >> 4 for byte in write(stream)[4:11]]
    for group, names in enumerate(GROUPS.values()):
        values = [int(value) for name in names for value in parameters[name].ravel()]
        costs = [bits([i for value in values for i in number_intervals(value, 4 + 5 * c)]) for c in range(16)]
        assert scales[group] == costs.index(min(costs))
        assert measure(stream).groups[group] == pytest.approx(min(costs), rel=1e-6)


@st.composite
def streams(draw: st.DrawFn) -> tuple[Stream, int, int]:
    inputs = draw(st.sampled_from([8, 16, 24]))
    parents = draw(st.integers(0, 4))
    grids = draw(st.integers(1, 9))
    architecture = Architecture(
        grids=grids,
        context=inputs - parents,
        parents=parents,
        hidden=4 * draw(st.integers(1, 16)),
        residuals=draw(st.integers(0, 4)),
        noise=draw(st.integers(0, min(grids, 3))),
    )
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    exponents = exponents_for(architecture, tuple(draw(st.integers(0, limit)) for limit in MAX_EXPONENTS))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    parameters = {}
    for group, names in enumerate(GROUPS.values()):
        limit = 32767
        if group == 0:
            limit >>= 10 - exponents[0]
        if group == 1:
            limit = min(limit, (2**30 - 1) >> (16 - exponents[1]))
        limit = min(limit, draw(st.sampled_from([1, 20, 300, 32767])))
        for name in names:
            parameters[name] = rng.integers(
                -limit, limit, size=architecture.arrays()[name], endpoint=True, dtype=np.int32
            )
    largest = draw(st.sampled_from([0, 1, 3, 30, 511]))
    latents = [
        rng.integers(-largest, largest, size=shape, endpoint=True, dtype=np.int16)
        for shape in architecture.grid_shapes(height, width)
    ]
    return Stream(architecture, parameters, exponents, latents), height, width


PROPERTY = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@PROPERTY
@given(streams())
def test_round_trip_is_exact(case: tuple[Stream, int, int]) -> None:
    stream, height, width = case
    payload = write(stream)
    copy = read(payload, height, width)
    assert copy.architecture == stream.architecture
    assert copy.exponents == stream.exponents
    assert list(copy.parameters) == list(stream.architecture.arrays())
    for name, values in copy.parameters.items():
        np.testing.assert_array_equal(values, stream.parameters[name])
    for isa in ISAS:
        assert_same_latents(native.decode_latents(payload, height, width, isa=isa), list(stream.latents))
        assert native.decode(payload, height, width, isa=isa).shape == (height, width, 3)
    assert abs(len(payload) - measure(stream).payload_bytes) <= 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exponents": (11, 0, 0, 0, 0, 0, 0)}, "step exponent of the entropy weights is 11, outside 0 to 10"),
        ({"exponents": (0, 0, 1, 0, 0, 0, 0)}, "step exponent of the upsampling is 1, outside 0 to 0"),
        ({"exponents": (0,)}, "1 step exponents given, not 7"),
        ({"latents": [np.full((2, 2), 512, np.int16)]}, "a latent of grid 0 is 512, outside -511 to 511"),
        ({"latents": [np.zeros((2, 2), np.float32)]}, "grid 0 has the type float32"),
        ({"latents": []}, "0 grids of latents given, not 1"),
        ({"architecture": replace(TINY, hidden=6)}, "parameter s1 has the shape"),
        ({"architecture": replace(TINY, context=7)}, "parameter w1 has the shape"),
    ],
)
def test_refuses_what_the_format_cannot_say(change: dict[str, object], message: str) -> None:
    parameters = {name: np.zeros(shape, np.int32) for name, shape in TINY.arrays().items()}
    stream = Stream(TINY, parameters, (0,) * 7, [np.zeros((2, 2), np.int16)])
    with pytest.raises(UsageError, match=message):
        write(replace(stream, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("exponent", "value", "limit"), [(0, 32, 31), (10, 32768, 32767), (9, -16384, 16383), (9, 2**31 - 1, 16383)]
)
def test_refuses_weights_of_more_than_16_bits(exponent: int, value: int, limit: int) -> None:
    parameters = {name: np.zeros(shape, np.int32) for name, shape in TINY.arrays().items()}
    parameters["w2"][3, 3] = value
    stream = Stream(TINY, parameters, (exponent, 0, 0, 0, 0, 0, 0), [np.zeros((2, 2), np.int16)])
    with pytest.raises(UsageError, match=rf"entropy weights is {value}, outside -{limit} to {limit}"):
        write(stream)


def test_refuses_grids_of_other_sizes() -> None:
    stream = synthetic_stream(Architecture(grids=2), 5, 5, seed=0)
    with pytest.raises(UsageError, match="grid 1 has 2x2 latents, not 3x3"):
        write(replace(stream, latents=[stream.latents[0], np.zeros((2, 2), np.int16)]))


# ---- Arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 0}, "height is 0, outside 1 to 65535"),
        ({"width": 65536}, "width is 65536, outside 1 to 65535"),
        ({"depth": 12}, "depth is 12, not 8 or 16"),
        ({"threads": -1}, "threads is -1, less than 0"),
        ({"isa": "sse9"}, "instruction set 'sse9' is not available"),
    ],
)
def test_refuses_bad_arguments(arguments: dict[str, int], message: str) -> None:
    payload = write(synthetic_stream(TINY, 2, 2, seed=0))
    with pytest.raises(UsageError, match=message):
        native.decode(payload, **{"height": 2, "width": 2, **arguments})  # type: ignore[arg-type]


def test_environment_chooses_the_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = write(synthetic_stream(TINY, 2, 2, seed=0))
    monkeypatch.setenv("AQUATINT_SIMD", "portable")
    assert native.decode(payload, 2, 2).shape == (2, 2, 3)
    monkeypatch.setenv("AQUATINT_SIMD", "sse9")
    with pytest.raises(UsageError, match="instruction set 'sse9' is not available"):
        native.decode(payload, 2, 2)
    assert native.decode(payload, 2, 2, isa="portable").shape == (2, 2, 3)
