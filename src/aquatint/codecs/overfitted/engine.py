"""The seam between the overfitted encoder and what fits its model: one protocol, two engines.

The model is that of docs/FORMAT.md, section 2, in floating point. Latents x, in units of a quantiser bin, pass a proxy
of quantisation, y = s(s(x) + noise u), where s is the soft rounding of a temperature and u is uniform in [-1/2, 1/2)
(native/fit_quantise.h specifies it with its random numbers). An entropy network gives the bits of every y, and
upsampling and synthesis turn all of them into the picture. The loss is

    distortion(picture) + lagrangian * bits / pixels

and a step moves the latents by Adam and the networks by SOAP, each with a learning rate of its own; Adam's epsilon is
relative to lagrangian / pixels, so that steps do not depend on the size of the picture. Once an origin is
set, the bits count the networks too: for every matrix n log2 b, where b is the mean magnitude of its n differences from
the origin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, SupportsFloat

import numpy as np

from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.errors import DependencyError, UsageError

# From the picture, clamped to [0, 1], to the distortion and its gradient with respect to that picture; both (3, H, W)
# float32, as arrays of the engine: numpy for the native one, tensors on its device for PyTorch. The picture is valid
# during the call only. The gradient passes the clamp as if it were not there.
Distortion = Callable[[Any], tuple[Any, Any]]


class Engine(Protocol):
    """Fits one picture. Grids are counted from the finest, 0; results that are not arrays are read with float()."""

    @property
    def parameters(self) -> np.ndarray:
        """A copy of all of `Architecture.arrays()`, flattened one after the other, float32. Assign to change them."""
        ...

    @parameters.setter
    def parameters(self, values: np.ndarray) -> None: ...

    def set_origin(self, values: np.ndarray) -> None:
        """Makes the networks' bits a part of the loss: parameters will be coded as differences from these."""
        ...

    def separate_finest(self, shares: np.ndarray | None) -> None:
        """Has further steps move the finest grid in use by what coarser ones cannot show (native/fit_octaves.h).

        Args:
            shares: of the local means that are taken from the gradient of what the proxy makes of each latent: float32
                of that grid's shape, from 0 to 1; or None, to end it.

        Raises:
            ValueError: the map is of the wrong shape or out of range.
        """
        ...

    def latents(self, k: int) -> np.ndarray:
        """A copy of the latents of grid k, float32, in quantiser bins."""
        ...

    def set_latents(self, k: int, values: np.ndarray) -> None:
        """Replaces the latents of grid k; they must lie within the format's limit of 511."""
        ...

    def step(
        self,
        temperature: float,
        noise: float,
        lagrangian: float,
        latent_rate: float,
        network_rate: float,
        seed: int,
        distortion: Distortion | None = None,
    ) -> tuple[SupportsFloat, SupportsFloat]:
        """One optimisation step; returns the distortion and the bits of all latents before it.

        Args:
            temperature: of the soft rounding, 0.01 to 100; or 0 for rounding, whose latents cannot move.
            noise: width of the uniform noise in quantiser bins, 0 to 1.
            lagrangian: weight of a bit per pixel against the distortion.
            latent_rate, network_rate: learning rates, 0 to 1; what has the rate 0 stays, and costs no time.
            seed: 32-bit seed of the noise.
            distortion: the mean squared error of all samples if None.

        Raises:
            ValueError: an argument is out of range, or the distortion's gradient is of the wrong shape or not finite.
        """
        ...

    def gradients(
        self, temperature: float, noise: float, lagrangian: float, seed: int, distortion: Distortion | None = None
    ) -> tuple[SupportsFloat, SupportsFloat, np.ndarray, list[np.ndarray]]:
        """Distortion, bits, and the gradients of the loss with respect to parameters and latents."""
        ...

    def evaluate(self) -> tuple[SupportsFloat, list[float]]:
        """Mean squared error of the picture clamped to [0, 1], and the bits of every grid, with rounded latents."""
        ...

    def render(self) -> np.ndarray:
        """The picture with rounded latents, clamped to [0, 1]: float32 (3, H, W)."""
        ...

    def reset_optimiser(self, latent_decay: float, network_decay: float) -> None:
        """Forgets the moments of both optimisers, which from then on decay as is said.

        Args:
            latent_decay: of the latents' squared gradients, 0 to 0.9999, in a step.
            network_decay: of all that the networks' optimiser remembers, likewise.

        Raises:
            ValueError: a decay is out of range.
        """
        ...


def create_engine(
    pixels: np.ndarray,
    architecture: Architecture,
    *,
    skip_finest: bool = False,
    device: str = "cpu",
    threads: int = 0,
    isa: str = "auto",
) -> Engine:
    """The engine for a device, with latents and parameters of zero.

    Args:
        pixels: the picture, float32 of shape (3, H, W) in [0, 1].
        architecture: sizes of the model.
        skip_finest: the finest grid's latents stay zero, and take neither bits nor time.
        device: "cpu" or "auto" for the native engine; "torch", or a device of PyTorch such as "cuda", for the other.
        threads: of the native engine; 0 for one a core.
        isa: instruction set of the native engine, or "auto".

    Raises:
        UsageError: the pixels or the architecture are not what an engine can fit.
        DependencyError: the device needs PyTorch, which is not installed.
    """
    pixels = np.ascontiguousarray(pixels, dtype=np.float32)
    if pixels.ndim != 3:
        raise UsageError(f"pixels must be of the shape (3, H, W), not {pixels.shape}")
    try:
        if device in ("auto", "cpu"):
            from aquatint import native

            return native.Fitter(
                pixels,
                grids=architecture.grids,
                context=architecture.context,
                parents=architecture.parents,
                hidden=architecture.hidden,
                residuals=architecture.residuals,
                noise=architecture.noise,
                skip_finest=skip_finest,
                threads=threads,
                isa=isa,
            )
        try:
            from aquatint.codecs.overfitted.torch_engine import TorchEngine
        except ImportError as error:
            raise DependencyError(f"device {device!r} needs PyTorch: pip install 'aquatint[torch]'") from error
        return TorchEngine(pixels, architecture, "cpu" if device == "torch" else device, skip_finest)
    except ValueError as error:
        raise UsageError(str(error)) from None
