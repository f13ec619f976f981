"""Streams for tests: synthetic parameters and latents, and symbols that no encoder would write."""

import math

import numpy as np
from reference_decoder import TABLES

from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.codecs.overfitted.stream import GROUPS, Stream


def exponents_for(
    architecture: Architecture, exponents: tuple[int, ...] = (8, 12, 10, 7, 9, 10, 11)
) -> tuple[int, ...]:
    """The exponents, but 0 for groups without numbers."""
    shapes = architecture.arrays()
    return tuple(
        exponent if any(np.prod(shapes[name]) for name in names) else 0
        for exponent, names in zip(exponents, GROUPS.values(), strict=True)
    )


def synthetic_stream(architecture: Architecture, height: int, width: int, seed: int) -> Stream:
    """A stream whose pictures use the whole range of samples, and whose latents use many scales and some escapes."""
    rng = np.random.default_rng(seed)
    spread = {"w1": 30, "w2": 30, "w3": 60, "b1": 2000, "b2": 2000, "b3": 4000, "taps": 20}
    parameters = {
        name: np.rint(rng.normal(scale=spread.get(name, 15), size=shape)).astype(np.int32)
        for name, shape in architecture.arrays().items()
    }
    parameters["s1"][:, architecture.grids :] *= 32  # as much texture as picture
    latents = [np.rint(rng.laplace(scale=0.8, size=shape)) for shape in architecture.grid_shapes(height, width)]
    for grid in latents:
        outliers = rng.random(grid.shape) < 0.01
        grid[outliers] = rng.integers(-511, 512, size=int(outliers.sum()))
    return Stream(architecture, parameters, exponents_for(architecture), [grid.astype(np.int16) for grid in latents])


# ---- Payloads symbol by symbol. An interval is a start and a frequency out of 65536.

Interval = tuple[int, int]


def table_interval(scale: int, fraction: int, symbol: int) -> Interval:
    cumulative = TABLES[scale, fraction]
    return cumulative[symbol], cumulative[symbol + 1] - cumulative[symbol]


def raw_interval(value: int, bits: int) -> Interval:
    return value << (16 - bits), 1 << (16 - bits)


def number_intervals(value: int, scale: int) -> list[Interval]:
    """A number with mean 0, coded in the cheapest way."""
    shift = max(0, (scale - 44) // 8)
    table, fraction = scale - 8 * shift, 8 >> shift
    difference = value >> shift
    intervals = [table_interval(table, fraction, difference + 15)] if abs(difference) <= 15 else [(0, 0)]
    if intervals[0][1] == 0:
        magnitude = abs(difference)
        field = min(magnitude, 127) << 1 | (difference < 0)
        intervals = [table_interval(table, fraction, 31), raw_interval(field, 8)]
        if magnitude >= 127:
            intervals.append(raw_interval(magnitude, 16))
    if shift > 0:
        intervals.append(raw_interval(value & ((1 << shift) - 1), shift))
    return intervals


def bits(intervals: list[Interval]) -> float:
    return sum(16 - math.log2(frequency) for _, frequency in intervals)


def rans_encode(intervals: list[Interval], floor: int = 2**24) -> bytes:
    """The states and bytes from which a decoder reads the intervals; it ends with all states at `floor`."""
    states = [floor] * 4
    tail = bytearray()
    for i in reversed(range(len(intervals))):
        start, frequency = intervals[i]
        while states[i % 4] >= frequency << 16:
            tail.append(states[i % 4] & 255)
            states[i % 4] >>= 8
        quotient, remainder = divmod(states[i % 4], frequency)
        states[i % 4] = (quotient << 16) + remainder + start
    return b"".join(state.to_bytes(4, "little") for state in states) + bytes(reversed(tail))


# One grid, eight neighbours, hidden width 4, no residual layers, code scale 0 everywhere: as small as a stream can be.
TINY = Architecture(grids=1, context=8, parents=0, hidden=4, residuals=0)
TINY_PARAMETERS = sum(int(np.prod(shape)) for shape in TINY.arrays().values())
ZERO_PARAMETER = number_intervals(0, 4)
LATENT_SCALE = 40  # what a network of zeros predicts, with mean 0


def tiny_header(mask: int) -> bytes:
    return bytes([1, 8, 4, 0, *[0] * 7, mask & 255, mask >> 8])
