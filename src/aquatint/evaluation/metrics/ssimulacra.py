"""SSIMULACRA 2 by the package `ssimulacra2`, in the memory of a few planes instead of many pictures."""

from __future__ import annotations

import importlib

import numpy as np

from aquatint.errors import DependencyError, ImageError

SMALLEST_SIDE = 8  # of a scale that counts


def ssimulacra2(reference: np.ndarray, distorted: np.ndarray) -> float:
    """SSIMULACRA 2: 100 for equal pictures, about 90 visually lossless, 70 high, 50 medium and 30 low quality.

    The package keeps all maps of all channels of a picture at once; here its functions run on one channel after the
    other, which gives the same number.

    Arguments:
        reference, distorted: uint8 of the same shape (H, W, 3).

    Raises:
        ImageError: a side is shorter than `SMALLEST_SIDE`.
        DependencyError: the package is not installed.
    """
    height, width, channels = reference.shape
    if min(height, width) < SMALLEST_SIDE:
        raise ImageError(f"SSIMULACRA 2 needs sides of at least {SMALLEST_SIDE} pixels, not {width}x{height}")
    try:
        package = importlib.import_module("ssimulacra2.ssimulacra2")
    except ImportError:
        raise DependencyError("SSIMULACRA 2 needs the package ssimulacra2: pip install 'aquatint[metrics]'") from None
    linear = [package.srgb_to_linear(picture) for picture in (reference, distorted)]
    score = package.Msssim()
    for scale in range(package.kNumScales):
        if scale > 0:
            linear = [package.downsample(picture, 2, 2) for picture in linear]
        if min(linear[0].shape[:2]) < SMALLEST_SIDE:
            break
        opponent = [package.make_positive_xyb(package.linear_rgb_to_xyb(picture)) for picture in linear]
        averages = package.MsssimScale()
        for c in range(channels):
            x, y = (np.ascontiguousarray(picture[..., c : c + 1]) for picture in opponent)
            mean_x, mean_y = package.blur_image(x), package.blur_image(y)
            moments = [package.blur_image(product) for product in (x * x, y * y, x * y)]
            averages.avg_ssim[2 * c : 2 * c + 2] = package.ssim_map(mean_x, mean_y, *moments)[:2]
            averages.avg_edgediff[4 * c : 4 * c + 4] = package.edge_diff_map(x, mean_x, y, mean_y)[:4]
        score.scales.append(averages)
    return float(score.score())
