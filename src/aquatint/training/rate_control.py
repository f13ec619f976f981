"""A rate that is met in training: pictures above their target pay more for a bit than those below.

After Mentzer et al. 2020 (arXiv 2006.09965, appendix A.2), who compare the mean of a batch; here each picture is
compared with its own target, as by Muckley et al. 2023 (arXiv 2301.11189, appendix A).
"""

from __future__ import annotations

import torch
from torch import Tensor

# What a bit per pixel costs above a target, times the target: that of Muckley et al. 2023 from 0.00875 to 0.14 bpp,
# where it is 32 to 2; theirs is at most a quarter away above.
ABOVE = 0.28
_EASE = 0.20 / 0.14  # of targets in the beginning


def rate_weights(bpp: Tensor, target: Tensor, step: int, *, below: float, warmup: int) -> Tensor:
    """What a bit per pixel of each picture costs.

    Arguments:
        bpp: of the pictures as they would be coded, with rounding, of shape (B,).
        target: wanted bits per pixel, of shape (B,).
        step: of the training, counted from 0: each counts once, however many optimisers it moves.
        below: weight of a bit where the target is met.
        warmup: steps in which targets are higher by 0.20 / 0.14, and bits above them cost half.

    Returns:
        Weights of shape (B,), without gradient.
    """
    early = step < warmup
    above = ABOVE / target * (0.5 if early else 1.0)
    exceeded = bpp.detach() > target * (_EASE if early else 1.0)
    return torch.where(exceeded, above, torch.full_like(above, below))
