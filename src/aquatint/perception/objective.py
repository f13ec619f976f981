"""Distortions for the fit of a picture: from pixels and a sigma map to what `Engine.step` calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aquatint.errors import DependencyError, UsageError
from aquatint.perception import steerable
from aquatint.perception.maps import resized
from aquatint.perception.sigma import log2_sigma_of_map
from aquatint.perception.tiles import tiles

if TYPE_CHECKING:
    import torch

    from aquatint.codecs.overfitted.engine import Distortion
    from aquatint.perception.features import Features

# Calls between two evaluations of VGG: its features change little from one step of a fit to the next, and those of the
# steerable stack, which are looked at in every call, keep out what a gradient that is late lets in
# (docs/notes/overfitted-fit.md).
VGG_EVERY = 16


def create_distortion(
    pixels: np.ndarray,
    sigma: np.ndarray,
    *,
    weight: float = 1.0,
    pixel_weight: float = 0.0,
    vgg_weight: float = 0.0,
    importance: np.ndarray | None = None,
    holds_finest: bool = False,
    device: str = "cpu",
    threads: int = 0,
    isa: str = "auto",
    folder: str | Path | None = None,
) -> Distortion:
    """Wasserstein distortion, on the steerable stack and on VGG19, and the mean squared error, with the gradient.

    Statistics are taken at one node for every width of a window: a fit needs no more. VGG19 sees half and a quarter of
    the picture's size, in every sixteenth call and in tiles; in between its share stays as it was.

    Args:
        pixels: the picture, float32 (3, H, W) in [0, 1].
        sigma: (H, W) from 0 to 32; see `aquatint.perception.sigma`.
        weight, pixel_weight, vgg_weight: of the three, 0 to 1e6.
        importance: (H, W), by which places count in the Wasserstein distortions, 0 to 1e6; None for alike.
        holds_finest: whether the native distortion looks at the finest level of the steerable stack, half of its work,
            in every second call only. The gradient of the call before does not push against the noise that this
            picture has in latents of its own size, and leaves grain of it; without such latents nothing is lost.
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
    if not 0 <= vgg_weight <= 1e6:
        raise UsageError(f"vgg_weight must be from 0 to 1e6, not {vgg_weight}")
    on_cpu = device in ("auto", "cpu")
    if on_cpu and vgg_weight == 0:
        return _native(pixels, sigma, importance, weight, pixel_weight, holds_finest, threads, isa)
    try:
        import torch

        from aquatint.perception.features import NetworkFeatures, Vgg, halved, steerable_stack
        from aquatint.perception.precision import has_bfloat16
    except ImportError as error:
        what = "VGG19 needs" if vgg_weight else f"the device {device!r} needs"
        raise DependencyError(f"{what} PyTorch: pip install 'aquatint[torch]'") from error
    place = torch.device("cpu" if device in ("auto", "cpu", "torch") else device)
    whole = [(slice(0, pixels.shape[1]), slice(0, pixels.shape[2]))]
    steady = (
        _native(pixels, sigma, importance, weight, pixel_weight, holds_finest, threads, isa)
        if on_cpu
        else _in_pytorch(steerable_stack, whole, pixels, sigma, importance, weight, pixel_weight, place)
    )
    if vgg_weight == 0:
        return steady
    # Activations are of the order of 1, and statistics are taken in float32.
    dtype = torch.bfloat16 if has_bfloat16(place) else torch.float32
    stack = halved(NetworkFeatures(Vgg("vgg19", folder=folder), scales=2, with_image=True, dtype=dtype))
    parts = [tile.place for tile in tiles(*pixels.shape[1:])]  # its maps of a large picture would fill the memory
    return _with_held(steady, _in_pytorch(stack, parts, pixels, sigma, importance, vgg_weight, 0.0, place), VGG_EVERY)


def _with_held(steady: Distortion, held: Distortion, every: int) -> Distortion:
    """The sum of two distortions, the second of which is evaluated in one of so many calls and added in all."""
    calls = 0
    share: tuple[Any, Any] = (0.0, 0.0)

    def distortion(image: Any) -> tuple[Any, Any]:
        nonlocal calls, share
        if calls % every == 0:
            share = held(image)
        calls += 1
        value, gradient = steady(image)
        return value + share[0], gradient + share[1]

    return distortion


def _in_pytorch(
    stack: Features,
    parts: Sequence[tuple[slice, slice]],
    pixels: np.ndarray,
    sigma: np.ndarray,
    importance: np.ndarray,
    weight: float,
    pixel_weight: float,
    place: torch.device,
) -> Distortion:
    import torch

    from aquatint.perception.wasserstein import WassersteinDistortion

    target = torch.from_numpy(pixels).to(place)
    distortions = [
        WassersteinDistortion(stack, target[:, *part], sigma[part], importance=importance[part], overlap=1)
        for part in parts
    ]
    shares = [weight * sigma[part].size / sigma.size for part in parts]

    def distortion(image: Any) -> tuple[Any, Any]:
        tensor = torch.as_tensor(image, device=place)
        difference = tensor - target
        value = pixel_weight * difference.square().mean()
        gradient = 2 * pixel_weight / difference.numel() * difference
        for part, share, wasserstein in zip(parts, shares, distortions, strict=True):
            own_value, own_gradient = wasserstein(tensor[:, *part])
            value = value + share * own_value
            gradient[:, *part] += share * own_gradient
        return (float(value), gradient.numpy()) if isinstance(image, np.ndarray) else (value, gradient)

    return distortion


def _native(
    pixels: np.ndarray,
    sigma: np.ndarray,
    importance: np.ndarray,
    weight: float,
    pixel_weight: float,
    holds_finest: bool,
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
            holds_finest=holds_finest,
            threads=threads,
            isa=isa,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
