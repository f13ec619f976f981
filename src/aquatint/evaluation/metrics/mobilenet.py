"""MobileNetV2 (Sandler et al. 2018), a small stand-in for Inception in distances between sets of patches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

# Expansion of channels, number of blocks and stride of the first of them, a row a stage (table 2 of the paper).
_STAGES = ((1, 1, 1), (6, 2, 2), (6, 3, 2), (6, 4, 2), (6, 3, 1), (6, 3, 2), (6, 1, 1))
_CONVOLUTIONS = 53


class MobileNet:
    """The network without its softmax.

    Arguments:
        tensors: for each of the 53 convolutions, in order, `convNN.weight_int8` (O, I, k, k), `convNN.scale` (O,) and
            `convNN.bias` (O,): 8-bit weights with one scale an output channel, batch normalisation folded in.
        device: where the tensors are.
    """

    def __init__(self, tensors: Mapping[str, Tensor], device: str = "cpu") -> None:
        self._device = device
        self._layers = []
        for k in range(_CONVOLUTIONS):
            integers, scale, bias = (tensors[f"conv{k:02}.{part}"] for part in ("weight_int8", "scale", "bias"))
            self._layers.append((integers.float() * scale[:, None, None, None], bias))

    @torch.inference_mode()
    def features(self, patches: Tensor) -> Tensor:
        """Mean activations of the last feature map, (N, 1280), of patches uint8 (N, 3, H, W)."""
        layers = iter(self._layers)
        x = _convolve(patches.to(self._device).float() / 127.5 - 1, layers, stride=2)
        for expansion, blocks, stride in _STAGES:
            for block in range(blocks):
                y = x if expansion == 1 else _convolve(x, layers)
                y = _convolve(y, layers, stride=stride if block == 0 else 1)
                y = _convolve(y, layers, linear=True)
                x = y if block == 0 else x + y
        return _convolve(x, layers).mean((2, 3))

    @torch.inference_mode()
    def probabilities(self, features: Tensor) -> Tensor:
        """Probabilities (N, 1001) of the background and of the classes of ImageNet, from features (N, 1280)."""
        weight, bias = self._layers[-1]
        return F.linear(features, weight.flatten(1), bias).softmax(1)


def _convolve(x: Tensor, layers: Iterator[tuple[Tensor, Tensor]], *, stride: int = 1, linear: bool = False) -> Tensor:
    """The next layer, its padding that of TensorFlow: an odd sample goes to the right or below."""
    weight, bias = next(layers)
    padding = []
    for side in (x.shape[3], x.shape[2]):
        total = max((-(-side // stride) - 1) * stride + weight.shape[2] - side, 0)
        padding += [total // 2, total - total // 2]
    x = F.conv2d(F.pad(x, padding), weight, bias, stride, groups=x.shape[1] // weight.shape[1])
    return x if linear else x.clamp(0, 6)
