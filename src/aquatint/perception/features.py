"""Feature stacks: from an image to maps whose differences, or the differences of whose statistics, the eye sees.

A stack is a callable from images, float tensors (N, 3, H, W) of sRGB in [0, 1], to a list of `FeatureMap`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from aquatint.errors import UsageError
from aquatint.perception import steerable
from aquatint.perception.features_networks import SqueezeNet, Vgg


class FeatureMap(NamedTuple):
    """Features (N, C, h, w), and how many pixels of the image lie between two of their positions."""

    values: Tensor
    stride: int


Features = Callable[[Tensor], list[FeatureMap]]


def rgb(image: Tensor) -> list[FeatureMap]:
    """The image itself as its only map."""
    return [FeatureMap(image, 1)]


def steerable_stack(image: Tensor) -> list[FeatureMap]:
    """The stack without weights; `aquatint.perception.steerable` says what it is."""
    colours = torch.einsum("ck,nkhw->cnhw", image.new_tensor(steerable.COLOURS), image)
    pyramids = [[colour[:, None]] for colour in colours]
    for pyramid in pyramids:
        while len(pyramid) < steerable.LEVELS:
            pyramid.append(decimate(pyramid[-1]))
    return [
        FeatureMap(_half_waves(pyramids[colour][level], 0.5 if colour == 0 else 0.0), 2**level)
        for colour, level in steerable.MAPS
    ]


def decimate(x: Tensor) -> Tensor:
    """Every second sample of maps (N, C, h, w) under [1 2 1]/4 across and down, with replicated borders."""
    x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    x = (x[..., :-2:2, :] + 2 * x[..., 1:-1:2, :] + x[..., 2::2, :]) / 4
    return (x[..., :-2:2] + 2 * x[..., 1:-1:2] + x[..., 2::2]) / 4


def _half_waves(level: Tensor, centre: float) -> Tensor:
    """The 18 features (N, 18, h, w) of one level (N, 1, h, w) of one colour."""
    taps = level.new_tensor([[0.25, 0.5, 0.25], [-0.5, 0, 0.5], [-0.5, 1, -0.5]])
    blur, odd, even = taps
    pairs = [(blur, odd), (odd, blur), (blur, even), (even, blur), (odd, odd / -2)]  # down and across
    kernels = torch.stack([torch.outer(down, across) for down, across in pairs])
    x, y, xx, yy, xy = F.conv2d(F.pad(level, (1, 1, 1, 1), mode="replicate"), kernels[:, None]).unbind(1)
    evens = [xx, (xx + yy) / 2 + xy, yy, (xx + yy) / 2 - xy]
    odds = [x, math.sqrt(0.5) * (x + y), y, math.sqrt(0.5) * (y - x)]
    pixels = steerable.PIXEL_GAIN * (level - centre)
    bands = [steerable.EVEN_GAIN * torch.stack(evens, 1), steerable.ODD_GAIN * torch.stack(odds, 1)]
    responses = torch.cat([pixels, *bands], 1)
    return torch.cat([F.relu(responses), F.relu(-responses)], 1)


class NetworkFeatures:
    """Activations of a trained network, after the image itself, on a pyramid of the normalised image.

    With VGG16, average pooling and three scales this is the stack of "Good, Cheap, and Fast" (arXiv 2412.00505).

    Args:
        network: a module from images normalised by the ImageNet mean and deviation to a list of (values, stride).
        scales: how many levels of the image's pyramid the network sees; each is half as large as the one before.
        with_image: whether the normalised image is the first map.
        dtype: of the network's arithmetic; maps are those of the image's dtype.
    """

    MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def __init__(
        self, network: torch.nn.Module, *, scales: int = 1, with_image: bool = False, dtype: torch.dtype = torch.float32
    ) -> None:
        self.network = network.requires_grad_(False).eval().to(dtype)
        self.dtype = dtype
        self.scales, self.with_image = scales, with_image

    def __call__(self, image: Tensor) -> list[FeatureMap]:
        self.network.to(image.device)
        mean, deviation = (image.new_tensor(values)[:, None, None] for values in (self.MEAN, self.DEVIATION))
        image = (image - mean) / deviation
        maps = [FeatureMap(image, 1)] if self.with_image else []
        for scale in range(self.scales):
            if scale > 0:
                image = decimate(image)
            activations = self.network(image.to(self.dtype))
            maps += [FeatureMap(values.to(image.dtype), stride * 2**scale) for values, stride in activations]
        return maps


def halved(features: Features) -> Features:
    """The stack of an image of half the size: where details count too little to pay for them."""
    return lambda image: [FeatureMap(values, 2 * stride) for values, stride in features(decimate(image))]


def create_features(name: str, *, folder: str | Path | None = None, dtype: torch.dtype = torch.float32) -> Features:
    """The feature stack of a name.

    Args:
        name: "rgb"; "steerable", without weights; "vgg16" or "vgg19", the image and the last activations of every
            block under average pooling at three scales; "squeezenet", the seven activations that LPIPS uses.
        folder: where files of weights lie; see `aquatint.perception.weights.find`.
        dtype: of networks; see `NetworkFeatures`.

    Raises:
        UsageError: there is no such stack.
        DependencyError: its weights are not there.
    """
    match name:
        case "rgb":
            return rgb
        case "steerable":
            return steerable_stack
        case "vgg16" | "vgg19":
            return NetworkFeatures(Vgg(name, folder=folder), scales=3, with_image=True, dtype=dtype)
        case "squeezenet":
            return NetworkFeatures(SqueezeNet(folder=folder), dtype=dtype)
        case _:
            raise UsageError(f"features must be rgb, steerable, vgg16, vgg19 or squeezenet, not {name!r}")
