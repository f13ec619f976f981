"""Layers and functions with unusual gradients that the networks are made of."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

RATE_FEATURES = 4  # numbers that describe a rate to `RateGain`


class _LowerBound(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, bound: float) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(values)
        ctx.bound = bound
        return values.clamp(min=bound)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (values,) = ctx.saved_tensors
        return gradient * ((values >= ctx.bound) | (gradient < 0)), None


def lower_bound(values: Tensor, bound: float) -> Tensor:
    """max(values, bound); gradients that would raise a value below the bound pass all the same."""
    return _LowerBound.apply(values, bound)  # type: ignore[return-value]


def round_through(values: Tensor) -> Tensor:
    """The nearest integers, with the gradient of the identity."""
    return values + (torch.round(values) - values).detach()


class GDN(nn.Module):
    """Generalised divisive normalisation, y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2), or its inverse.

    Ballé, Laparra & Simoncelli 2016 (arXiv 1511.06281). beta and gamma stay positive because the stored parameters are
    square roots with an offset, whose gradients vanish near zero.

    Arguments:
        channels: of the input.
        inverse: multiply by the root instead.
    """

    _PEDESTAL = 2.0**-36
    _PIECE = 4096  # places

    def __init__(self, channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(torch.sqrt(torch.ones(channels) + self._PEDESTAL))
        self.gamma = nn.Parameter(torch.sqrt(0.1 * torch.eye(channels) + self._PEDESTAL))

    def forward(self, x: Tensor) -> Tensor:
        """Normalises x of shape (B, C, H, W), which may be overwritten if no gradients are wanted."""
        beta = lower_bound(self.beta, math.sqrt(1e-6 + self._PEDESTAL)) ** 2 - self._PEDESTAL
        gamma = lower_bound(self.gamma, math.sqrt(self._PEDESTAL)) ** 2 - self._PEDESTAL
        if not torch.is_grad_enabled():
            return self._in_place(x, beta, gamma)
        norm = functional.conv2d(x * x, gamma[:, :, None, None], beta)
        return x * torch.sqrt(norm) if self.inverse else x * torch.rsqrt(norm)

    def _in_place(self, x: Tensor, beta: Tensor, gamma: Tensor) -> Tensor:
        """The same in pieces that stay in the processor's cache: a third of the time."""
        places = x.permute(0, 2, 3, 1)
        rows = places.reshape(-1, x.shape[1])  # a view if channels are last in memory
        for piece in rows.split(self._PIECE):
            norm = torch.addmm(beta, piece * piece, gamma.T)
            piece.mul_(norm.sqrt_() if self.inverse else norm.rsqrt_())
        return rows.view(places.shape).permute(0, 3, 1, 2)


class ChannelNorm(nn.Module):
    """Normalises each pixel over its channels (Mentzer et al. 2020, arXiv 2006.09965, section 3.2).

    The variance is the unbiased one. Unlike normalisation over a picture it does not depend on the picture's size.

    Arguments:
        channels: of the input, at least 2.
    """

    _EPSILON = 1e-3

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self._share = (channels - 1) / channels  # of the biased variance, which is the one that PyTorch divides by

    def forward(self, x: Tensor) -> Tensor:
        gain = self.gain * math.sqrt(self._share)
        x = functional.layer_norm(x.movedim(1, 3), gain.shape, gain, self.bias, self._EPSILON * self._share)
        return x.movedim(3, 1)


class Bottleneck(nn.Module):
    """A residual block: 1x1 to half the channels, 3x3, and 1x1 back (He et al. 2016, arXiv 1512.03385)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.layers = nn.Sequential(
            nn.Conv2d(channels, half, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, half, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def rate_features(step: Tensor, max_step: float) -> Tensor:
    """Cosines of the rate's place from the largest step to 1, of shape (B, RATE_FEATURES).

    Arguments:
        step: quantisation steps of shape (B,), from 1 to max_step.
        max_step: above 1.
    """
    place = 1 - torch.log(step) / math.log(max_step)
    orders = torch.arange(RATE_FEATURES, device=step.device, dtype=step.dtype)
    return torch.cos(math.pi * orders * place[:, None])


class RateGain(nn.Module):
    """Gains of the channels, exponentials of a linear function of the rate's features; at first they are 1.

    After Cui et al. 2021 (arXiv 2003.02012), whose gains are vectors for a few rates.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(RATE_FEATURES, channels, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        gains = torch.exp(functional.linear(features, self.linear.weight))
        return x * gains.to(x.dtype)[:, :, None, None]
