"""DISTS: similarity of the means (texture) and of the correlations (structure) of activations of VGG16.

Source: Ding, Ma, Wang, Simoncelli, "Image quality assessment: unifying structure and texture similarity", 2020,
equations 2 and 4 to 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from aquatint.perception.features import NetworkFeatures

_CONSTANT = 1e-6  # keeps both similarities stable where activations vanish
_CONVOLUTIONS = (2, 2, 3, 3, 3)  # of the blocks of VGG16
STRIDES = (1, 1, 2, 4, 8, 16)  # of the image itself and of the last activations of each block


class DISTS:
    """The distance, differentiable.

    Arguments:
        vgg: tensors of VGG16 as `weights.load` names them, conv1_1.weight and so on.
        alpha, beta: weights of texture and structure, one for each of the 1475 channels of the six maps.
    """

    def __init__(self, vgg: Mapping[str, Tensor], alpha: Tensor, beta: Tensor) -> None:
        self._vgg = vgg
        total = alpha.sum() + beta.sum()
        self._alpha, self._beta = alpha.flatten() / total, beta.flatten() / total

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances (N,) of images (N, 3, H, W), sRGB in [0, 1]; 0 for equal ones, at most 1."""
        return self.distance([moments(a, b) / a[0, 0].numel() for a, b in self.maps(x, y)])

    def maps(self, x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
        """What is compared: maps (N, C, h, w) of both images, with `STRIDES`."""
        return list(zip(self._maps(x), self._maps(y), strict=True))

    def distance(self, moments: Sequence[Tensor]) -> Tensor:
        """Distances (N,) from the means (5, N, C) of the `moments` of each map."""
        mean_x, mean_y, square_x, square_y, product = torch.cat(list(moments), dim=2)
        texture = (2 * mean_x * mean_y + _CONSTANT) / (mean_x**2 + mean_y**2 + _CONSTANT)
        variances = (square_x - mean_x**2).clamp_min(0) + (square_y - mean_y**2).clamp_min(0)  # rounding may go below
        structure = (2 * (product - mean_x * mean_y) + _CONSTANT) / (variances + _CONSTANT)
        return 1 - (self._alpha * texture + self._beta * structure).sum(1)

    def _maps(self, images: Tensor) -> list[Tensor]:
        mean, deviation = (
            images.new_tensor(values)[:, None, None] for values in (NetworkFeatures.MEAN, NetworkFeatures.DEVIATION)
        )
        x = (images - mean) / deviation
        maps = [images]
        for block, count in enumerate(_CONVOLUTIONS, 1):
            if block > 1:
                x = _pool(x)
            for number in range(1, count + 1):
                name = f"conv{block}_{number}"
                x = F.relu(F.conv2d(x, self._vgg[f"{name}.weight"], self._vgg[f"{name}.bias"], padding=1))
            maps.append(x)
        return maps


def moments(a: Tensor, b: Tensor) -> Tensor:
    """Sums over positions of a, b, a^2, b^2 and ab, (5, N, C), of two maps (N, C, h, w)."""
    return torch.stack([product.sum((2, 3)) for product in (a, b, a * a, b * b, a * b)])


def _pool(x: Tensor) -> Tensor:
    """Root of the Hann-weighted mean of squares over 3x3 samples, a step of two: pooling without aliasing."""
    window = x.new_tensor([0.25, 0.5, 0.25])
    kernel = (window[:, None] * window).expand(x.shape[1], 1, 3, 3)
    return torch.sqrt(F.conv2d(x * x, kernel, stride=2, padding=1, groups=x.shape[1]) + 1e-12)
