"""Distortions for the fit of a picture: from pixels and a sigma map to what `Engine.step` calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aquatint.errors import DependencyError, UsageError
from aquatint.perception import steerable
from aquatint.perception.maps import resized
from aquatint.perception.sigma import log2_sigma_of_map

if TYPE_CHECKING:
    from aquatint.codecs.overfitted.engine import Distortion


def create_distortion(
    pixels: np.ndarray,
    sigma: np.ndarray,
    *,
    features: str = "steerable",
    weight: float = 1.0,
    pixel_weight: float = 0.0,
    importance: np.ndarray | None = None,
    device: str = "cpu",
    threads: int = 0,
    isa: str = "auto",
    folder: str | Path | None = None,
) -> Distortion:
    """weight times Wasserstein distortion plus pixel_weight times the mean squared error, with the gradient.

    Statistics are taken at one node for every width of a window: a fit needs no more.

    Args:
        pixels: the picture, float32 (3, H, W) in [0, 1].
        sigma: (H, W) from 0 to 32; see `aquatint.perception.sigma`.
        features: "steerable", or a stack with weights; see `aquatint.perception.features.create_features`.
        weight, pixel_weight: 0 to 1e6.
        importance: (H, W), by which places count in the Wasserstein distortion, 0 to 1e6; None for alike.
        device: as for `create_engine`. On "cpu" the steerable stack is native and needs no PyTorch; otherwise pictures
            and gradients are tensors if the device is PyTorch's, arrays if it is "cpu".
        threads, isa: of the native distortion.
        folder: of weights.

    Raises:
        UsageError: an argument is out of range or of the wrong shape.
        DependencyError: PyTorch or a file of weights is missing.
    """
    pixels = np.ascontiguousarray(pixels, dtype=np.float32)
    if importance is None:
        importance = np.ones(pixels.shape[1:], np.float32)
    if pixels.ndim != 3 or pixels.shape[0] != 3 or not sigma.shape == importance.shape == pixels.shape[1:]:
        raise UsageError(
            f"pixels must be (3, H, W), sigma and importance (H, W), not {pixels.shape}, {sigma.shape} and "
            f"{importance.shape}"
        )
    if device in ("auto", "cpu") and features == "steerable":
        return _native(pixels, sigma, importance, weight, pixel_weight, threads, isa)
    try:
        import torch

        from aquatint.perception.features import create_features
        from aquatint.perception.precision import has_bfloat16
        from aquatint.perception.wasserstein import WassersteinDistortion
    except ImportError as error:
        raise DependencyError(f"features {features!r} need PyTorch: pip install 'aquatint[torch]'") from error
    place = torch.device("cpu" if device in ("auto", "cpu", "torch") else device)
    # Activations are of the order of 1, and statistics are taken in float32.
    dtype = torch.bfloat16 if has_bfloat16(place) else torch.float32
    stack = create_features(features, folder=folder, dtype=dtype)
    target = torch.from_numpy(pixels).to(place)
    wasserstein = WassersteinDistortion(stack, target, sigma, importance=importance, overlap=1)

    def distortion(image: Any) -> tuple[Any, Any]:
        tensor = torch.as_tensor(image, device=place)
        value, gradient = wasserstein(tensor)
        difference = tensor - target
        value = weight * value + pixel_weight * difference.square().mean()
        gradient = weight * gradient + 2 * pixel_weight / difference.numel() * difference
        return (float(value), gradient.numpy()) if isinstance(image, np.ndarray) else (value, gradient)

    return distortion


def _native(
    pixels: np.ndarray,
    sigma: np.ndarray,
    importance: np.ndarray,
    weight: float,
    pixel_weight: float,
    threads: int,
    isa: str,
) -> Distortion:
    from aquatint import native

    height, width = pixels.shape[1:]
    log2_sigma = []
    importances = []
    for level in range(steerable.LEVELS):
        log2_sigma.append(log2_sigma_of_map(sigma, 2**level, (height, width)))
        importances.append(resized(importance, (width, height)))
        height, width = (height + 1) // 2, (width + 1) // 2
    try:
        return native.SteerableWasserstein(
            pixels,
            log2_sigma,
            importances,
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
