"""What of a grid coarser grids can show."""

from __future__ import annotations

import numpy as np
from PIL import Image

BLOCK = 4  # latents each way, see native/fit_octaves.h


def without_local_means(grid: np.ndarray) -> np.ndarray:
    """A grid less its means over blocks, interpolated linearly between their middles.

    A fit with separated octaves moves latents by their gradients less these means, and begins with latents less theirs.

    Args:
        grid: float32 (h, w).
    """
    height, width = grid.shape
    means = Image.fromarray(grid).reduce(BLOCK)
    shown = means.resize((BLOCK * means.width, BLOCK * means.height), Image.Resampling.BILINEAR)
    return grid - np.asarray(shown)[:height, :width]
