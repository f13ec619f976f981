"""Networks evaluated with integers, so that every machine finds the same ones (docs/FORMAT.md, 3.2).

Whatever decides a probability comes from here. Integers are carried by float64: sums stay below 2^53, where they are
exact in any order, and so a matrix product of the fastest library is as good as one of integers. PyTorch's graphics
processors, threads and formats have no part in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from torch import nn

from aquatint import native
from aquatint.errors import CorruptStreamError

FRACTION = 10  # fraction bits of activations
ONE = 1 << FRACTION
LIMIT = 1 << 24  # activations are from -LIMIT to LIMIT
_MOST_TERMS = 1 << 13  # of a sum: 2^24 * 2^15 * 2^13 < 2^53
_MOST_EXPONENT = 20
_BAND = 1 << 13  # places whose windows are in memory at once


def fixed(values: np.ndarray | float) -> np.ndarray:
    """Real numbers as integers with `FRACTION` fraction bits."""
    return np.clip(np.rint(np.asarray(values, np.float64) * ONE), -LIMIT, LIMIT)


def scaled(values: np.ndarray, factor: int) -> np.ndarray:
    """values * factor / 2^16, rounded to the nearest integer, ties upwards, and clipped to the limit.

    Arguments:
        values: integers from -LIMIT to LIMIT.
        factor: from 0 to 2^28.
    """
    return np.clip(np.floor((values * factor + 32768) / 65536), -LIMIT, LIMIT)


@dataclass(frozen=True)
class Convolution:
    """A convolution with integer weights.

    Attributes:
        weight: of shape (O, I k k), at most 2^15 in magnitude, with `exponent` fraction bits.
        bias: of shape (O,), with `exponent` + FRACTION fraction bits.
        side: k, odd.
        exponent: 0 to 14.
        spread: rows and columns of zeros + 1 between inputs: 2 for a transposed convolution.
    """

    weight: np.ndarray
    bias: np.ndarray
    side: int
    exponent: int
    spread: int = 1

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """From (I, H, W) to (O, spread H, spread W); outside are zeros."""
        _, height, width = x.shape
        out = np.empty((len(self.bias), height * self.spread, width * self.spread))
        margin = self.side // 2
        padded = np.pad(x, ((0, 0), (margin, margin), (margin, margin)))
        band = max(1, _BAND // width)
        for (row, column), taps in self._phases.items():
            first_row, first_column = (margin - (margin - place) // self.spread for place in (row, column))
            windows = np.lib.stride_tricks.sliding_window_view(padded, taps.shape[2:], axis=(1, 2))
            windows = windows[:, first_row:, first_column : first_column + width]
            weight = taps.reshape(len(out), -1)
            phase = out[:, row :: self.spread, column :: self.spread]
            for top in range(0, height, band):
                here = windows[:, top : min(top + band, height)].transpose(0, 3, 4, 1, 2)
                sums = self._rounded(weight @ here.reshape(weight.shape[1], -1))
                phase[:, top : top + band] = sums.reshape(len(out), -1, width)
        return out

    @cached_property
    def _phases(self) -> dict[tuple[int, int], np.ndarray]:
        """For each place of outputs relative to inputs, the taps that fall on inputs and not on zeros between them."""
        kernel = self.weight.reshape(len(self.bias), -1, self.side, self.side)
        margin = self.side // 2
        first = [(margin - place) % self.spread for place in range(self.spread)]
        return {
            (row, column): np.ascontiguousarray(kernel[:, :, first[row] :: self.spread, first[column] :: self.spread])
            for row, column in product(range(self.spread), repeat=2)
        }

    def of_columns(self, columns: np.ndarray) -> np.ndarray:
        """The outputs (O, n) of n places whose windows are the columns (I k k, n)."""
        return self._layer(np.ascontiguousarray(columns))

    @cached_property
    def _layer(self) -> native.ColumnLayer:
        """The convolution for few columns, where a library's matrix product spends its time on reading weights."""
        return native.ColumnLayer(np.ascontiguousarray(self.weight, np.int16), self.bias, self.exponent, LIMIT)

    def _rounded(self, sums: np.ndarray) -> np.ndarray:
        sums += self.bias[:, None] + (1 << self.exponent) / 2
        np.floor(sums * 0.5**self.exponent, out=sums)
        return np.clip(sums, -LIMIT, LIMIT, out=sums)


@dataclass(frozen=True)
class Grouped:
    """Convolutions of equal parts of the channels, side by side."""

    parts: Sequence[Convolution]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """From (I, H, W) to (O, spread H, spread W)."""
        inputs = np.split(x, len(self.parts))
        return np.concatenate([part(own) for part, own in zip(self.parts, inputs, strict=True)])


class IntegerNetwork:
    """A sequence of convolutions, ReLUs and pixel shuffles with integer weights.

    Arguments:
        structure: the network's layers; only their shapes are looked at.
        weights: for each convolution with index i: "i.weight", "i.bias" and "i.exponent", see `quantised`.

    Raises:
        CorruptStreamError: weights are missing, or not of the right shape or size.
    """

    def __init__(self, structure: nn.Sequential | Sequence[nn.Module], weights: Mapping[str, np.ndarray]) -> None:
        self.layers: list[Convolution | Grouped | nn.Module] = []
        for index, layer in enumerate(structure):
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                self.layers.append(_convolution(layer, str(index), weights))
            elif isinstance(layer, nn.ReLU | nn.PixelShuffle):
                self.layers.append(layer)
            else:
                raise TypeError(f"there is no integer form of {type(layer).__name__}")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Evaluates the network on integers of shape (C, H, W)."""
        for layer in self.layers:
            if isinstance(layer, Convolution | Grouped):
                x = layer(x)
            elif isinstance(layer, nn.PixelShuffle):
                x = _shuffled(x, layer.upscale_factor)
            else:
                x = np.maximum(x, 0)
        return x

    def of_columns(self, columns: np.ndarray) -> np.ndarray:
        """Evaluates a network of 1x1 convolutions at n places, of shape (C, n)."""
        for layer in self.layers:
            columns = layer.of_columns(columns) if isinstance(layer, Convolution) else np.maximum(columns, 0)
        return columns


def quantised(structure: nn.Sequential | Sequence[nn.Module]) -> dict[str, np.ndarray]:
    """The weights of a trained network as integers, by the names that `IntegerNetwork` looks for.

    Each convolution gets the largest exponent that its weights allow.
    """
    found: dict[str, np.ndarray] = {}
    for index, layer in enumerate(structure):
        if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            continue
        mask = getattr(layer, "mask", 1)
        weight = (layer.weight * mask).detach().cpu().double().numpy()
        largest = max(float(np.abs(weight).max()), 1e-9)
        exponent = int(np.clip(np.floor(np.log2(32767 / largest)), 0, _MOST_EXPONENT))
        bias = np.zeros(weight.shape[0]) if layer.bias is None else layer.bias.detach().cpu().double().numpy()
        found[f"{index}.weight"] = np.clip(np.rint(weight * 2**exponent), -32767, 32767).astype(np.int16)
        limit = 2**31 - 1
        found[f"{index}.bias"] = np.clip(np.rint(bias * 2.0 ** (exponent + FRACTION)), -limit, limit).astype(np.int32)
        found[f"{index}.exponent"] = np.array([exponent], np.uint8)
    return found


def _convolution(
    layer: nn.Conv2d | nn.ConvTranspose2d, name: str, weights: Mapping[str, np.ndarray]
) -> Convolution | Grouped:
    try:
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        (exponent,) = weights[f"{name}.exponent"].tolist()
    except (KeyError, ValueError) as error:
        raise CorruptStreamError(f"integer weights of layer {name} are missing: {error}") from None
    shapes = tuple(layer.weight.shape), (layer.out_channels,)
    if (weight.shape, bias.shape) != shapes or weight.dtype != np.int16 or bias.dtype != np.int32:
        raise CorruptStreamError(f"integer weights of layer {name} have shapes {weight.shape}, {bias.shape}")
    if not 0 <= exponent <= _MOST_EXPONENT:
        raise CorruptStreamError(f"the exponent of layer {name} is {exponent}, outside 0 to {_MOST_EXPONENT}")
    terms = layer.in_channels // layer.groups * layer.kernel_size[0] ** 2
    if terms > _MOST_TERMS:
        raise CorruptStreamError(f"layer {name} sums {terms} terms; the limit is {_MOST_TERMS}")
    spread, parts = 1, []
    for own, own_bias in zip(np.split(weight, layer.groups), np.split(bias, layer.groups), strict=True):
        if isinstance(layer, nn.ConvTranspose2d):
            # A transposed convolution is one with a mirrored kernel between zeros.
            own, spread = np.flip(own, (2, 3)).transpose(1, 0, 2, 3), layer.stride[0]
        matrix = own.reshape(len(own_bias), -1).astype(np.float64)
        parts.append(Convolution(matrix, own_bias.astype(np.float64), layer.kernel_size[0], exponent, spread))
    return Grouped(parts) if layer.groups > 1 else parts[0]


def _shuffled(x: np.ndarray, factor: int) -> np.ndarray:
    """Channels to space, (C f f, H, W) to (C, f H, f W), in PyTorch's order."""
    channels, height, width = x.shape
    blocks = x.reshape(channels // factor**2, factor, factor, height, width).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(blocks.reshape(channels // factor**2, height * factor, width * factor))
