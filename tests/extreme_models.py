"""Small networks of the extreme codec, trained for a moment so that their probabilities mean something."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import torch

from aquatint.codecs.extreme.architecture import Extreme
from aquatint.codecs.extreme.context import symbol_bits
from aquatint.codecs.extreme.network import Network

torch.set_num_threads(1)  # the networks are small
SMALL = Extreme("residual", (8, 16, 24), (2, 4), 8)
PAPER = Extreme("pix2pix", (4,), (3,), 8, blocks=2, norm="instance")
SELECTIVE = Extreme("residual", (8, 16, 24), (2, 4), 8, classes=("sky", "road", "tree"), label_stride=4)
SELECTIVE_PAPER = Extreme("pix2pix", (4,), (2,), 8, blocks=1, norm="channel", classes=("sky", "road", "tree"))
GOLDEN = replace(SELECTIVE_PAPER, widths=(2,), channels=(2, 4), label_stride=4)
_STEPS = 12


@cache
def trained(architecture: Extreme = SMALL) -> Network:
    """A network whose context model has seen the symbols of a photograph; the transforms are as they begin."""
    data = __import__("skimage.data").data.astronaut()
    pixels = torch.from_numpy(data[100:228, 150:278].astype(np.float32) / 255).permute(2, 0, 1)[None]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network(architecture)
    labels = network.labels(halves(*(128 // architecture.label_stride,) * 2)[None]) if architecture.selective else None
    with torch.no_grad():
        symbols = network.symbols(network.latents(pixels, labels), torch.ones(1, 1, 1, 1))
        for level in range(5):
            network.context.frequencies[:, level] = (symbols[0] == level - 2).float().mean((1, 2))
    optimiser = torch.optim.Adam(network.context.parameters(), lr=2e-2)
    for _ in range(_STEPS):
        optimiser.zero_grad()
        symbol_bits(network.context(symbols), symbols).mean().backward()
        optimiser.step()
    return network.eval()


def halves(rows: int, columns: int) -> torch.Tensor:
    """Labels: sky above, road below, and a tree."""
    labels = torch.zeros(rows, columns, dtype=torch.long)
    labels[rows // 2 :] = 1
    labels[rows // 4 : rows // 2 + 1, columns // 4 : columns // 2] = 2
    return labels
