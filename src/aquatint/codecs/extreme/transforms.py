"""The networks on both sides of the symbols, in the paper's form and in one that is made for processors.

The strings are those of Agustsson et al. 2019, appendix E, in the notation of Wang et al. 2018: c7s1-60 is a
convolution of 7x7 with reflected borders, normalisation and ReLU. After the projection to the symbols and after the
last layer there are neither: behind a ReLU half of the levels could not be reached.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from aquatint.codecs.extreme.architecture import STRIDE, Extreme
from aquatint.codecs.hyperprior import transforms
from aquatint.codecs.hyperprior.layers import ChannelNorm

_UNIT = 64.0  # what the usual scales of the transforms' latents are multiples of
_PAPER_WIDTH = 60
_LABEL_FEATURES = 64  # of a residual network: a mixture of a dozen classes in sixteen places


def encoder(architecture: Extreme) -> nn.Module:
    """From pixels (B, 3, H, W), maps of labels and their features, each or None, to latents (B, C, h, w)."""
    if architecture.transform == "residual":
        return ResidualEncoder(architecture)
    network = PaperEncoder(architecture)
    _started(network)
    with torch.no_grad():  # where all symbols are 0 nothing has a gradient: narrow networks begin with as large latents
        network.project.weight *= math.sqrt(_PAPER_WIDTH / architecture.widths[0])
    return network


def generator(architecture: Extreme) -> nn.Module:
    """From symbols (B, C, h, w), with the mask if there is one, and features of labels to pixels centred on 0."""
    if architecture.transform == "residual":
        return ResidualGenerator(architecture)
    return _started(PaperGenerator(architecture))


def label_encoder(architecture: Extreme) -> nn.Module:
    """From labels (B, K, H / s, W / s), one-hot, to features (B, F, H / 16, W / 16)."""
    classes, norm = len(architecture.classes), architecture.norm
    if architecture.transform == "pix2pix":
        (width,) = architecture.widths
        first = nn.Upsample(scale_factor=architecture.label_stride, mode="nearest")
        return _started(
            nn.Sequential(first, _wide(classes, width, norm), *(_halving(width << k, norm) for k in range(4)))
        )
    side = STRIDE // architecture.label_stride
    return nn.Sequential(
        nn.PixelUnshuffle(side),
        nn.Conv2d(classes * side**2, _LABEL_FEATURES, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(_LABEL_FEATURES, _LABEL_FEATURES, 3, padding=1),
    )


class PaperEncoder(nn.Module):
    """c7s1-60, d120, d240, d480, d960, c3s1-C; without d960 for selective compression, with labels beside the pixels.

    Labels are maps (B, K, H / s, W / s), one-hot, or None.
    """

    def __init__(self, architecture: Extreme) -> None:
        super().__init__()
        (width,), norm = architecture.widths, architecture.norm
        self.labels = nn.Upsample(scale_factor=architecture.label_stride, mode="nearest")
        halvings = 3 if architecture.selective else 4
        self.layers = nn.Sequential(
            _wide(3 + len(architecture.classes), width, norm),
            *(_halving(width << k, norm) for k in range(halvings)),
        )
        self.project = nn.Conv2d(width << halvings, architecture.channels[-1], 3, padding=1)

    def forward(self, pixels: Tensor, labels: Tensor | None, features: Tensor | None) -> Tensor:
        x = 2 * pixels - 1
        return self.project(self.layers(x if labels is None else torch.cat([x, self.labels(labels)], 1)))


class PaperGenerator(nn.Module):
    """c3s1-960, nine residual blocks, u480, u240, u120, u60, c7s1-3 and a hyperbolic tangent.

    For selective compression c3s1-480 and d960 come before it, and the features of the labels beside their output.
    """

    def __init__(self, architecture: Extreme) -> None:
        super().__init__()
        (width,), norm, symbols = architecture.widths, architecture.norm, architecture.channels[-1]
        most = 16 * width
        self.enter = nn.Sequential()
        if architecture.selective:
            self.enter = nn.Sequential(
                _normalised(nn.Conv2d(symbols + 1, 8 * width, 3, padding=1), norm), _halving(8 * width, norm)
            )
            symbols = 2 * most
        self.layers = nn.Sequential(
            _normalised(nn.Conv2d(symbols, most, 3, padding=1), norm),
            *(_Block(most, norm) for _ in range(architecture.blocks)),
            *(_doubling(most >> k, norm) for k in range(4)),
            nn.Conv2d(width, 3, 7, padding=3, padding_mode="reflect"),
            nn.Tanh(),
        )

    def forward(self, symbols: Tensor, features: Tensor | None) -> Tensor:
        x = self.enter(symbols)
        return self.layers(x if features is None else torch.cat([x, features], 1)) / 2


class ResidualEncoder(nn.Module):
    """The analysis of the compact hyperprior network and a projection, at first onto the lowest cosines.

    The projection sees the features of the labels, not their maps.
    """

    def __init__(self, architecture: Extreme) -> None:
        super().__init__()
        self.analysis = transforms.analysis(architecture.transforms)
        coarse, symbols = architecture.widths[2], architecture.channels[-1]
        self.project = nn.Conv2d(coarse + _features(architecture), symbols, 1)
        with torch.no_grad():
            self.project.weight.zero_()
            self.project.bias.zero_()  # type: ignore[union-attr]
            diagonal = torch.arange(symbols)
            self.project.weight[diagonal, diagonal, 0, 0] = _UNIT / _usual_scales(architecture)

    def forward(self, pixels: Tensor, labels: Tensor | None, features: Tensor | None) -> Tensor:
        x = self.analysis(pixels - 0.5, None)
        return self.project(x if features is None else torch.cat([x, features], 1))


class ResidualGenerator(nn.Module):
    """A projection back, at first onto the lowest cosines, and the synthesis of the compact hyperprior network."""

    def __init__(self, architecture: Extreme) -> None:
        super().__init__()
        coarse, symbols = architecture.widths[2], architecture.channels[-1]
        self.project = nn.Conv2d(symbols + architecture.selective + _features(architecture), coarse, 3, padding=1)
        self.synthesis = transforms.synthesis(architecture.transforms)
        with torch.no_grad():
            self.project.weight.zero_()
            self.project.bias.zero_()  # type: ignore[union-attr]
            diagonal = torch.arange(symbols)
            self.project.weight[diagonal, diagonal, 1, 1] = _usual_scales(architecture) / _UNIT

    def forward(self, symbols: Tensor, features: Tensor | None) -> Tensor:
        x = self.project(symbols if features is None else torch.cat([symbols, features], 1))
        return self.synthesis(x, None)


def _started(network: nn.Module) -> nn.Module:
    """The network with the paper's initial weights, whose standard deviation is 0.02."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return network


def _features(architecture: Extreme) -> int:
    return _LABEL_FEATURES if architecture.selective else 0


def _usual_scales(architecture: Extreme) -> Tensor:
    """Standard deviations in photographs of the first cosines, in units of 1 / `_UNIT`, of shape (C,)."""
    return torch.exp2(transforms.usual_log_scales(architecture.transforms)[: architecture.channels[-1]])


def _normalised(layer: nn.Module, norm: str) -> nn.Sequential:
    channels: int = layer.out_channels  # type: ignore[assignment]
    return nn.Sequential(layer, _norm(channels, norm), nn.ReLU())


def _norm(channels: int, norm: str) -> nn.Module:
    return ChannelNorm(channels) if norm == "channel" else _InstanceNorm()


class _InstanceNorm(nn.Module):
    """Normalises each channel over the picture, without parameters; a picture of one place stays as it is."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.shape[2] * x.shape[3] == 1 else nn.functional.instance_norm(x)


def _wide(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    return _normalised(nn.Conv2d(inputs, outputs, 7, padding=3, padding_mode="reflect"), norm)


def _halving(inputs: int, norm: str) -> nn.Sequential:
    return _normalised(nn.Conv2d(inputs, 2 * inputs, 3, stride=2, padding=1), norm)


def _doubling(inputs: int, norm: str) -> nn.Sequential:
    return _normalised(nn.ConvTranspose2d(inputs, inputs // 2, 3, stride=2, padding=1, output_padding=1), norm)


class _Block(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), with replicated borders where a reflection would need a larger picture."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(_Padded(channels), _norm(channels, norm), nn.ReLU()),
            *(_Padded(channels), _norm(channels, norm)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class _Padded(nn.Conv2d):
    """A convolution of 3x3 with reflected borders; with repeated ones if the picture is one place wide or high."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3)

    def forward(self, input: Tensor) -> Tensor:
        mode = "reflect" if min(input.shape[2:]) > 1 else "replicate"
        return super().forward(nn.functional.pad(input, (1, 1, 1, 1), mode=mode))
