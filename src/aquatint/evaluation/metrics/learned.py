"""Metrics by trained networks, on arrays: large pictures a tile at a time, and each network loaded once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache

import numpy as np
import torch
from torch import Tensor

from aquatint.errors import ImageError, UsageError
from aquatint.evaluation.metrics.inception import Inception
from aquatint.evaluation.metrics.mobilenet import MobileNet
from aquatint.evaluation.metrics.patches import Network
from aquatint.perception import weights
from aquatint.perception.dists import DISTS, STRIDES, moments
from aquatint.perception.features import Features, NetworkFeatures, create_features
from aquatint.perception.features_networks import Vgg
from aquatint.perception.lpips import LPIPS, create_lpips
from aquatint.perception.tiles import Tile, tiles
from aquatint.perception.wasserstein import WassersteinDistortion

_SIGMA = 8.0  # of Wasserstein distortion, in pixels
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
        DependencyError: see `perception.weights`.
    """
    model = _lpips(net, device)
    sums: dict[int, float] = defaultdict(float)
    counts: dict[int, int] = defaultdict(int)
    for tile, x, y in _tiles(reference, distorted, device, name="LPIPS"):
        for k, (layer, stride) in enumerate(model.maps(x, y)):
            part = layer[(..., *tile.inside(stride))]
            sums[k] += part.sum(dtype=torch.float64).item()
            counts[k] += part.numel()
    return sum(total / counts[k] for k, total in sums.items())


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


@torch.inference_mode()
def wasserstein(stack: str, reference: np.ndarray, distorted: np.ndarray, device: str) -> float:
    """Wasserstein distortion with a sigma of 8 everywhere (WD8), 0 for equal pictures.

    Pictures with a side of 768 pixels or more are taken apart into tiles of at least 512; the value is their mean,
    weighted by area. Only windows that a seam cuts see a difference.

    Arguments:
        stack: features, "steerable", "vgg16" or "vgg19"; the last goes to relu3_4 only.
        reference, distorted: uint8 of one shape (H, W, 3).
        device: where to compute.

    Raises:
        ImageError: a side is shorter than `SMALLEST_SIDE`.
        UsageError: the device cannot be used.
        DependencyError: weights are missing, see `perception.weights`.
    """
    features = _stack(stack)
    total, area = 0.0, 0
    for tile, *crops in _tiles(reference, distorted, _usable(device), name="Wasserstein distortion"):
        x, y = (crop[(..., *tile.inside(1))] for crop in crops)
        sigma = np.full(x.shape[2:], _SIGMA)
        total += WassersteinDistortion(features, x, sigma).value(y).item() * sigma.size
        area += sigma.size
    return total / area


@cache
def network(name: str, device: str) -> Network:
    """The network of a metric on sets: "inception" or "mobilenet"."""
    return {"inception": Inception, "mobilenet": MobileNet}[name](_on(_usable(device), weights.load(name)), device)


@cache
def _lpips(net: str, device: str) -> LPIPS:
    return create_lpips(net, device=_usable(device))


@cache
def _dists(device: str) -> DISTS:
    device = _usable(device)
    vgg, heads = (_on(device, weights.load(name)) for name in ("vgg16", "dists"))
    return DISTS(vgg, heads["alpha"], heads["beta"])


@cache
def _stack(name: str) -> Features:
    if name == "vgg19":  # as far as the file goes that is without fully connected layers and the last blocks
        return NetworkFeatures(Vgg("vgg19", ("relu1_2", "relu2_2", "relu3_4")), scales=3, with_image=True)
    return create_features(name)


def _tiles(
    reference: np.ndarray, distorted: np.ndarray, device: str, *, name: str
) -> Iterator[tuple[Tile, Tensor, Tensor]]:
    """Tiles of two pictures, and their crops as images (1, 3, h, w) in [0, 1]."""
    height, width = reference.shape[:2]
    if min(height, width) < SMALLEST_SIDE:
        raise ImageError(f"{name} needs sides of at least {SMALLEST_SIDE} pixels, not {width}x{height}")
    for tile in tiles(height, width):
        # Copies, since PyTorch warns of arrays that may not be written to.
        crops = (np.array(picture[tile.rows, tile.columns]) for picture in (reference, distorted))
        x, y = (torch.from_numpy(crop).to(device).permute(2, 0, 1)[None].float() / 255 for crop in crops)
        yield tile, x, y


def _on(device: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.float().to(device) for name, tensor in tensors.items()}


def _usable(device: str) -> str:
    """The device, if PyTorch has it."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter where PyTorch was built without CUDA
        raise UsageError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error
    return device
