"""Sigma maps: how wide, in pixels, the windows are in which Wasserstein distortion compares statistics.

A map is float32 (H, W) from 0 to 32. Where sigma is 1 or less the picture must be met pixel by pixel; where it is large
texture may be replaced by texture like it. Only the encoder sees it. Pictures here are float32 (H, W, 3) in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aquatint.errors import UsageError
from aquatint.perception.maps import blurred, resized
from aquatint.perception.steerable import COLOURS

MAX_LEVEL = 5
MAX_SIGMA = 2.0**MAX_LEVEL


def constant(height: int, width: int, sigma: float = 8.0) -> np.ndarray:
    """The same sigma everywhere, 0 to 32."""
    return checked(np.full((height, width), sigma, np.float32))


def from_picture(values: np.ndarray) -> np.ndarray:
    """A user's map, painted in grey (H, W) from 0 to 1: black is pointwise, and white a sigma of 32.

    Raises:
        UsageError: a value is out of range.
    """
    if values.ndim != 2 or not ((values >= 0) & (values <= 1)).all():
        raise UsageError(f"a sigma map must be one channel from 0 to 1, not {_described(values)}")
    return checked(2.0 ** (MAX_LEVEL * values.astype(np.float32)))


def from_saliency(saliency: np.ndarray, *, sigma_max: float = 16.0, least: float = 0.5) -> np.ndarray:
    """A small sigma where the eye looks: sigma_max l / (l + (1 - l) s / mean(s)) for saliency s ("WDs").

    Args:
        saliency: (H, W), 0 or more.
        sigma_max: sigma where saliency is zero, 1 to 32.
        least: l, 0 to 1; where saliency is at its mean, sigma is l sigma_max.

    Raises:
        UsageError: an argument is out of range.
    """
    if saliency.ndim != 2 or not ((saliency >= 0) & np.isfinite(saliency)).all():
        raise UsageError(f"saliency must be one channel of 0 or more, not {_described(saliency)}")
    _check_maximum(sigma_max)
    if not 0 < least <= 1:
        raise UsageError(f"least must be above 0 and at most 1, not {least}")
    relative = saliency / max(float(saliency.mean()), 1e-12)
    return checked((sigma_max * least / (least + (1 - least) * relative)).astype(np.float32))


def saliency(pixels: np.ndarray) -> np.ndarray:
    """How much a place stands out: the spectral residual of luma and chromas, (H, W) with mean 1.

    What a log spectrum has above its own local average is what the picture has that others have not (Hou and Zhang,
    "Saliency detection: a spectral residual approach", CVPR 2007; 64 samples along the longer side as there).
    """
    height, width = pixels.shape[:2]
    scale = 64 / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    energy = np.zeros((size[1], size[0]), np.float32)
    for colour in np.moveaxis(pixels @ COLOURS.T, -1, 0):
        spectrum = np.fft.fft2(resized(colour, size))
        # A constant channel has no spectrum to speak of: the floor is far above rounding, far below a grey level.
        logarithm = np.log(np.abs(spectrum) + 1e-2)
        average = sum(np.roll(logarithm, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)) / 9
        whitened = np.exp(logarithm - average) * spectrum / np.maximum(np.abs(spectrum), 1e-2)
        energy += np.abs(np.fft.ifft2(whitened)).astype(np.float32) ** 2
    for _ in range(6):  # about a Gaussian of deviation 2.4, as in the paper at this size
        energy = blurred(energy)
    result = resized(energy, (width, height))
    return np.maximum(result, 0) / max(float(result.mean()), 1e-12)


def self_similar(pixels: np.ndarray, *, sigma_max: float = 16.0, tolerance: float = 0.5) -> np.ndarray:
    """Sigma from the picture itself: as far as the statistics around a pixel stay the same.

    The luma's mean and deviation, and those of the magnitudes of its horizontal and vertical differences, are taken in
    windows of width 2, 4, ..., 64. Sigma grows from one width to the next while the squared Wasserstein distance
    between the two, relative to the variance in the wider one, is small; in proportion where it is between zero and the
    tolerance. A simplification of the intrinsic map of Qiu and Lin.

    Args:
        sigma_max: 1 to 32.
        tolerance: above 0.

    Raises:
        UsageError: an argument is out of range.
    """
    _check_maximum(sigma_max)
    if not tolerance > 0:
        raise UsageError(f"tolerance must be above 0, not {tolerance}")
    height, width = pixels.shape[:2]
    luma = pixels @ COLOURS[0]
    across = np.abs(np.diff(luma, axis=1, append=luma[:, -1:]))
    down = np.abs(np.diff(luma, axis=0, append=luma[-1:]))
    features = np.stack([luma, across, down])
    moments = np.concatenate([features, features**2])
    noise = (1 / 255) ** 2  # variances below that of a grey level are all the same

    def statistics(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, square = np.split(moments, 2)
        return mean, np.sqrt(np.maximum(square - mean**2, 0) + noise)

    level = np.zeros((height, width), np.float32)
    same = np.ones((height, width), np.float32)
    moments = np.stack([blurred(m)[::2, ::2] for m in moments])
    for _ in range(MAX_LEVEL):
        wider = np.stack([blurred(m)[::2, ::2] for m in moments])
        size = moments.shape[2], moments.shape[1]
        mean, deviation = statistics(moments)
        wider_mean, wider_deviation = statistics(np.stack([resized(m, size) for m in wider]))
        distance = ((mean - wider_mean) ** 2 + (deviation - wider_deviation) ** 2) / wider_deviation**2
        agreement = np.maximum(1 - distance.mean(0) / tolerance, 0).astype(np.float32)
        same *= resized(agreement, (width, height))
        level += same
        moments = wider
    return checked(np.minimum(2.0**level, sigma_max).astype(np.float32))


# The maps that follow from a picture alone.
DERIVED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "saliency": lambda pixels: from_saliency(saliency(pixels), sigma_max=8),
    "self-similar": lambda pixels: self_similar(pixels),
}


def checked(sigma: np.ndarray) -> np.ndarray:
    """The map as float32.

    Raises:
        UsageError: it is not of two dimensions, or a value is not from 0 to 32.
    """
    if sigma.ndim != 2 or sigma.size == 0 or not ((sigma >= 0) & (sigma <= MAX_SIGMA)).all():
        raise UsageError(f"sigma must be one channel from 0 to {MAX_SIGMA:g}, not {_described(sigma)}")
    return sigma.astype(np.float32)


def log2_sigma_of_map(sigma: np.ndarray, stride: int, shape: tuple[int, int]) -> np.ndarray:
    """log2 of sigma at the positions of a feature map, in units of its stride: float32 of `shape`, 0 to 5.

    Raises:
        UsageError: sigma is out of range.
    """
    logarithm = np.log2(np.maximum(checked(sigma), 1.0))
    return np.clip(resized(logarithm, (shape[1], shape[0])) - np.log2(np.float32(stride)), 0, MAX_LEVEL)


def _check_maximum(sigma_max: float) -> None:
    if not 1 <= sigma_max <= MAX_SIGMA:
        raise UsageError(f"sigma_max must be from 1 to {MAX_SIGMA:g}, not {sigma_max}")


def _described(values: np.ndarray) -> str:
    return f"shape {values.shape}" + (f" from {values.min()} to {values.max()}" if values.size else "")
