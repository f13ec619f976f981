"""Five levels: the nearest one forward, and the gradient of a soft choice backward.

Mentzer et al. 2018 (arXiv 1801.04260, section 3.2), used by Agustsson et al. 2019 with the centres -2 to 2. Distances
are squared: with |w - c|, as the papers print it, the gradient is exactly zero outside of the centres, where latents
would stay.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LARGEST = 2  # levels are the integers from -LARGEST to LARGEST
LEVELS = 2 * LARGEST + 1
_SHARPNESS = 1.0  # sigma of the soft choice


def soft(latents: Tensor) -> Tensor:
    """The mean of the centres under softmax(-sigma (w - c)^2), of the shape of the latents."""
    centres = torch.arange(-LARGEST, LARGEST + 1, device=latents.device, dtype=latents.dtype)
    chances = torch.softmax(-_SHARPNESS * (latents[..., None] - centres).square(), -1)
    return chances @ centres


def quantised(latents: Tensor) -> Tensor:
    """The nearest centres, with the gradient of `soft`."""
    with torch.autocast(latents.device.type, enabled=False):
        latents = latents.float()
        chosen = soft(latents)
        hard = latents.detach().round().clamp(-LARGEST, LARGEST)
        return chosen + (hard - chosen).detach()


def bound(channels: int, stride: int) -> float:
    """Bits a pixel if all symbols cost log2(5): the rate that the paper states."""
    return channels * math.log2(LEVELS) / stride**2
