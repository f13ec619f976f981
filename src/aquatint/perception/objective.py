"""Distortions for the fit of a picture: from pixels and a sigma map to what `Engine.step` calls."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from aquatint.errors import DependencyError, UsageError
from aquatint.perception import steerable
from aquatint.perception.sigma import log2_sigma_of_map

LOOK_EVERY = 2  # steps of a fit, on the steerable stack


class PerceptualDistortion(Protocol):
    """Of an image: value and gradient, both as `aquatint.codecs.overfitted.engine.Distortion` says."""

    def __call__(self, image: Any) -> tuple[Any, Any]:
        """Of all of the image."""
        ...

    def estimator(self) -> Callable[[Any], tuple[Any, Any]]:
        """The same for the steps of one fit, in which an image changes little.

        Features are looked at now and then, or part by part, and their gradient is held in between. That of the
        squared error is always the image's own. The value is not that of the whole.
        """
        ...


def create_distortion(
    pixels: np.ndarray,
    sigma: np.ndarray,
    *,
    features: str = "steerable",
    weight: float = 1.0,
    pixel_weight: float = 0.0,
    device: str = "cpu",
    threads: int = 0,
    isa: str = "auto",
    folder: str | Path | None = None,
) -> PerceptualDistortion:
    """weight times Wasserstein distortion plus pixel_weight times the mean squared error, with the gradient.

    Statistics are taken at one node for every width of a window: a fit needs no more.

    Args:
        pixels: the picture, float32 (3, H, W) in [0, 1].
        sigma: (H, W) from 0 to 32; see `aquatint.perception.sigma`.
        features: "steerable", or a stack with weights; see `aquatint.perception.features.create_features`.
        weight, pixel_weight: 0 to 1e6.
        device: as for `create_engine`. On "cpu" the steerable stack is native and needs no PyTorch; otherwise pictures
            and gradients are tensors if the device is PyTorch's, arrays if it is "cpu".
        threads, isa: of the native distortion.
        folder: of weights.

    Raises:
        UsageError: an argument is out of range or of the wrong shape.
        DependencyError: PyTorch or a file of weights is missing.
    """
    pixels = np.ascontiguousarray(pixels, dtype=np.float32)
    if pixels.ndim != 3 or pixels.shape[0] != 3 or sigma.shape != pixels.shape[1:]:
        raise UsageError(f"pixels must be (3, H, W) and sigma (H, W), not {pixels.shape} and {sigma.shape}")
    if device in ("auto", "cpu") and features == "steerable":
        return _Native(pixels, sigma, weight, pixel_weight, threads, isa)
    try:
        import torch

        from aquatint.perception.objective_torch import TorchDistortion
    except ImportError as error:
        raise DependencyError(f"features {features!r} need PyTorch: pip install 'aquatint[torch]'") from error
    place = torch.device("cpu" if device in ("auto", "cpu", "torch") else device)
    return TorchDistortion(torch.from_numpy(pixels).to(place), sigma, features, weight, pixel_weight, folder)


class _Native:
    def __init__(
        self, pixels: np.ndarray, sigma: np.ndarray, weight: float, pixel_weight: float, threads: int, isa: str
    ) -> None:
        from aquatint import native

        height, width = pixels.shape[1:]
        log2_sigma = []
        for level in range(steerable.LEVELS):
            log2_sigma.append(log2_sigma_of_map(sigma, 2**level, (height, width)))
            height, width = (height + 1) // 2, (width + 1) // 2
        try:
            self.distortion = native.SteerableWasserstein(
                pixels,
                log2_sigma,
                colours=steerable.COLOURS,
                pixel_gain=steerable.PIXEL_GAIN,
                even_gain=steerable.EVEN_GAIN,
                odd_gain=steerable.ODD_GAIN,
                weight=weight,
                pixel_weight=pixel_weight,
                threads=threads,
                isa=isa,
            )
        except ValueError as error:
            raise UsageError(str(error)) from None

    def __call__(self, image: np.ndarray) -> tuple[float, np.ndarray]:
        return self.distortion(image)

    def estimator(self) -> Callable[[Any], tuple[Any, Any]]:
        steps = count()
        return lambda image: self.distortion(image, held=next(steps) % LOOK_EVERY > 0)
