"""Wasserstein distortion for the fit of a picture in PyTorch; see `aquatint.perception.objective`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from aquatint.perception.features import create_features
from aquatint.perception.objective import LOOK_EVERY
from aquatint.perception.wasserstein import WassersteinDistortion

TILE = 96  # pixels, about: networks see a picture in tiles, each for itself
TILES_A_STEP = 1 / 16  # of the tiles


class _Tile(NamedTuple):
    rows: slice
    columns: slice
    weight: float
    wasserstein: WassersteinDistortion


class TorchDistortion:
    """Wasserstein distortion of tiles with a share of the squared error, as `create_distortion` makes it.

    Args:
        target: the picture (3, H, W).
        sigma: (H, W).
        features, weight, pixel_weight, folder: as for `create_distortion`.
    """

    def __init__(
        self,
        target: Tensor,
        sigma: np.ndarray,
        features: str,
        weight: float,
        pixel_weight: float,
        folder: str | Path | None,
    ) -> None:
        self.target, self.pixel_weight = target, pixel_weight
        is_network = features != "steerable"
        stack = create_features(features, folder=folder, dtype=_fastest(target.device) if is_network else torch.float32)
        self.share = TILES_A_STEP if is_network else 1 / LOOK_EVERY
        _, height, width = target.shape
        self.tiles = [
            _Tile(
                rows,
                columns,
                weight * sigma[rows, columns].size / sigma.size,
                WassersteinDistortion(stack, target[:, rows, columns], sigma[rows, columns], overlap=1),
            )
            for rows in (_pieces(height) if is_network else [slice(height)])
            for columns in (_pieces(width) if is_network else [slice(width)])
        ]

    def __call__(self, image: Any) -> tuple[Any, Any]:
        tensor = torch.as_tensor(image, device=self.target.device)
        held = torch.zeros_like(self.target)
        value = sum(self._look(tensor, tile, held) for tile in self.tiles)
        return self._with_pixels(image, value, held)

    def estimator(self) -> Callable[[Any], tuple[Any, Any]]:
        held = torch.zeros_like(self.target)
        steps = 0

        def estimate(image: Any) -> tuple[Any, Any]:
            nonlocal steps
            tensor = torch.as_tensor(image, device=self.target.device)
            first, last = (math.ceil(len(self.tiles) * self.share * step) for step in (steps, steps + 1))
            value = sum(self._look(tensor, self.tiles[i % len(self.tiles)], held) for i in range(first, last))
            steps += 1
            return self._with_pixels(image, value, held)

        return estimate

    def _look(self, image: Tensor, tile: _Tile, gradient: Tensor) -> Tensor:
        """The part of one tile, whose gradient takes its place in the whole."""
        value, part = tile.wasserstein(image[:, tile.rows, tile.columns])
        gradient[:, tile.rows, tile.columns] = tile.weight * part
        return tile.weight * value

    def _with_pixels(self, image: Any, value: Tensor | int, gradient: Tensor) -> tuple[Any, Any]:
        difference = torch.as_tensor(image, device=self.target.device) - self.target
        value = value + self.pixel_weight * difference.square().mean()
        gradient = gradient + 2 * self.pixel_weight / difference.numel() * difference
        return (float(value), gradient.numpy()) if isinstance(image, np.ndarray) else (value, gradient)


def _pieces(side: int) -> list[slice]:
    edges = np.linspace(0, side, max(1, round(side / TILE)) + 1).round().astype(int)
    return [slice(int(begin), int(end)) for begin, end in itertools.pairwise(edges)]


def _fastest(device: torch.device) -> torch.dtype:
    """The precision for a network: its activations are of the order of 1, and statistics are taken in float32."""
    on_cpu = device.type == "cpu"
    short = torch.cpu.get_capabilities().get("avx512_bf16", False) if on_cpu else device.type == "cuda"
    return torch.bfloat16 if short else torch.float32
