"""A network of the transport codec, as it is trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aquatint.codecs.hyperprior import transforms
from aquatint.codecs.transport.architecture import Transport
from aquatint.codecs.transport.context import Context, index_bits
from aquatint.codecs.transport.quantiser import Laguerre, Quantised

GAIN = 2.0  # of latents: on photographs the mean square of a dimension is then about 1/2


@dataclass(frozen=True)
class Coded:
    """What became of a batch.

    Attributes:
        pixels: the reconstruction, of shape (B, 3, H, W), not clipped.
        quantised: latents and their codes.
        bits: of the indices of each stage by the context model, of shape (K, B).
    """

    pixels: Tensor
    quantised: Quantised
    bits: Tensor


class Network(nn.Module):
    """Analysis, codebooks, context models and synthesis.

    Latent vectors begin as the lowest cosines of 16x16 blocks, an orthonormal basis: there distances are those of
    pixels, and the codebooks of the first steps are already good for something.

    Arguments:
        architecture: its parts.
    """

    def __init__(self, architecture: Transport) -> None:
        super().__init__()
        self.architecture = architecture
        features, dimensions = architecture.features, architecture.dimensions
        self.analysis = transforms.analysis(architecture.transforms)
        self.reduce = nn.Conv2d(features, dimensions, 1, bias=False)
        self.expand = nn.Conv2d(dimensions, features, 1, bias=False)
        self.synthesis = transforms.synthesis(architecture.transforms)
        self.quantiser = Laguerre(architecture.stages, architecture.codes, dimensions)
        self.contexts = nn.ModuleList(
            Context(dimensions, architecture.codes, architecture.hidden, first=stage == 0)
            for stage in range(architecture.stages)
        )
        with torch.no_grad():
            self.reduce.weight.copy_(GAIN * torch.eye(dimensions, features)[:, :, None, None])
            self.expand.weight.copy_(torch.eye(features, dimensions)[:, :, None, None] / GAIN)

    def latents(self, pixels: Tensor) -> Tensor:
        """Latent vectors (B, d, h, w) of pixels (B, 3, 16 h, 16 w) in [0, 1]."""
        return self.reduce(self.analysis(pixels - 0.5, None))

    def pixels(self, latents: Tensor) -> Tensor:
        """Pixels, not clipped, of latent vectors."""
        return self.synthesis(self.expand(latents), None) + 0.5

    def forward(self, pixels: Tensor, stages: Tensor) -> Coded:
        """Codes a batch.

        Arguments:
            pixels: of shape (B, 3, 16 h, 16 w) in [0, 1].
            stages: how many each picture has, integers of shape (B,).
        """
        latents = self.latents(pixels)
        quantised = self.quantiser(latents, stages)
        return Coded(self.pixels(quantised.vectors), quantised, self.bits(quantised))

    def bits(self, quantised: Quantised) -> Tensor:
        """Bits of the indices of each stage and picture, of shape (K, B)."""
        before = torch.zeros_like(quantised.sums[0])
        found = []
        for context, sums, indices in zip(self.contexts, quantised.sums, quantised.indices, strict=True):
            odds = context(sums - before, before)
            found.append(index_bits(odds, indices, self.architecture.bits).sum((1, 2)))
            before = sums
        return torch.stack(found)
