"""The finest octave separated: what of its grid coarser grids can show, and where they shall."""

from __future__ import annotations

import numpy as np
from PIL import Image

from aquatint.perception.maps import resized
from aquatint.perception.masking import detail_energy

BLOCK = 4  # latents each way, see native/fit_octaves.h
# Detail of this contrast, and less, does not hide the borders of patches; from its root of two on they may form, since
# among edges they are worth their bits (docs/notes/overfitted-fit.md).
SMOOTH = 12 / 255


def smoothness(planes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Where a picture is too smooth for patches: a map of a grid's shape, float32 from 0 to 1.

    Args:
        planes: the picture, float32 (3, H, W) in [0, 1].
        shape: of the grid.
    """
    energy = detail_energy(np.moveaxis(planes, 0, 2))
    return np.clip(2 - resized(energy, (shape[1], shape[0])) / SMOOTH**2, 0, 1)


def without_local_means(grid: np.ndarray, share: np.ndarray) -> np.ndarray:
    """A grid less a share of its means over blocks, interpolated linearly between their middles.

    A fit moves latents of a separated octave by their gradient less these means, and begins with latents less theirs.

    Args:
        grid: float32 (h, w).
        share: of the mean that goes, likewise, 0 to 1.
    """
    height, width = grid.shape
    means = Image.fromarray(grid).reduce(BLOCK)
    shown = means.resize((BLOCK * means.width, BLOCK * means.height), Image.Resampling.BILINEAR)
    return grid - share * np.asarray(shown)[:height, :width]
