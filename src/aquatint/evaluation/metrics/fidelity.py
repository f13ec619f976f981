"""PSNR and MS-SSIM: how far the samples and their local structure have moved. Needs numpy only."""

from __future__ import annotations

import math

import numpy as np

from aquatint.errors import ImageError

# Weights of the five scales, finest first (Wang, Simoncelli, Bovik 2003, section 3.2).
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# A window of 11 taps with a standard deviation of 1.5, and constants of samples in [0, 1] (Wang et al. 2004).
_TAPS = 11
_DEVIATION = 1.5
_C1, _C2 = 0.01**2, 0.03**2
# The coarsest scale, each side halved four times and rounded up, must hold one window.
SMALLEST_SIDE = (_TAPS - 1) * 16 + 1

_STRIP_PIXELS = 2**16  # evaluated at a time: a strip's statistics then stay in the processor's cache


def psnr(reference: np.ndarray, distorted: np.ndarray) -> float:
    """Peak signal-to-noise ratio over the samples of all channels, in dB; infinite for equal pictures.

    Arguments:
        reference, distorted: uint8 of the same shape.
    """
    rows = max(1, _STRIP_PIXELS // reference.shape[1])
    total = 0
    for top in range(0, len(reference), rows):
        error = reference[top : top + rows].astype(np.int32) - distorted[top : top + rows]
        total += int(np.sum(error * error, dtype=np.int64))
    if total == 0:
        return math.inf
    return 10 * math.log10(255**2 * reference.size / total)


def ms_ssim(reference: np.ndarray, distorted: np.ndarray) -> float:
    """Multi-scale structural similarity, at most 1: the mean of that of the three channels.

    Per channel, as codecs are commonly compared, and with borders left out. A side of odd length is extended by its
    last sample before it is halved. Source: Wang, Simoncelli, Bovik, "Multiscale structural similarity for image
    quality assessment", 2003, equation 7.

    Arguments:
        reference, distorted: uint8 of the same shape (H, W, 3).

    Raises:
        ImageError: a side is shorter than `SMALLEST_SIDE`, 161 pixels.
    """
    height, width, channels = reference.shape
    if min(height, width) < SMALLEST_SIDE:
        raise ImageError(f"MS-SSIM needs sides of at least {SMALLEST_SIDE} pixels; the picture is {width}x{height}")
    x, y = (picture.astype(np.float32) / np.float32(255) for picture in (reference, distorted))
    product = np.ones(channels)
    for scale, weight in enumerate(_SCALE_WEIGHTS):
        if scale > 0:
            x, y = _halve(x), _halve(y)
        similarity, contrast = _similarity(x, y)
        last = scale == len(_SCALE_WEIGHTS) - 1
        product *= np.maximum(similarity if last else contrast, 0) ** weight
    return float(product.mean())


def _similarity(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over all windows of the structural similarity and of its contrast and structure part, float64 (C,)."""
    height, width, channels = x.shape
    rows = max(1, _STRIP_PIXELS // width)
    windows = height - _TAPS + 1
    similarity, contrast = np.zeros(channels), np.zeros(channels)
    for top in range(0, windows, rows):
        here = slice(top, min(top + rows, windows) + _TAPS - 1)
        a, b = x[here].astype(np.float64), y[here].astype(np.float64)
        mean_a, mean_b = _smooth(a), _smooth(b)
        products, squares = mean_a * mean_b, mean_a**2 + mean_b**2
        structure = (2 * (_smooth(a * b) - products) + _C2) / (_smooth(a * a + b * b) - squares + _C2)
        contrast += structure.sum((0, 1))
        similarity += (structure * (2 * products + _C1) / (squares + _C1)).sum((0, 1))
    count = windows * (width - _TAPS + 1)
    return similarity / count, contrast / count


def _smooth(values: np.ndarray) -> np.ndarray:
    """The Gaussian-weighted mean over every window that lies inside, (H - 10, W - 10, C)."""
    offsets = np.arange(_TAPS) - _TAPS // 2
    window = np.exp(-0.5 * (offsets / _DEVIATION) ** 2)
    window /= window.sum()
    rows, columns = values.shape[0] - _TAPS + 1, values.shape[1] - _TAPS + 1
    values = sum(tap * values[k : k + rows] for k, tap in enumerate(window))  # type: ignore[assignment]
    return sum(tap * values[:, k : k + columns] for k, tap in enumerate(window))  # type: ignore[return-value]


def _halve(values: np.ndarray) -> np.ndarray:
    """Means over 2x2 samples; a side of odd length is extended by its last sample."""
    height, width, _ = values.shape
    if height % 2 or width % 2:
        values = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return (values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]) / 4
