"""Distortions for the fit of a picture: from pixels and a sigma map to what `Engine.step` calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from aquatint.errors import DependencyError, UsageError
from aquatint.perception import steerable
from aquatint.perception.sigma import log2_sigma_of_map

if TYPE_CHECKING:
    from torch import Tensor

    from aquatint.perception.wasserstein import WassersteinDistortion

# Steps of a fit between two looks at the features.
LOOK_EVERY = 2
LOOK_EVERY_NETWORK = 16


class PerceptualDistortion(Protocol):
    """Of an image: value and gradient, both as `aquatint.codecs.overfitted.engine.Distortion` says.

    A fit moves an image a little at a time. In most of its steps the gradient that features had at the last look at
    them will do, as long as the noise in the image stays the same: features answer to noise, and a gradient that
    belongs to other noise leaves its own unchecked, which shows as grain in smooth places.

    Attributes:
        every: how many steps of a fit there may be between two calls.
    """

    every: int

    def __call__(self, image: Any) -> tuple[Any, Any]: ...

    def held(self, image: Any) -> tuple[Any, Any]:
        """The squared error's part for an image, and the features' gradient of the last call; the value is without."""
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

        from aquatint.perception.features import create_features
        from aquatint.perception.wasserstein import WassersteinDistortion
    except ImportError as error:
        raise DependencyError(f"features {features!r} need PyTorch: pip install 'aquatint[torch]'") from error
    place = torch.device("cpu" if device in ("auto", "cpu", "torch") else device)
    # Activations are of the order of 1, and statistics are taken in float32.
    on_cpu = place.type == "cpu"
    is_short_fast = torch.cpu.get_capabilities().get("avx512_bf16", False) if on_cpu else place.type == "cuda"
    stack = create_features(features, folder=folder, dtype=torch.bfloat16 if is_short_fast else torch.float32)
    target = torch.from_numpy(pixels).to(place)
    every = LOOK_EVERY if features == "steerable" else LOOK_EVERY_NETWORK
    return _Torch(WassersteinDistortion(stack, target, sigma, overlap=1), target, weight, pixel_weight, every)


class _Torch:
    def __init__(
        self, wasserstein: WassersteinDistortion, target: Tensor, weight: float, pixel_weight: float, every: int
    ) -> None:
        self.wasserstein, self.target, self.weight, self.pixel_weight = wasserstein, target, weight, pixel_weight
        self.every = every

    def __call__(self, image: Any) -> tuple[Any, Any]:
        value, gradient = self.wasserstein(self._tensor(image))
        self.gradient = self.weight * gradient
        return self._with_pixels(image, self.weight * value)

    def held(self, image: Any) -> tuple[Any, Any]:
        return self._with_pixels(image, 0)

    def _tensor(self, image: Any) -> Tensor:
        import torch

        return torch.as_tensor(image, device=self.target.device)

    def _with_pixels(self, image: Any, value: Tensor | float) -> tuple[Any, Any]:
        difference = self._tensor(image) - self.target
        value = value + self.pixel_weight * difference.square().mean()
        gradient = self.gradient + 2 * self.pixel_weight / difference.numel() * difference
        return (float(value), gradient.numpy()) if isinstance(image, np.ndarray) else (value, gradient)


class _Native:
    every = LOOK_EVERY

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

    def held(self, image: np.ndarray) -> tuple[float, np.ndarray]:
        return self.distortion(image, held=True)
