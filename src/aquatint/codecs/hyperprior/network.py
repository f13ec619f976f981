"""A network of the hyperprior family, as it is trained: pixels to their reconstruction and what it costs.

The quantisation step is an argument of every call, never a state of the module. Latents are divided by it, rounded
around the mean that the entropy model predicts, and multiplied by it (Kamisli et al. 2024, arXiv 2402.18930).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from aquatint.codecs.hyperprior.architecture import HYPER_STRIDE, Architecture
from aquatint.codecs.hyperprior.context import context
from aquatint.codecs.hyperprior.layers import lower_bound, rate_features, round_through
from aquatint.codecs.hyperprior.offsets import CentroidOffset, LearnedOffset, reconstruct
from aquatint.codecs.hyperprior.priors import FactorizedPrior, gaussian_bits
from aquatint.codecs.hyperprior.transforms import (
    UNIT,
    analysis,
    full_precision,
    hyper_analysis,
    hyper_synthesis,
    synthesis,
)

# From a tensor to uniform noise from -1/2 to 1/2 of its shape.
Noise = Callable[[Tensor], Tensor]

LEAST_HYPER_STEP = 0.5
RANGE = 4.0  # of latents, where those of the transforms are about 1
HYPER_RANGE = 16.0  # of hyper-latents: small ones are lost in the noise, and scales are learned from nothing


@dataclass(frozen=True)
class Coded:
    """What became of a batch.

    Attributes:
        pixels: the reconstruction, of shape (B, 3, H, W), not clipped.
        latent_bits, hyper_bits: estimated bits of each picture, of shape (B,).
    """

    pixels: Tensor
    latent_bits: Tensor
    hyper_bits: Tensor

    @property
    def bits(self) -> Tensor:
        """All bits of each picture, of shape (B,)."""
        return self.latent_bits + self.hyper_bits


class HyperStep(nn.Module):
    """The quantisation step of the hyper-latents as a function of that of the latents: 141 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(1, 10), nn.Softplus(), nn.Linear(10, 10), nn.Softplus(), nn.Linear(10, 1), nn.Softplus()
        )
        nn.init.zeros_(self.layers[4].weight)  # type: ignore[arg-type]
        nn.init.constant_(self.layers[4].bias, math.log(math.expm1(1.0)))  # type: ignore[arg-type]

    def forward(self, step: Tensor) -> Tensor:
        """Steps of the hyper-latents, at least `LEAST_HYPER_STEP`, for steps of shape (B,); at first they are 1."""
        return lower_bound(self.layers((1 / step)[:, None]).squeeze(1), LEAST_HYPER_STEP)


class Network(nn.Module):
    """Transforms, entropy model and offsets of an architecture.

    Arguments:
        architecture: the parts.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.analysis = analysis(architecture)
        self.synthesis = synthesis(architecture)
        self.prior = FactorizedPrior(architecture.hyper or architecture.latents)
        if architecture.hyper:
            self.hyper_analysis = hyper_analysis(architecture)
            self.hyper_synthesis = hyper_synthesis(architecture)
            self.context = context(architecture)
        self.hyper_step: nn.Module | None = HyperStep() if architecture.hyper_step else None
        offsets = {"mlp": LearnedOffset, "centroid": CentroidOffset}
        self.offset = offsets[architecture.offset]() if architecture.offset != "none" else None

    def forward(self, pixels: Tensor, step: Tensor, noise: Noise | None) -> Coded:
        """Codes a batch as it would be coded, but for the entropy coder.

        Arguments:
            pixels: of shape (B, 3, H, W) in [0, 1]; H and W are multiples of 16.
            step: quantisation steps, of shape (B,), from 1 to the architecture's max_step.
            noise: what stands for rounding where bits are counted, so that they have gradients; None to round.
        """
        rate = self.rate(step)
        latents = self.latents(pixels, rate)
        decoded, latent_bits, hyper_bits = self.code(latents, step, noise)
        return Coded(self.pixels(decoded, rate), latent_bits, hyper_bits)

    def code(self, latents: Tensor, step: Tensor, noise: Noise | None) -> tuple[Tensor, Tensor, Tensor]:
        """Decoded latents, their bits, and those of the hyper-latents; step and noise are those of `forward`."""
        with full_precision(latents):  # a latent and its mean are large, their difference small
            return self._code(latents, step, noise)

    def _code(self, latents: Tensor, step: Tensor, noise: Noise | None) -> tuple[Tensor, Tensor, Tensor]:
        width = step[:, None, None, None] * UNIT
        if not self.architecture.hyper:
            rounded = round_through(latents / width) * width
            counted = latents + noise(latents) * width if noise else rounded
            bits = self.prior.bits(counted, step * UNIT).sum((1, 2, 3))
            return rounded, bits, torch.zeros_like(bits)

        hyper = self.hyper_latents(latents)
        hyper_step = self.hyper_steps(step)
        hyper_width = hyper_step[:, None, None, None]
        hyper = hyper + noise(hyper) * hyper_width if noise else torch.round(hyper / hyper_width) * hyper_width
        hyper_bits = self.prior.bits(hyper, hyper_step).sum((1, 2, 3))

        def quantise(latents: Tensor, mean: Tensor) -> Tensor:
            return round_through((latents - mean) / width) * width + mean

        features = self.features(hyper, step, latents.shape[2:])
        noisy = latents + noise(latents) * width if noise else None
        mean, log_scale = self.context(features, latents, noisy, quantise)
        log_scale = log_scale - torch.log2(step)[:, None, None, None]
        residuals = (latents - mean) / width
        rounded = round_through(residuals)
        latent_bits = gaussian_bits(residuals + noise(residuals) if noise else rounded, log_scale).sum((1, 2, 3))
        decoded = reconstruct(rounded, log_scale, step, self.offset) * width + mean
        return decoded, latent_bits, hyper_bits

    def hyper_steps(self, step: Tensor) -> Tensor:
        """Quantisation steps of the hyper-latents, of shape (B,)."""
        return torch.ones_like(step) if self.hyper_step is None else self.hyper_step(step)

    def rate(self, step: Tensor) -> Tensor | None:
        """What the transforms know of the rate."""
        return rate_features(step, self.architecture.max_step) if self.architecture.conditioned else None

    def latents(self, pixels: Tensor, rate: Tensor | None) -> Tensor:
        """Latents (B, M, H / 16, W / 16) of pixels (B, 3, H, W)."""
        return self.analysis(pixels - 0.5, rate) * RANGE

    def pixels(self, latents: Tensor, rate: Tensor | None) -> Tensor:
        """Pixels (B, 3, 16 h, 16 w) of decoded latents (B, M, h, w)."""
        return painted(self.synthesis, latents, rate)

    def hyper_latents(self, latents: Tensor) -> Tensor:
        """Hyper-latents of latents, whose sides are first brought to multiples of 4 by repeating the last ones."""
        height, width = latents.shape[2:]
        latents = functional.pad(latents, (0, -width % HYPER_STRIDE, 0, -height % HYPER_STRIDE), mode="replicate")
        return self.hyper_analysis(latents.abs() if self.architecture.entropy == "scale" else latents) * HYPER_RANGE

    def features(self, hyper: Tensor, step: Tensor, size: torch.Size) -> Tensor:
        """What the hyper-synthesis makes of decoded hyper-latents, cropped to the rows and columns of the latents."""
        if self.architecture.conditioned:
            place = 1 - torch.log(step) / math.log(self.architecture.max_step)
            hyper = torch.cat([hyper, place[:, None, None, None].expand(-1, 1, *hyper.shape[2:])], 1)
        return self.hyper_synthesis(hyper)[:, :, : size[0], : size[1]]


def painted(synthesis: nn.Module, latents: Tensor, rate: Tensor | None, *, seed: int | None = None) -> Tensor:
    """Pixels (B, 3, 16 h, 16 w) that a synthesis makes of decoded latents (B, M, h, w); see `Transform.forward`."""
    return synthesis(latents / RANGE, rate, seed=seed) + 0.5
