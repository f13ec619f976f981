"""From the hyper-synthesis' features to a mean and a scale for each latent, with or without latents that are known.

Means are those of latents, and scales are in units of a step of 1; the network divides both by the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

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

    def forward(
        self, features: Tensor, latents: Tensor, noisy: Tensor | None, quantise: Quantise
    ) -> tuple[Tensor, Tensor]:
        """Means and logarithms of scales.

        Arguments:
            features: of shape (B, F, h, w).
            latents: of shape (B, M, h, w).
            noisy: the latents with the noise that stands for quantisation, or None if nothing may stand for it.
            quantise: what a decoder will know of latents.
        """
        if not self.has_means:
            return torch.zeros_like(features), features * PARAMETER_GAIN
        log_scale, mean = (features * PARAMETER_GAIN).chunk(2, 1)
        return mean, log_scale


# What a causal window of 5x5 sees: rows and columns from its centre, in raster order.
NEIGHBOURS = [(y, x) for y in (-2, -1, 0) for x in range(-2, 3) if (y, x) < (0, 0)]
MARGIN = 2


def fronts(height: int, width: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and columns of the places that such windows let be known together: those with the same column + 3 row."""
    reach = 1 + MARGIN
    for front in range(width + reach * (height - 1)):
        rows = np.arange(max(0, -(-(front - width + 1) // reach)), min(height - 1, front // reach) + 1)
        if len(rows):  # in a narrow grid some have no places
            yield rows, front - reach * rows


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

    def forward(
        self, features: Tensor, latents: Tensor, noisy: Tensor | None, quantise: Quantise
    ) -> tuple[Tensor, Tensor]:
        """Means and logarithms of scales; the arguments are those of `Direct.forward`.

        In training the neighbours are the noisy latents: known ones need a step for each front.
        """
        seen = self._known(features, latents, quantise) if noisy is None else noisy
        return self._moments(features, self.neighbours(seen))

    def _moments(self, features: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, mean = (self.parameters_net(torch.cat([features, context], 1)) * PARAMETER_GAIN).chunk(2, 1)
        return mean, log_scale

    def _known(self, features: Tensor, latents: Tensor, quantise: Quantise) -> Tensor:
        """The latents as a decoder knows them."""
        weight = self.neighbours.weight.flatten(2)[:, :, : len(NEIGHBOURS)].flatten(1)[:, :, None, None]
        known = functional.pad(torch.zeros_like(latents), [MARGIN] * 4)
        for rows, columns in fronts(*latents.shape[2:]):
            window = torch.stack([known[:, :, rows + MARGIN + y, columns + MARGIN + x] for y, x in NEIGHBOURS], 2)
            context = functional.conv2d(window.flatten(1, 2)[..., None], weight, self.neighbours.bias)
            mean, _ = self._moments(features[:, :, rows, columns][..., None], context)
            found = quantise(latents[:, :, rows, columns][..., None], mean)
            known[:, :, rows + MARGIN, columns + MARGIN] = found[..., 0]
        return known[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN]


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
        # At first the parameters are the usual ones: what random weights give would cost several bits a pixel.
        for net, usual in zip(self.parameters_nets, usual_log_scales(architecture).split(self.groups), strict=True):
            last = net[-1]  # type: ignore[index]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            last.bias.data[: len(usual)] = usual / PARAMETER_GAIN

    def forward(
        self, features: Tensor, latents: Tensor, noisy: Tensor | None, quantise: Quantise
    ) -> tuple[Tensor, Tensor]:
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
