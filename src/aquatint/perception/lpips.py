"""LPIPS: a weighted distance between normalised activations of a network trained to classify.

Source: Zhang, Isola, Efros, Shechtman, Wang, "The unreasonable effectiveness of deep features as a perceptual metric",
2018, equation 1, with the linear heads of version 0.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# Added to the squared norm of activations, under the root: outside of it gradients are infinite where all are zero.
_EPSILON = 1e-8

Backbone = Callable[[Tensor], Sequence[Tensor]]


class LPIPS:
    """The distance, differentiable.

    Arguments:
        backbone: from images (N, 3, H, W), sRGB in [0, 1], to the activations (N, C, h, w) that the heads belong to. It
            normalises its input by mean and deviation of ImageNet, which is the scaling layer of LPIPS.
        heads: one a map, non-negative weights of its channels (C,).
    """

    def __init__(self, backbone: Backbone, heads: Sequence[Tensor]) -> None:
        self._backbone = backbone
        self._heads = [head.reshape(1, -1, 1, 1) for head in heads]

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances (N,) of images (N, 3, H, W), sRGB in [0, 1]; 0 for equal ones."""
        return torch.stack([layer.mean((1, 2)) for layer in self.maps(x, y)]).sum(0)

    def maps(self, x: Tensor, y: Tensor) -> list[Tensor]:
        """Where the images differ, (N, h, w) a layer; the distance is the sum of the means of these maps."""
        return [
            (head * (_normalise(a) - _normalise(b)) ** 2).sum(1)
            for head, a, b in zip(self._heads, self._backbone(x), self._backbone(y), strict=True)
        ]


def _normalise(activations: Tensor) -> Tensor:
    return activations / torch.sqrt(_EPSILON + torch.sum(activations**2, dim=1, keepdim=True))
