"""From the hyper-synthesis' features to a mean and a scale for each latent, with or without latents that are known.

Means are those of latents, and scales are in units of a step of 1; the network divides both by the step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from aquatint.codecs.hyperprior.architecture import Architecture
from aquatint.codecs.hyperprior.transforms import feature_channels, sees_latents, usual_log_scales

# From latents and their means to the latents as a decoder knows them.
Quantise = Callable[[Tensor, Tensor], Tensor]

# Means and logarithms of scales are this times what networks give: they span ten octaves, which Adam's steps of the
# size of the learning rate would take long to cross.
PARAMETER_GAIN = 4


class Direct(nn.Module):
    """The features are the parameters: scales alone, or scales and means."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.has_means = architecture.entropy == "mean-scale"

    def forward(self, features: Tensor, latents: Tensor, noisy: Tensor, quantise: Quantise) -> tuple[Tensor, Tensor]:
        """Means and logarithms of scales.

        Arguments:
            features: of shape (B, F, h, w).
            latents: of shape (B, M, h, w).
            noisy: the latents with the noise that stands for quantisation.
            quantise: what a decoder will know of latents.
        """
        if not self.has_means:
            return torch.zeros_like(features), features * PARAMETER_GAIN
        log_scale, mean = (features * PARAMETER_GAIN).chunk(2, 1)
        return mean, log_scale


class MaskedConv2d(nn.Conv2d):
    """A convolution that sees only what comes before its centre in raster order (van den Oord et al. 2016, type A)."""

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__(inputs, outputs, side, padding=side // 2)
        mask = torch.ones(side, side)
        mask.view(-1)[side * side // 2 :] = 0
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight * self.mask, self.bias)


class Autoregressive(nn.Module):
    """Features and the twelve causal neighbours in a window of 5x5 (Minnen et al. 2018, section 3)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        m = architecture.latents
        self.neighbours = MaskedConv2d(m, 2 * m, 5)
        self.parameters_net = nn.Sequential(
            nn.Conv2d(4 * m, 10 * m // 3, 1),
            nn.ReLU(),
            nn.Conv2d(10 * m // 3, 8 * m // 3, 1),
            nn.ReLU(),
            nn.Conv2d(8 * m // 3, 2 * m, 1),
        )

    def forward(self, features: Tensor, latents: Tensor, noisy: Tensor, quantise: Quantise) -> tuple[Tensor, Tensor]:
        """Means and logarithms of scales; the arguments are those of `Direct.forward`.

        The neighbours are the noisy latents: known ones would need a step for each position.
        """
        given = self.parameters_net(torch.cat([features, self.neighbours(noisy)], 1))
        log_scale, mean = (given * PARAMETER_GAIN).chunk(2, 1)
        return mean, log_scale


class Channelwise(nn.Module):
    """Features and, in a window of 3x3, all channels of earlier groups; every group is decoded at once."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        features, width = feature_channels(architecture), 64
        self.groups = architecture.groups
        starts = [sum(self.groups[:k]) for k in range(len(self.groups))]
        # The first group has no earlier one.
        self.earlier = nn.ModuleList(
            [sees_latents(nn.Conv2d(start, width, 3, padding=1), architecture) for start in starts[1:]]
        )
        self.parameters_nets = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(features + (width if start else 0), 128, 1), nn.ReLU(), nn.Conv2d(128, 2 * group, 1)
                )
                for start, group in zip(starts, self.groups, strict=True)
            ]
        )
        for net, usual in zip(self.parameters_nets, usual_log_scales(architecture).split(self.groups), strict=True):
            net[-1].bias.data[: len(usual)] = usual / PARAMETER_GAIN  # type: ignore[index, union-attr]

    def forward(self, features: Tensor, latents: Tensor, noisy: Tensor, quantise: Quantise) -> tuple[Tensor, Tensor]:
        """Means and logarithms of scales; the arguments are those of `Direct.forward`."""
        known: list[Tensor] = []
        means, log_scales = [], []
        for k, group in enumerate(latents.split(self.groups, 1)):
            inputs = [features] + ([self.earlier[k - 1](torch.cat(known, 1))] if k else [])
            log_scale, mean = (self.parameters_nets[k](torch.cat(inputs, 1)) * PARAMETER_GAIN).chunk(2, 1)
            known.append(quantise(group, mean))
            means.append(mean)
            log_scales.append(log_scale)
        return torch.cat(means, 1), torch.cat(log_scales, 1)


def context(architecture: Architecture) -> nn.Module:
    """The context model of an architecture that has hyper-latents."""
    return {"autoregressive": Autoregressive, "channelwise": Channelwise}.get(architecture.entropy, Direct)(
        architecture
    )
