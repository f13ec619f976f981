"""The context model: how likely each index is, given those before it.

An index is a path through a binary tree, its bits from the highest. For each of the tree's N - 1 inner nodes, in the
order of levels, a network gives the logarithm of the odds that the path turns to 1 there. So an index costs a few
binary symbols, and no probability is ever normalised.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from aquatint.codecs.hyperprior.context import MaskedConv2d

WINDOW = 5  # side of the causal window
_EARLIER = 3  # side of the window on earlier stages


class Context(nn.Module):
    """The model of one stage.

    Arguments:
        dimensions: of code vectors.
        codes: N.
        hidden: width.
        first: the stage has none before it.
    """

    def __init__(self, dimensions: int, codes: int, hidden: int, *, first: bool) -> None:
        super().__init__()
        self.neighbours = MaskedConv2d(dimensions, hidden, WINDOW)
        self.earlier = None if first else nn.Conv2d(dimensions, hidden, _EARLIER, padding=_EARLIER // 2)
        inputs = hidden if first else 2 * hidden
        self.odds = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(inputs, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, codes - 1, 1),
        )

    def forward(self, vectors: Tensor, earlier: Tensor) -> Tensor:
        """Logarithms of odds, of shape (B, N - 1, h, w).

        Arguments:
            vectors: this stage's codes, of shape (B, d, h, w).
            earlier: sums of the codes of the stages before, of the same shape.
        """
        features = self.neighbours(vectors)
        if self.earlier is not None:
            features = torch.cat([features, self.earlier(earlier)], 1)
        return self.odds(features)


def path(indices: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """The nodes that the paths of indices pass, and their turns, both of shape (..., bits)."""
    levels = np.arange(bits)
    nodes = (1 << levels) - 1 + (indices[..., None] >> (bits - levels))
    return nodes, indices[..., None] >> (bits - 1 - levels) & 1


def index_bits(odds: Tensor, indices: Tensor, bits: int) -> Tensor:
    """Bits of indices, of shape (B, h, w), under logarithms of odds of shape (B, N - 1, h, w)."""
    levels = torch.arange(bits, device=indices.device)[:, None, None]
    nodes = (1 << levels) - 1 + (indices[:, None] >> (bits - levels))
    turns = indices[:, None] >> (bits - 1 - levels) & 1
    chosen = odds.float().gather(1, nodes)
    return functional.softplus(chosen * (1 - 2 * turns)).sum(1) / np.log(2)
