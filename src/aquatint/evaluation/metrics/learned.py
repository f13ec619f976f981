"""Metrics by trained networks, on arrays: large pictures a tile at a time, and each network loaded once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from aquatint.errors import ImageError, UsageError
from aquatint.evaluation.metrics.inception import Inception
from aquatint.evaluation.metrics.mobilenet import MobileNet
from aquatint.evaluation.metrics.patches import Network
from aquatint.perception import backbones, weights
from aquatint.perception.dists import DISTS, STRIDES, moments
from aquatint.perception.lpips import LPIPS
from aquatint.perception.tiles import Tile, tiles

SMALLEST_SIDE = 32  # below it the coarsest maps of some backbone are empty


@torch.inference_mode()
def lpips(net: str, reference: np.ndarray, distorted: np.ndarray, device: str) -> float:
    """LPIPS 0.1 of two pictures at full size, 0 for equal ones.

    Arguments:
        net: the backbone, "alex", "squeeze" or "vgg".
        reference, distorted: uint8 of one shape (H, W, 3).
        device: where to compute.

    Raises:
        ImageError: a side is shorter than `SMALLEST_SIDE`.
        DependencyError, MissingModelError: see `perception.weights`.
    """
    model, strides = _lpips(net, device)
    sums, counts = np.zeros(len(strides)), np.zeros(len(strides))
    for tile, x, y in _tiles(reference, distorted, device, name="LPIPS"):
        for k, (layer, stride) in enumerate(zip(model.maps(x, y), strides, strict=True)):
            part = layer[(..., *tile.inside(stride))]
            sums[k] += part.sum(dtype=torch.float64).item()
            counts[k] += part.numel()
    return float(np.sum(sums / counts))


@torch.inference_mode()
def dists(reference: np.ndarray, distorted: np.ndarray, device: str) -> float:
    """DISTS of two pictures at full size, 0 for equal ones; arguments and errors as of `lpips`."""
    model = _dists(device)
    sums: list[Tensor | float] = [0.0] * len(STRIDES)
    counts = [0] * len(STRIDES)
    for tile, x, y in _tiles(reference, distorted, device, name="DISTS"):
        for k, (maps, stride) in enumerate(zip(model.maps(x, y), STRIDES, strict=True)):
            a, b = (values[(..., *tile.inside(stride))] for values in maps)
            sums[k] = sums[k] + moments(a, b).double()
            counts[k] += a[0, 0].numel()
    means = [torch.as_tensor(total) / count for total, count in zip(sums, counts, strict=True)]
    return model.distance(means).item()


@cache
def network(name: str, device: str) -> Network:
    """The network of a metric on sets: "inception" or "mobilenet_v2"."""
    return {"inception": Inception, "mobilenet_v2": MobileNet}[name](_on(device, weights.load(name)), device)


@cache
def _lpips(net: str, device: str) -> tuple[LPIPS, tuple[int, ...]]:
    """LPIPS with a backbone, and the strides of its maps."""
    name, backbone, strides = {
        "alex": ("alexnet", backbones.alexnet, (4, 8, 16, 16, 16)),
        "squeeze": ("squeezenet1_1", backbones.squeezenet, (2, 4, 8, 16, 16, 16, 16)),
        "vgg": ("vgg16", backbones.vgg16, (1, 2, 4, 8, 16)),
    }[net]
    heads = _on(device, weights.load(f"lpips-{net}"))
    layers = [heads[f"lin{k}.model.1.weight"] for k in range(len(strides))]
    return LPIPS(partial(backbone, _backbone(name, device)), layers), strides


@cache
def _dists(device: str) -> DISTS:
    tensors = _on(device, weights.load("dists"))
    return DISTS(_backbone("vgg16", device), tensors["alpha"], tensors["beta"])


@cache
def _backbone(name: str, device: str) -> dict[str, Tensor]:
    """The tensors of a network without its classifier, which for VGG16 is nine tenths of the file."""
    return _on(device, {key: tensor for key, tensor in weights.load(name).items() if key.startswith("features.")})


def _tiles(
    reference: np.ndarray, distorted: np.ndarray, device: str, *, name: str
) -> Iterator[tuple[Tile, Tensor, Tensor]]:
    """Tiles of two pictures, and their crops as images (1, 3, h, w) in [0, 1]."""
    height, width = reference.shape[:2]
    if min(height, width) < SMALLEST_SIDE:
        raise ImageError(f"{name} needs sides of at least {SMALLEST_SIDE} pixels, not {width}x{height}")
    for tile in tiles(height, width):
        crops = (np.ascontiguousarray(picture[tile.rows, tile.columns]) for picture in (reference, distorted))
        x, y = (torch.from_numpy(crop).to(device).permute(2, 0, 1)[None].float() / 255 for crop in crops)
        yield tile, x, y


def _on(device: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    try:
        return {name: tensor.float().to(device) for name, tensor in tensors.items()}
    except (RuntimeError, AssertionError) as error:  # the latter where torch was built without CUDA
        raise UsageError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error
