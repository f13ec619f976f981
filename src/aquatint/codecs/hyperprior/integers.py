"""Networks evaluated with integers, so that every machine finds the same ones (docs/FORMAT.md, 3.2).

Whatever decides a probability comes from here. Integers are carried by float64: sums stay below 2^53, where they are
exact in any order, and so a matrix product of the fastest library is as good as one of integers. PyTorch's graphics
processors, threads and formats have no part in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

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
        weight: of shape (O, I k k / groups), at most 2^15 in magnitude, with `exponent` fraction bits.
        bias: of shape (O,), with `exponent` + FRACTION fraction bits.
        side: k, odd.
        exponent: 0 to 14.
        spread: rows and columns of zeros + 1 between inputs: 2 for a transposed convolution.
        groups: equal parts of inputs and outputs, each of which sees only its own.
    """

    weight: np.ndarray
    bias: np.ndarray
    side: int
    exponent: int
    spread: int = 1
    groups: int = 1

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """From (I, H, W) to (O, spread H, spread W); outside are zeros."""
        channels, height, width = x.shape
        if self.spread > 1:
            wide = np.zeros((channels, height * self.spread, width * self.spread))
            wide[:, :: self.spread, :: self.spread] = x
            x, height, width = wide, wide.shape[1], wide.shape[2]
        out = np.empty((len(self.bias), height, width))
        margin = self.side // 2
        padded = np.pad(x, ((0, 0), (margin, margin), (margin, margin))) if margin else x
        windows = np.lib.stride_tricks.sliding_window_view(padded, (self.side, self.side), axis=(1, 2))
        band = max(1, _BAND // width)
        for top in range(0, height, band):
            columns = windows[:, top : top + band].transpose(0, 3, 4, 1, 2).reshape(channels * self.side**2, -1)
            out[:, top : top + band] = self.of_columns(columns).reshape(len(out), -1, width)
        return out

    def of_columns(self, columns: np.ndarray) -> np.ndarray:
        """The outputs (O, n) of n places whose windows are the columns (I k k, n)."""
        terms = self.weight.shape[1]
        parts = self.weight.reshape(self.groups, -1, terms) @ columns.reshape(self.groups, terms, -1)
        sums = parts.reshape(len(self.bias), -1)
        sums += self.bias[:, None] + (1 << self.exponent) / 2
        np.floor(sums * 0.5**self.exponent, out=sums)
        return np.clip(sums, -LIMIT, LIMIT, out=sums)


class IntegerNetwork:
    """A sequence of convolutions, ReLUs and pixel shuffles with integer weights.

    Arguments:
        structure: the network's layers; only their shapes are looked at.
        weights: for each convolution with index i: "i.weight", "i.bias" and "i.exponent", see `quantised`.

    Raises:
        CorruptStreamError: weights are missing, or not of the right shape or size.
    """

    def __init__(self, structure: nn.Sequential | Sequence[nn.Module], weights: Mapping[str, np.ndarray]) -> None:
        self.layers: list[Convolution | nn.Module] = []
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
            if isinstance(layer, Convolution):
                x = layer(x)
            elif isinstance(layer, nn.PixelShuffle):
                x = _shuffled(x, layer.upscale_factor)
            else:
                x = np.maximum(x, 0)
        return x

    def of_columns(self, columns: np.ndarray) -> np.ndarray:
        """Evaluates a network of 1x1 convolutions at n places, of shape (C, n)."""
        return self(columns[:, None, :])[:, 0]


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


def _convolution(layer: nn.Conv2d | nn.ConvTranspose2d, name: str, weights: Mapping[str, np.ndarray]) -> Convolution:
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
    spread, groups = 1, layer.groups
    if isinstance(layer, nn.ConvTranspose2d):
        # A transposed convolution is one with a mirrored kernel between zeros.
        parts = np.flip(weight, (2, 3)).reshape(groups, -1, *weight.shape[1:])
        weight, spread = parts.transpose(0, 2, 1, 3, 4), layer.stride[0]
    matrix = weight.reshape(len(bias), -1).astype(np.float64)
    if matrix.shape[1] > _MOST_TERMS:
        raise CorruptStreamError(f"layer {name} sums {matrix.shape[1]} terms; the limit is {_MOST_TERMS}")
    return Convolution(matrix, bias.astype(np.float64), layer.kernel_size[0], exponent, spread, groups)


def _shuffled(x: np.ndarray, factor: int) -> np.ndarray:
    """Channels to space, (C f f, H, W) to (C, f H, f W), in PyTorch's order."""
    channels, height, width = x.shape
    blocks = x.reshape(channels // factor**2, factor, factor, height, width).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(blocks.reshape(channels // factor**2, height * factor, width * factor))
