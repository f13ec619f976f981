"""Maps of one number for each pixel, float32 (H, W): resized and blurred."""

from __future__ import annotations

import numpy as np
from PIL import Image


def resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear with antialiasing, to a size of (width, height)."""
    if values.shape == (size[1], size[0]):
        return values.astype(np.float32)
    picture = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR))


def blurred(values: np.ndarray) -> np.ndarray:
    """[1 2 1]/4 across and down with replicated borders."""
    p = np.pad(values, 1, mode="edge")
    p = (p[:-2] + 2 * p[1:-1] + p[2:]) / 4
    return (p[:, :-2] + 2 * p[:, 1:-1] + p[:, 2:]) / 4
