"""A small network of the transport codec, trained for a moment so that its codes and probabilities mean something."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from aquatint.codecs.transport.architecture import Transport
from aquatint.codecs.transport.network import Network
from aquatint.codecs.transport.quantiser import schedule

torch.set_num_threads(1)  # the networks are small
SMALL = Transport((8, 16), 32, 6, 16, 3, 8)
_STEPS = 80


@cache
def trained() -> Network:
    """A network that has seen a photograph a few times."""
    data = __import__("skimage.data").data.astronaut()
    generator = torch.Generator().manual_seed(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network(SMALL)
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    pixels = torch.from_numpy(data.astype(np.float32) / 255).permute(2, 0, 1)
    for step in range(_STEPS):
        tops = torch.randint(512 - 64, (6, 2), generator=generator).tolist()
        crops = torch.stack([pixels[:, y : y + 64, x : x + 64] for y, x in tops])
        network.quantiser.learn(network.latents(crops), schedule(step / _STEPS))
        coded = network(crops, 1 + torch.arange(6) % 3)
        loss = (
            100 * (coded.pixels - crops).square().mean() + 0.1 * coded.quantised.commitment + 1e-3 * coded.bits.mean()
        )
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    return network.eval()
