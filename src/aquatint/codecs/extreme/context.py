"""The context model: how likely each symbol is, given those before it and the channels before its own.

A symbol is a path of one to three turns: is it 0? is it positive? is it 2 rather than 1? For each of the four nodes,
for the last turn has two, a network gives the logarithm of the odds of a turn to 1.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from aquatint.codecs.extreme.quantiser import LARGEST, LEVELS
from aquatint.codecs.hyperprior.context import MaskedConv2d

NODES = 4  # not 0; positive; 2 among the negative; 2 among the positive
_WINDOW = 5  # side of the causal window

# For the symbols -2 to 2: the turns at the nodes, or -1 where their paths do not pass.
PATHS = np.array([[1, 0, 1, -1], [1, 0, 0, -1], [0, -1, -1, -1], [1, 1, -1, 0], [1, 1, -1, 1]])


class Context(nn.Module):
    """Odds of all channels.

    Arguments:
        channels: of the symbols.
        hidden: width.

    Attributes:
        frequencies: of the levels of each channel, a running mean of shape (C, 5), for the static code.
    """

    frequencies: Tensor

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.full((channels, LEVELS), 1 / LEVELS))
        self.neighbours = MaskedConv2d(channels, hidden, _WINDOW)
        self.odds = nn.ModuleList(
            nn.Sequential(nn.Conv2d(hidden + channel, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, NODES, 1))
            for channel in range(channels)
        )

    def forward(self, symbols: Tensor) -> Tensor:
        """Logarithms of odds (B, C, 4, h, w) of symbols (B, C, h, w), numbers from -2 to 2 without gradient."""
        features = functional.relu(self.neighbours(symbols))
        found = [odds(torch.cat([features, symbols[:, :c]], 1)) for c, odds in enumerate(self.odds)]
        return torch.stack(found, 1)


def symbol_bits(odds: Tensor, symbols: Tensor) -> Tensor:
    """Bits of symbols, of their shape (B, C, h, w), under logarithms of odds of shape (B, C, 4, h, w)."""
    paths = torch.from_numpy(PATHS).to(odds.device)
    turns = paths[symbols.detach().long() + LARGEST].movedim(-1, 2)
    bits = functional.softplus(odds.float() * (1 - 2 * turns)) / np.log(2)
    return torch.where(turns < 0, 0.0, bits).sum(2)


def static_odds(frequencies: np.ndarray) -> np.ndarray:
    """Logarithms of odds (C, 4) under which symbols have given frequencies, of shape (C, 5) and above 0."""
    found = []
    for node in range(NODES):
        ones, zeros = (frequencies[:, PATHS[:, node] == turn].sum(1) for turn in (1, 0))
        found.append(np.log(ones / zeros))
    return np.stack(found, 1)
