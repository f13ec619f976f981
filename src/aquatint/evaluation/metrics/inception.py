"""Inception-v3 as the Frechet inception distance has it: the network of 2015-12-05, as TensorFlow computed it.

It differs from other implementations in its bilinear resize, in average pooling that leaves padding out, and in maximum
pooling in the last block. Layer names are those of the converted weights that the common FID packages load.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

_SIDE = 299  # of the network's input


class Inception:
    """The network up to its global average.

    Arguments:
        tensors: of the converted weights, by their names there; those of the classifier are not used.
        device: where the tensors are.
    """

    def __init__(self, tensors: Mapping[str, Tensor], device: str = "cpu") -> None:
        self._device = device
        self._tensors = tensors

    @torch.inference_mode()
    def features(self, patches: Tensor) -> Tensor:
        """Mean activations of the last feature map, (N, 2048), of patches uint8 (N, 3, H, W)."""
        x = (_resize(patches.to(self._device).float()) - 128) / 128
        x = self._conv(x, "Conv2d_1a_3x3", stride=2)
        x = self._conv(x, "Conv2d_2a_3x3")
        x = self._conv(x, "Conv2d_2b_3x3", padding=1)
        x = F.max_pool2d(x, 3, 2)
        x = self._conv(x, "Conv2d_3b_1x1")
        x = self._conv(x, "Conv2d_4a_3x3")
        x = F.max_pool2d(x, 3, 2)
        for block in ("5b", "5c", "5d"):
            x = self._block_35(x, f"Mixed_{block}")
        x = self._to_17(x, "Mixed_6a")
        for block in ("6b", "6c", "6d", "6e"):
            x = self._block_17(x, f"Mixed_{block}")
        x = self._to_8(x, "Mixed_7a")
        x = self._block_8(x, "Mixed_7b", pooled=_mean_of_neighbours(x))
        x = self._block_8(x, "Mixed_7c", pooled=F.max_pool2d(x, 3, 1, 1))
        return x.mean((2, 3))

    def _conv(self, x: Tensor, name: str, stride: int = 1, padding: int | tuple[int, int] = 0) -> Tensor:
        t = self._tensors
        x = F.conv2d(x, t[f"{name}.conv.weight"], None, stride, padding)
        mean, variance = t[f"{name}.bn.running_mean"], t[f"{name}.bn.running_var"]
        return F.relu(F.batch_norm(x, mean, variance, t[f"{name}.bn.weight"], t[f"{name}.bn.bias"], eps=1e-3))

    def _same(self, x: Tensor, *names: str) -> Tensor:
        """A chain of convolutions that keep the size."""
        for name in names:
            height, width = self._tensors[f"{name}.conv.weight"].shape[2:]
            x = self._conv(x, name, padding=(height // 2, width // 2))
        return x

    def _block_35(self, x: Tensor, name: str) -> Tensor:
        branches = [
            self._same(x, f"{name}.branch1x1"),
            self._same(x, *(f"{name}.branch5x5_{k}" for k in (1, 2))),
            self._same(x, *(f"{name}.branch3x3dbl_{k}" for k in (1, 2, 3))),
            self._same(_mean_of_neighbours(x), f"{name}.branch_pool"),
        ]
        return torch.cat(branches, 1)

    def _to_17(self, x: Tensor, name: str) -> Tensor:
        double = self._same(x, f"{name}.branch3x3dbl_1", f"{name}.branch3x3dbl_2")
        branches = [
            self._conv(x, f"{name}.branch3x3", stride=2),
            self._conv(double, f"{name}.branch3x3dbl_3", stride=2),
            F.max_pool2d(x, 3, 2),
        ]
        return torch.cat(branches, 1)

    def _block_17(self, x: Tensor, name: str) -> Tensor:
        branches = [
            self._same(x, f"{name}.branch1x1"),
            self._same(x, *(f"{name}.branch7x7_{k}" for k in (1, 2, 3))),
            self._same(x, *(f"{name}.branch7x7dbl_{k}" for k in (1, 2, 3, 4, 5))),
            self._same(_mean_of_neighbours(x), f"{name}.branch_pool"),
        ]
        return torch.cat(branches, 1)

    def _to_8(self, x: Tensor, name: str) -> Tensor:
        single = self._same(x, f"{name}.branch3x3_1")
        seven = self._same(x, *(f"{name}.branch7x7x3_{k}" for k in (1, 2, 3)))
        branches = [
            self._conv(single, f"{name}.branch3x3_2", stride=2),
            self._conv(seven, f"{name}.branch7x7x3_4", stride=2),
            F.max_pool2d(x, 3, 2),
        ]
        return torch.cat(branches, 1)

    def _block_8(self, x: Tensor, name: str, *, pooled: Tensor) -> Tensor:
        single = self._same(x, f"{name}.branch3x3_1")
        double = self._same(x, f"{name}.branch3x3dbl_1", f"{name}.branch3x3dbl_2")
        branches = [
            self._same(x, f"{name}.branch1x1"),
            self._same(single, f"{name}.branch3x3_2a"),
            self._same(single, f"{name}.branch3x3_2b"),
            self._same(double, f"{name}.branch3x3dbl_3a"),
            self._same(double, f"{name}.branch3x3dbl_3b"),
            self._same(pooled, f"{name}.branch_pool"),
        ]
        return torch.cat(branches, 1)


def _mean_of_neighbours(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _resize(x: Tensor) -> Tensor:
    """Bilinear interpolation to 299x299 whose first samples coincide, without smoothing, as TensorFlow 1 does it."""
    for dimension in (2, 3):
        side = x.shape[dimension]
        place = torch.arange(_SIDE, device=x.device, dtype=torch.float32) * (side / _SIDE)
        below = place.long()
        above = (below + 1).clamp_max(side - 1)
        shape = [1, 1, 1, 1]
        shape[dimension] = _SIDE
        share = (place - below).view(shape)
        low, high = x.index_select(dimension, below), x.index_select(dimension, above)
        x = low + (high - low) * share
    return x
