"""Pictures at half their size, for rates at which not every 16x16 pixels can have an index.

Fewer, better samples are worth more than all of them badly coded: Bruckstein, Elad & Kimmel, "Down-scaling for better
transform compression", 2003.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def half(length: int) -> int:
    """Samples at half the size, of so many; what is left over counts as whole."""
    return -(-length // 2)


def halved(pixels: np.ndarray) -> np.ndarray:
    """A picture at half its size, float32 of shape (ceil(H / 2), ceil(W / 2), 3); the last samples are repeated."""
    height, width = pixels.shape[:2]
    planes = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
    planes = functional.pad(planes, (0, width % 2, 0, height % 2), mode="replicate")
    return _resized(planes, half(height), half(width)).clip(0, 1)


def doubled(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """The picture of this size, float32 of shape (height, width, 3), from one at half the size."""
    planes = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
    return _resized(planes, 2 * planes.shape[2], 2 * planes.shape[3])[:height, :width]


def _resized(planes: Tensor, height: int, width: int) -> np.ndarray:
    """By cubic convolution (Keys 1981, a = -1/2), as wide as the coarser of both grids."""
    found = functional.interpolate(planes, (height, width), mode="bicubic", align_corners=False, antialias=True)
    return found[0].permute(1, 2, 0).contiguous().numpy()
