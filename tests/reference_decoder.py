"""A second decoder of the `overfitted` stream, written from docs/FORMAT.md, section 2, and from nothing else.

It is as plain as it can be and far too slow for photographs; the tests hold the native decoder against it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

RATES = [
    *(11819, 10838, 9938, 9113, 8357, 7663, 7027, 6444, 5909, 5419, 4969, 4557, 4178, 3832, 3514, 3222, 2955, 2709),
    *(2485, 2278, 2089, 1916, 1757, 1611, 1477, 1355, 1242, 1139, 1045, 958, 878, 806, 739, 677, 621, 570, 522, 479),
    *(439, 403, 369, 339, 311, 285, 261, 239, 220, 201, 185, 169, 155, 142),
]
ROOTS = [
    *(1518500250, 1805811301, 1969251188, 2056437387, 2101467502, 2124350982, 2135885998, 2141676973, 2144578345),
    *(2146030505, 2146756953, 2147120270),
]
NEIGHBOURS = [
    *((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-1, -2), (-1, 2), (-2, -1), (-2, 1), (0, -3), (-3, 0)),
    *((-2, -2), (-2, 2), (-1, -3), (-1, 3), (-3, -1), (-3, 1), (-2, -3), (-2, 3), (0, -4), (-3, -2), (-3, 2), (-1, 4)),
]
ORIGINS = Path(__file__).parent.parent / "native" / "origins.bin"
DEFAULT_TAPS = np.array([-3, -9, 67, 201]) / 256


# ---- 2.3: tables and the entropy coder


def tail(x: int) -> int:
    value = 2**31 >> (x >> 12) if x >> 12 <= 31 else 0
    for j, root in enumerate(ROOTS, start=1):
        if x >> (12 - j) & 1:
            value = value * root >> 31
    return value


def distribution(s: int, n: int) -> int:
    return tail(-n * RATES[s]) >> 1 if n < 0 else 2**31 - (tail(n * RATES[s]) >> 1)


def table(s: int, f: int) -> list[int]:
    """c_0 to c_32."""
    edges = [distribution(s, 16 * (j - 15) - 8 - (f - 8)) for j in range(32)]
    return [min(65535, (edge - edges[0]) >> 15) for edge in edges] + [65536]


TABLES = {(s, f): table(s, f) for s in range(52) for f in range(16)}


class EntropyDecoder:
    def __init__(self, data: bytes) -> None:
        self.states = [int.from_bytes(data[4 * i : 4 * i + 4], "little") for i in range(4)]
        assert all(state >= 2**24 for state in self.states)
        self.bytes = iter(data[16:])
        self.count = 0

    def _take(self, start: int, frequency: int) -> None:
        x = self.states[self.count % 4]
        x = frequency * (x >> 16) + x % 65536 - start
        while x < 2**24:
            x = 256 * x + next(self.bytes)
        self.states[self.count % 4] = x
        self.count += 1

    def symbol(self, cumulative: list[int]) -> int:
        value = self.states[self.count % 4] % 65536
        j = next(j for j in range(32) if cumulative[j] <= value < cumulative[j + 1])
        self._take(cumulative[j], cumulative[j + 1] - cumulative[j])
        return j

    def raw(self, bits: int) -> int:
        value = (self.states[self.count % 4] % 65536) >> (16 - bits)
        self._take(value << (16 - bits), 1 << (16 - bits))
        return value

    def number(self, mean: int, s: int) -> int:
        q, f = divmod(mean + 8, 16)
        h = 0
        if s >= 52:
            h = (s - 52) // 8 + 1
            f = 8 >> h
        j = self.symbol(TABLES[s - 8 * h, f])
        difference = j - 15
        if j == 31:
            u = self.raw(8)
            magnitude = self.raw(16) if u >> 1 == 127 else u >> 1
            difference = -magnitude if u & 1 else magnitude
        if h > 0:
            difference = difference * 2**h + self.raw(h)
        return q + difference

    def finish(self) -> None:
        assert self.states == [2**24] * 4
        assert next(self.bytes, None) is None


# ---- 2.1, 2.2 and 2.4: what is in the stream


@dataclass
class Decoded:
    grids: int
    residuals: int
    hidden: int
    noise: int
    integers: list[list[int]]  # of the seven groups
    exponents: list[int]
    latents: list[np.ndarray]


def group_shapes(n: int, r: int, i: int, s: int, z: int = 0) -> list[list[tuple[int, ...]]]:
    return [
        [(i, i), (i, i), (2, i)],
        [(i,), (i,), (2,)],
        [(n - 1, 4)],
        [(s, n + z), (3, s)],
        [(s,), (3,)],
        [(r, 3, 3, 3, 3)],
        [(r, 3)],
    ]


def arrays_of(values: list, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    arrays = []
    for shape in shapes:
        size = int(np.prod(shape))
        arrays.append(np.array(values[:size]).reshape(shape))
        values = values[size:]
    assert not values
    return arrays


def origin_of(n: int, r: int, c: int, p: int, s: int, z: int, which: int) -> list[list[int]]:
    """The numbers of an origin, a list a group."""
    shapes = group_shapes(7, r, c + p, s)
    if which == 0:
        return [[0] * sum(int(np.prod(shape)) for shape in group) for group in group_shapes(n, r, c + p, s, z)]
    table = np.frombuffer(ORIGINS.read_bytes(), "<i2").astype(int).tolist()
    length = sum(int(np.prod(shape)) for group in shapes for shape in group)
    while tuple(table[:4]) != (c, p, s, r):
        length_here = sum(
            int(np.prod(shape)) for g in group_shapes(7, table[3], table[0] + table[1], table[2]) for shape in g
        )
        table = table[5 + table[4] * length_here :]
    i, f = divmod(which - 1, 16)
    rows = np.array(table[5 : 5 + table[4] * length]).reshape(table[4], length)
    values = (((16 - f) * rows[i] + f * rows[min(i + 1, table[4] - 1)] + 8) >> 4).tolist()
    groups = []
    for group in shapes:
        size = sum(int(np.prod(shape)) for shape in group)
        arrays = arrays_of(values[:size], group)
        values = values[size:]
        if group == shapes[2]:
            arrays = [arrays[0][: n - 1]]
        if group == shapes[3]:
            arrays = [np.pad(arrays[0][:, :n], ((0, 0), (0, z))), arrays[1]]
        groups.append([int(x) for array in arrays for x in array.ravel()])
    return groups


def rounded(value: int, exponent: int) -> int:
    """A number of an origin in units of the group's step."""
    return value << (exponent - 12) if exponent >= 12 else (value + (1 << (11 - exponent))) >> (12 - exponent)


def at(grid: np.ndarray, y: int, x: int) -> int:
    return int(grid[y, x]) if 0 <= y < grid.shape[0] and 0 <= x < grid.shape[1] else 0


def decode_stream(payload: bytes, height: int, width: int) -> Decoded:
    n, r = payload[0] & 15, payload[0] >> 4
    c, p = payload[1] & 31, payload[1] >> 5
    s, noise = payload[2] & ~3, payload[2] & 3
    exponents = [byte & 15 for byte in payload[4:11]]
    scales = [byte >> 4 for byte in payload[4:11]]
    mask = payload[11] | payload[12] << 8
    coder = EntropyDecoder(payload[13:])

    shapes = group_shapes(n, r, c + p, s, noise)
    origins = origin_of(n, r, c, p, s, noise, payload[3])
    integers = [
        [coder.number(0, 4 + 5 * scale) + rounded(value, exponent) for value in group]
        for group, scale, exponent in zip(origins, scales, exponents, strict=True)
    ]
    w1, w2, w3 = arrays_of([value * 2 ** (10 - exponents[0]) for value in integers[0]], shapes[0])
    b1, b2, b3 = arrays_of([value * 2 ** (16 - exponents[1]) for value in integers[1]], shapes[1])

    def wrap(sums: np.ndarray) -> np.ndarray:
        return (sums + 2**31) % 2**32 - 2**31

    def hidden(weights: np.ndarray, biases: np.ndarray, a: np.ndarray) -> np.ndarray:
        return np.clip((wrap(biases + weights @ a + 512) >> 10) + a, 0, 32767)

    latents = [np.zeros((-(-height // 2**k), -(-width // 2**k)), int) for k in range(n)]
    for k in reversed(range(n)):
        if not mask >> k & 1:
            continue
        grid = latents[k]
        coarser = latents[k + 1] if k + 1 < n else np.zeros((0, 0), int)
        rows, columns = grid.shape
        for first in range(0, rows, 16):
            for t in range(columns + 5 * 15):
                for y in range(first, min(first + 16, rows)):
                    x = t - 5 * (y - first)
                    if not 0 <= x < columns:
                        continue
                    inputs = [at(grid, y + dy, x + dx) for dy, dx in NEIGHBOURS[:c]]
                    here = y >> 1, x >> 1
                    beside = here[0] + (1 if y % 2 else -1), here[1] + (1 if x % 2 else -1)
                    cells = [here, (here[0], beside[1]), (beside[0], here[1]), beside]
                    inputs += [at(coarser, *cell) for cell in cells[:p]]
                    g = hidden(w2, b2, hidden(w1, b1, 64 * np.array(inputs)))
                    z = wrap(b3 + w3 @ g + 512) >> 10
                    mean = int(np.clip((z[0] + 2) >> 2, -8192, 8191))
                    scale = int(np.clip(40 + ((z[1] + 4) >> 3), 0, 95))
                    grid[y, x] = coder.number(mean, scale)
                    assert abs(grid[y, x]) <= 511
    coder.finish()
    return Decoded(n, r, s, noise, integers, exponents, latents)


# ---- 2.5: the picture


def double(lines: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Doubles along the first axis."""
    k0, k1, k2, k3 = taps
    count = len(lines)

    def p(offset: int) -> np.ndarray:
        return lines[np.clip(np.arange(count) + offset, 0, count - 1)]

    out = np.empty((2 * count, *lines.shape[1:]))
    out[0::2] = k0 * p(-2) + k2 * p(-1) + k3 * p(0) + k1 * p(1)
    out[1::2] = k1 * p(-1) + k3 * p(0) + k2 * p(1) + k0 * p(2)
    return out


def mix(h: int) -> int:
    h ^= h >> 16
    h = h * 0x7FEB352D % 2**32
    h ^= h >> 15
    h = h * 0x846CA68B % 2**32
    return h ^ h >> 16


def noise_grid(k: int, height: int, width: int) -> np.ndarray:
    grid = np.zeros((height, width))
    for y in range(height):
        key = mix((mix(k) + y) % 2**32)
        for x in range(width):
            n = sum(mix((key + x * (key | 1)) % 2**32).to_bytes(4, "little"))
            grid[y, x] = (n - 510) / 4096
    return grid


def picture(decoded: Decoded, height: int, width: int, depth: int, grayscale: bool) -> np.ndarray:
    n, inputs = decoded.grids, 8  # the entropy network's width does not matter here
    shapes = group_shapes(n, decoded.residuals, inputs, decoded.hidden, decoded.noise)
    real = [
        [value * 2.0**-e for value in values] for values, e in zip(decoded.integers, decoded.exponents, strict=True)
    ]
    (taps,) = arrays_of(real[2], shapes[2])
    s1, s2 = arrays_of(real[3], shapes[3])
    t1, t2 = arrays_of(real[4], shapes[4])
    (kernels,) = arrays_of(real[5], shapes[5])
    (offsets,) = arrays_of(real[6], shapes[6])

    channels = [decoded.latents[n - 1].astype(float)]
    for k in reversed(range(n - 1)):
        grid = decoded.latents[k]
        doubled = [double(double(channel, taps[k] + DEFAULT_TAPS).T, taps[k] + DEFAULT_TAPS).T for channel in channels]
        channels = [grid.astype(float), *(channel[: grid.shape[0], : grid.shape[1]] for channel in doubled)]
    for k in range(decoded.noise):
        channel = noise_grid(k, *decoded.latents[k].shape)
        for finer in reversed(decoded.latents[:k]):
            channel = double(double(channel, DEFAULT_TAPS).T, DEFAULT_TAPS).T[: finer.shape[0], : finer.shape[1]]
        channels.append(channel)
    z = np.stack(channels)

    h = np.maximum(0, np.einsum("sn,nyx->syx", s1, z) + t1[:, None, None])
    p = np.einsum("cs,syx->cyx", s2, h) + (t2 + 0.5)[:, None, None]
    for layer in range(decoded.residuals):
        padded = np.pad(p, ((0, 0), (1, 1), (1, 1)), mode="edge")
        change = np.zeros_like(p) + offsets[layer][:, None, None]
        for dy in range(3):
            for dx in range(3):
                shifted = padded[:, dy : dy + height, dx : dx + width]
                change += np.einsum("oi,iyx->oyx", kernels[layer][:, :, dy, dx], shifted)
        p = p + (change if layer == decoded.residuals - 1 else np.maximum(0, change))
    if grayscale:
        p = p.mean(axis=0, keepdims=True)
    samples = np.floor(np.clip(p, 0, 1) * (2**depth - 1) + 0.5).astype(int)
    return samples[0] if grayscale else samples.transpose(1, 2, 0)
