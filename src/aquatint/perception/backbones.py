"""The networks of LPIPS: AlexNet, SqueezeNet 1.1 and VGG16 up to the activations that it compares.

Layers and the names of their tensors are those of torchvision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, sRGB in [0, 1]
Tensors = Mapping[str, Tensor]


def normalise(images: Tensor) -> Tensor:
    """Images (N, 3, H, W), sRGB in [0, 1], less the mean colour of ImageNet in units of its deviation."""
    mean, deviation = (images.new_tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
    return (images - mean) / deviation


def alexnet(tensors: Tensors, images: Tensor) -> list[Tensor]:
    """Activations after the five convolutions, at strides 4, 8, 16, 16 and 16."""
    maps = [_conv(tensors, 0, normalise(images), stride=4, padding=2)]
    maps.append(_conv(tensors, 3, F.max_pool2d(maps[-1], 3, 2), padding=2))
    maps.append(_conv(tensors, 6, F.max_pool2d(maps[-1], 3, 2), padding=1))
    maps.append(_conv(tensors, 8, maps[-1], padding=1))
    maps.append(_conv(tensors, 10, maps[-1], padding=1))
    return maps


def squeezenet(tensors: Tensors, images: Tensor) -> list[Tensor]:
    """Activations after conv1 and fire modules 3, 5, 6, 7, 8 and 9, at strides 2, 4, 8, 16, 16, 16 and 16."""

    def fires(x: Tensor, *layers: int) -> Tensor:
        for k in layers:
            x = _conv(tensors, f"{k}.squeeze", x)
            x = torch.cat([_conv(tensors, f"{k}.expand1x1", x), _conv(tensors, f"{k}.expand3x3", x, padding=1)], 1)
        return x

    def pool(x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    maps = [_conv(tensors, 0, normalise(images), stride=2)]
    maps.append(fires(pool(maps[-1]), 3, 4))
    maps.append(fires(pool(maps[-1]), 6, 7))
    maps.append(fires(pool(maps[-1]), 9))
    for layer in (10, 11, 12):
        maps.append(fires(maps[-1], layer))
    return maps


def vgg16(tensors: Tensors, images: Tensor, pool: Callable[[Tensor], Tensor] | None = None) -> list[Tensor]:
    """Activations relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3, at strides 1, 2, 4, 8 and 16.

    Arguments:
        tensors: `features.K.weight` and `features.K.bias`.
        images: (N, 3, H, W), sRGB in [0, 1].
        pool: what halves the sides between the blocks, by default the maximum.
    """
    maps: list[Tensor] = []
    x = normalise(images)
    for block in ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)):
        if maps:
            x = F.max_pool2d(x, 2) if pool is None else pool(x)
        for layer in block:
            x = _conv(tensors, layer, x, padding=1)
        maps.append(x)
    return maps


def _conv(tensors: Tensors, layer: int | str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    name = f"features.{layer}"
    return F.relu(F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], stride, padding))
