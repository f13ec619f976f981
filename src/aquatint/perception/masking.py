"""Contrast masking: the eye sees an error the less, the more detail there is around it."""

from __future__ import annotations

import numpy as np

from aquatint.perception.maps import blurred, resized
from aquatint.perception.steerable import COLOURS

# XPSNR weighs errors by a power of the local activity, too (Helmrich et al., ICASSP 2020). This one, for the energy of
# detail, was chosen on training photographs (docs/notes/overfitted-fit.md).
EXPONENT = -0.3
FLOOR = 2 / 255  # contrasts below that count alike


def detail_energy(pixels: np.ndarray) -> np.ndarray:
    """The mean square, over some 16 pixels, of what a blur over five pixels takes from luma.

    Args:
        pixels: float32 (H, W, 3) in [0, 1].

    Returns:
        A map of a quarter of the height and the width, rounded up.
    """
    luma = pixels @ COLOURS[0]
    energy = np.square(luma - blurred(blurred(luma)))
    for _ in range(2):
        energy = blurred(energy)[::2, ::2]
    return blurred(energy)


def importance(pixels: np.ndarray) -> np.ndarray:
    """How much an error counts at every pixel: float32 (H, W), whose geometric mean is 1.

    Args:
        pixels: float32 (H, W, 3) in [0, 1].
    """
    energy = np.maximum(resized(detail_energy(pixels), (pixels.shape[1], pixels.shape[0])), 0)
    weights = (energy + FLOOR**2) ** EXPONENT
    return (weights / np.exp(np.log(weights).mean())).astype(np.float32)
