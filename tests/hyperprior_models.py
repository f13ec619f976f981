"""Small networks of the hyperprior family, trained for a moment so that their probabilities mean something."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from aquatint.codecs.hyperprior.architecture import Architecture
from aquatint.codecs.hyperprior.network import Network

torch.set_num_threads(1)  # the networks are small
FAMILY = {
    "factorized": Architecture("gdn", (8,), 12, 0, "factorized"),
    "scale": Architecture("gdn", (8,), 12, 8, "scale"),
    "mean-scale": Architecture("gdn", (8,), 12, 8, "mean-scale", max_step=7.2, hyper_step=True, offset="mlp"),
    "autoregressive": Architecture("gdn", (8,), 12, 8, "autoregressive", max_step=4.0, offset="centroid"),
    "channelwise": Architecture("residual", (8, 16), 32, 8, "channelwise", (8, 24), 18.0, True, True, "mlp"),
    "hific": Architecture("hific", (4,), 12, 8, "mean-scale", (), 7.2, True, True, "mlp", blocks=2),
}
LARGEST_LAMBDA = 0.1
_STEPS = dict.fromkeys(FAMILY, 60) | {"scale": 120, "hific": 120}  # whose scales learn late


@cache
def trained(name: str) -> Network:
    """A network that has seen a photograph a few times."""
    data = __import__("skimage.data").data.astronaut()
    generator = torch.Generator().manual_seed(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network(FAMILY[name])
    optimiser = torch.optim.Adam(network.parameters(), lr=4e-3)
    max_step = FAMILY[name].max_step
    pixels = torch.from_numpy(data.astype(np.float32) / 255).permute(2, 0, 1)
    for _ in range(_STEPS[name]):
        tops = torch.randint(512 - 64, (4, 2), generator=generator).tolist()
        crops = torch.stack([pixels[:, y : y + 64, x : x + 64] for y, x in tops])
        step = max_step ** ((torch.arange(4) + torch.rand(4, generator=generator)) / 4)
        coded = network(crops, step, lambda like: torch.rand(like.shape, generator=generator) - 0.5)
        error = ((coded.pixels - crops) ** 2).mean((1, 2, 3))
        loss = (step * (coded.bits / 64**2 + LARGEST_LAMBDA / step**2 * 255**2 * error)).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    return network.eval()
