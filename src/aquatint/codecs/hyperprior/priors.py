"""Probabilities of quantised numbers: a learned density for each channel, and the Gaussian."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from aquatint.codecs.hyperprior.layers import lower_bound

LEAST_PROBABILITY = 1e-9
LEAST_SCALE = 0.11  # of a Gaussian in quantisation steps: below it a residual of 0 is all but certain
LARGEST_LOG_SCALE = 9.4  # base 2, that of the last of the coder's tables; beyond it gradients would overflow


def _bits(probability: Tensor) -> Tensor:
    return -torch.log2(lower_bound(probability, LEAST_PROBABILITY))


def gaussian_bits(residuals: Tensor, log_scale: Tensor) -> Tensor:
    """Bits of numbers in bins of width 1 under a Gaussian of mean 0.

    Arguments:
        residuals: numbers, integers or integers with uniform noise.
        log_scale: base-2 logarithm of the standard deviation; the deviation is brought into the range
            of the constants above.
    """
    scale = torch.exp2(-lower_bound(-lower_bound(log_scale, math.log2(LEAST_SCALE)), -LARGEST_LOG_SCALE))
    magnitude = residuals.abs()  # the tail on the left has no cancellation
    upper = torch.special.ndtr((0.5 - magnitude) / scale)
    lower = torch.special.ndtr((-0.5 - magnitude) / scale)
    return _bits(upper - lower)


class FactorizedPrior(nn.Module):
    """A density for each channel: its cumulative function is a monotone network (Ballé et al. 2018, appendix 6.1).

    Arguments:
        channels: number of densities.
    """

    _WIDTHS = (1, 3, 3, 3, 3, 1)
    _INITIAL_EXTENT = 10.0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        ratio = self._INITIAL_EXTENT ** (1 / (len(self._WIDTHS) - 1))
        self.matrices, self.biases, self.factors = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in pairwise(self._WIDTHS):
            start = math.log(math.expm1(1 / (ratio * outputs)))
            self.matrices.append(nn.Parameter(torch.full((channels, outputs, inputs), start)))
            self.biases.append(nn.Parameter(torch.empty(channels, outputs, 1).uniform_(-0.5, 0.5)))
        for outputs in self._WIDTHS[1:-1]:
            self.factors.append(nn.Parameter(torch.zeros(channels, outputs, 1)))

    def logits(self, values: Tensor) -> Tensor:
        """Logit of the cumulative probability of values of shape (C, ...), in the same shape."""
        x = values.reshape(self.channels, 1, -1)
        for index, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            x = functional.softplus(matrix) @ x + bias
            if index < len(self.factors):
                x = x + torch.tanh(self.factors[index]) * torch.tanh(x)
        return x.reshape(values.shape)

    def bits(self, values: Tensor, step: Tensor) -> Tensor:
        """Bits of numbers in bins around them.

        Arguments:
            values: of shape (B, C, H, W).
            step: widths of the bins, of shape (B,).
        """
        by_channel = values.transpose(0, 1)
        half = (step / 2)[:, None, None]
        lower, upper = self.logits(by_channel - half), self.logits(by_channel + half)
        sign = -torch.sign(lower + upper).detach()  # to where the sigmoid is small, and differences are exact
        probability = torch.abs(torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower))
        return _bits(probability).transpose(0, 1)
