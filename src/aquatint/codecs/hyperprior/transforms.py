"""Analysis and synthesis, and their counterparts between latents and hyper-latents."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from aquatint import native
from aquatint.codecs.hyperprior.architecture import LATENT_STRIDE, Architecture
from aquatint.codecs.hyperprior.layers import GDN, Bottleneck, ChannelNorm, RateGain

UNIT = 1 / 16  # what a step of 1 is in latents: then entropy networks, too, see and give numbers that are not large
# Of the orthonormal basis that residual transforms start from: a step of 1 is then one of 20 / 255 in the basis. With
# uniform quantisers the best step is sqrt(18 / (ln 2 lambda)), which for lambda = 0.06 is 21.
_BASIS_GAIN = 0.2
# Measured on photographs: typical scales inside a photograph, which are below those over all of it.
_LOG_SCALE = 5.0  # base 2; too large a scale costs little, too small a one much
_MEAN_VARIANCE = 10.0  # of the means of blocks, over what the law of the others would give
_FALL = -1.67  # exponent of the variance over the frequency's square
_COLOUR_VARIANCES = (1.0, 0.05, 0.0125)  # of luma, red - blue, and green - magenta


def _down(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 5, stride=2, padding=2)


def _up(inputs: int, outputs: int, *, groups: int = 1) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2, output_padding=1, groups=groups)


class Transform(nn.Module):
    """Stages, each followed by gains of its channels if it is to know the rate.

    Arguments:
        stages: modules that are applied in order.
        gains: for each stage the channels of its output, or 0 for no gains.
        linear: if not None, a linear map whose result of the first stage's output is added to that of the last stage.
        noise: see `Architecture`; the last stage but one has so many times as many more inputs.
    """

    def __init__(
        self, stages: list[nn.Module], gains: list[int], linear: nn.Module | None = None, noise: int = 0
    ) -> None:
        super().__init__()
        self.noise = noise
        self.stages = nn.ModuleList(stages)
        self.gains = nn.ModuleList([RateGain(channels) if channels else nn.Identity() for channels in gains])
        self.linear = linear

    def forward(self, x: Tensor, rate: Tensor | None, *, seed: int | None = None) -> Tensor:
        """Applies the stages to x of shape (B, C, H, W); rate is None, or `rate_features`.

        Noise is the one that all decoders have, unless a seed is given: whoever trains on that learns it by heart.
        Under autocast the linear map, or else the last stage, is in full precision: there the numbers are large.
        """
        (stage, gain), *others, (last_stage, last_gain) = zip(self.stages, self.gains, strict=True)
        x = first = _with_gain(stage(x), gain, rate)
        for k, (stage, gain) in enumerate(others, 1):
            if self.noise and k == len(others):
                x = torch.cat([x, randomness(x, self.noise, seed)], 1)
            x = _with_gain(stage(x), gain, rate)
        if self.linear is not None:
            x = last_stage(x).float()
        with full_precision(x):
            x = last_stage(x.float()) if self.linear is None else x + self.linear(first.float())
            return _with_gain(x, last_gain, rate)


class BlockSynthesis(nn.ConvTranspose2d):
    """A transposed convolution whose kernels do not overlap, as the product of matrices that it is."""

    def forward(self, input: Tensor) -> Tensor:  # type: ignore[override]
        blocks = functional.conv2d(input, self.weight.flatten(1).T[..., None, None])
        return functional.pixel_shuffle(blocks, self.stride[0])


class PixelSynthesis(nn.ConvTranspose2d):
    """What `_up` gives, for few outputs: as four convolutions of 3x3, one for each place of outputs; half the time."""

    def forward(self, input: Tensor) -> Tensor:  # type: ignore[override]
        taps = torch.tensor([[4, 2, 0], [5, 3, 1]], device=input.device)  # for even places and for odd ones; 5 is 0
        kernels = functional.pad(self.weight, (0, 1, 0, 1))[:, :, taps][..., taps]
        kernels = kernels.permute(1, 2, 4, 0, 3, 5).flatten(0, 2)
        assert self.bias is not None
        places = functional.conv2d(input, kernels, self.bias.repeat_interleave(4), padding=1)
        return functional.pixel_shuffle(places, 2)


def randomness(x: Tensor, side: int, seed: int | None) -> Tensor:
    """Noise of variance 4/3, `side`^2 channels for x of shape (B, C, H, W): common (FORMAT.md, 3.4), or of a seed."""
    height, width = side * x.shape[2], side * x.shape[3]
    if seed is None:
        field = torch.from_numpy(32 * native.noise(0, height, width)).expand(len(x), 1, -1, -1)
    else:
        generator = torch.Generator().manual_seed(seed)
        field = torch.randn(len(x), 1, height, width, generator=generator) * math.sqrt(4 / 3)
    return functional.pixel_unshuffle(field, side).to(x)


def full_precision(x: Tensor) -> torch.autocast:
    """A context without autocast on the device of a tensor; shapes without storage count as on the processor."""
    return torch.autocast("cuda" if x.is_cuda else "cpu", enabled=False)


def _with_gain(x: Tensor, gain: nn.Module, rate: Tensor | None) -> Tensor:
    return gain(x, rate) if isinstance(gain, RateGain) else x


def analysis(architecture: Architecture) -> Transform:
    """From pixels of shape (B, 3, 16 h, 16 w), centred on 0, to latents (B, M, h, w)."""
    latents = architecture.latents
    linear = None
    if architecture.transform == "gdn":
        (n,) = architecture.channels
        widths = [n, n, n, latents]
        convolutions = [_down(inputs, outputs) for inputs, outputs in zip([3, n, n, n], widths, strict=True)]
        stages: list[nn.Module] = [nn.Sequential(layer, GDN(n)) for layer in convolutions[:3]]
        stages.append(convolutions[3])
    elif architecture.transform == "hific":
        widths = _doubling(architecture)
        first = nn.Sequential(nn.Conv2d(3, widths[0], 7, padding=3), ChannelNorm(widths[0]), nn.ReLU())
        stages = [first, *(_halving(inputs, outputs) for inputs, outputs in pairwise(widths))]
        stages.append(nn.Conv2d(widths[-1], latents, 3, padding=1))
        widths = [*widths, latents]
    else:
        fine, middle = architecture.channels
        widths = [0, fine, middle, latents]
        stages = [
            nn.Identity(),
            nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, fine, 3, padding=1), Bottleneck(fine), Bottleneck(fine)),
            nn.Sequential(
                nn.Conv2d(fine, middle, 4, stride=2, padding=1),
                Bottleneck(middle),
                Bottleneck(middle),
                Bottleneck(middle),
            ),
            nn.Sequential(
                nn.Conv2d(middle, latents, 4, stride=2, padding=1),
                Bottleneck(latents),
                Bottleneck(latents),
                _zeroed(nn.Conv2d(latents, latents, 1)),
            ),
        ]
        linear = nn.Conv2d(3, latents, LATENT_STRIDE, stride=LATENT_STRIDE, bias=False)
        linear.weight.data.copy_(_cosine_basis(latents) * _BASIS_GAIN)
        linear.requires_grad_(False)  # Adam's steps, the same for all weights, would be noise for the smallest of them
    return Transform(stages, [width * architecture.conditioned for width in widths], linear)


def synthesis(architecture: Architecture) -> Transform:
    """From latents of shape (B, M, h, w) to pixels (B, 3, 16 h, 16 w), centred on 0."""
    latents, heard = architecture.latents, architecture.noise**2
    linear = None
    stages: list[nn.Module]
    if architecture.transform == "gdn":
        (n,) = architecture.channels
        widths = [n, n, n, 0]
        stages = [nn.Sequential(_up(inputs, n), GDN(n, inverse=True)) for inputs in (latents, n, n + heard)]
        stages.append(PixelSynthesis(n, 3, 5, stride=2, padding=2, output_padding=1))
    elif architecture.transform == "hific":
        rising = _doubling(architecture)[::-1]
        stages = [_Trunk(latents, rising[0], architecture.blocks)]
        stages += [_doubled(inputs, outputs) for inputs, outputs in pairwise(rising[:-1])]
        stages.append(_doubled(rising[-2] + heard, rising[-1]))
        stages.append(nn.Conv2d(rising[-1], 3, 7, padding=3))
        widths = [*rising, 0]
    else:
        fine, middle = architecture.channels
        widths = [latents, latents, middle, fine, 0]
        stages = [
            nn.Identity(),
            nn.Sequential(nn.Conv2d(latents, latents, 1), Bottleneck(latents), Bottleneck(latents)),
            nn.Sequential(
                nn.ConvTranspose2d(latents, middle, 4, stride=2, padding=1),
                Bottleneck(middle),
                Bottleneck(middle),
                Bottleneck(middle),
            ),
            nn.Sequential(
                nn.ConvTranspose2d(middle + heard, fine, 4, stride=2, padding=1), Bottleneck(fine), Bottleneck(fine)
            ),
            nn.Sequential(_zeroed(nn.Conv2d(fine, 48, 3, padding=1)), nn.PixelShuffle(4)),
        ]
        linear = BlockSynthesis(latents, 3, LATENT_STRIDE, stride=LATENT_STRIDE, bias=False)
        linear.weight.data.copy_(_cosine_basis(latents) / _BASIS_GAIN)
        linear.requires_grad_(False)
    return Transform(stages, [width * architecture.conditioned for width in widths], linear, architecture.noise)


def hears_noise(key: str, network: Transform) -> bool:
    """Whether the tensor of that name weighs common randomness, behind its other inputs in dimension 0."""
    return bool(network.noise) and key == f"stages.{len(network.stages) - 2}.0.weight"


def hyper_analysis(architecture: Architecture) -> nn.Sequential:
    """From latents (B, M, 4 h, 4 w) to hyper-latents (B, C, h, w); "scale" models give it absolute values."""
    latents, hyper = architecture.latents, architecture.hyper
    first = sees_latents(nn.Conv2d(latents, hyper, 3, padding=1), architecture)
    return nn.Sequential(first, nn.ReLU(), _down(hyper, hyper), nn.ReLU(), _down(hyper, hyper))


def sees_latents(layer: nn.Conv2d, architecture: Architecture) -> nn.Conv2d:
    """The layer with initial weights as if all its inputs, the first latents, had the same scale."""
    layer.weight.data /= torch.exp2(usual_log_scales(architecture)[: layer.in_channels])[:, None, None] * UNIT
    return layer


def hyper_synthesis(architecture: Architecture) -> nn.Sequential:
    """From hyper-latents (B, C, h, w) to features (B, F, 4 h, 4 w), see `feature_channels`.

    Conditioned networks have one more input channel, the place of the rate from 0 to 1. Decoders evaluate this network
    with integers (`integers`), so it has only layers that exist there.
    """
    latents, hyper, outputs = architecture.latents, architecture.hyper, feature_channels(architecture)
    inputs = hyper + architecture.conditioned
    if architecture.entropy == "scale":
        last: list[nn.Module] = [_up(hyper, hyper), nn.ReLU(), nn.Conv2d(hyper, outputs, 3, padding=1)]
        return nn.Sequential(_up(inputs, hyper), nn.ReLU(), *last)
    if architecture.entropy == "channelwise":
        width = outputs // 4 * 3
        return nn.Sequential(
            nn.Conv2d(inputs, 4 * width, 3, padding=1),
            nn.PixelShuffle(2),
            nn.ReLU(),
            nn.Conv2d(width, 4 * width, 3, padding=1),
            nn.PixelShuffle(2),
            nn.ReLU(),
            nn.Conv2d(width, outputs, 1),
            nn.ReLU(),
        )
    if architecture.transform == "hific":  # one network for scales and one for means, side by side
        return nn.Sequential(
            *(_up(inputs, 2 * hyper), nn.ReLU(), _up(2 * hyper, 2 * hyper, groups=2), nn.ReLU()),
            nn.Conv2d(2 * hyper, outputs, 3, padding=1, groups=2),
        )
    middle = 3 * latents // 2
    return nn.Sequential(
        _up(inputs, latents), nn.ReLU(), _up(latents, middle), nn.ReLU(), nn.Conv2d(middle, outputs, 3, padding=1)
    )


def _doubling(architecture: Architecture) -> list[int]:
    """Widths of a "hific" transform at strides 1, 2, 4, 8 and 16."""
    (width,) = architecture.channels
    return [width << k for k in range(5)]


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), ChannelNorm(outputs), nn.ReLU())


def _doubled(inputs: int, outputs: int) -> nn.Sequential:
    layer = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(layer, ChannelNorm(outputs), nn.ReLU())


class _Trunk(nn.Module):
    """HiFiC's generator at stride 16: residual blocks of two convolutions, and a connection around all of them."""

    def __init__(self, latents: int, width: int, blocks: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(ChannelNorm(latents), nn.Conv2d(latents, width, 3, padding=1), ChannelNorm(width))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                *(nn.Conv2d(width, width, 3, padding=1), ChannelNorm(width), nn.ReLU()),
                *(nn.Conv2d(width, width, 3, padding=1), ChannelNorm(width)),
            )
            for _ in range(blocks)
        )

    def forward(self, latents: Tensor) -> Tensor:
        x = first = self.enter(latents)
        for block in self.blocks:
            x = x + block(x)
        return x + first


def feature_channels(architecture: Architecture) -> int:
    """Channels of what the hyper-synthesis gives: parameters of the latents, or features for a context model."""
    return {"scale": 1, "mean-scale": 2, "autoregressive": 2}.get(architecture.entropy, 0) * architecture.latents or 128


def _zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer without effect."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def usual_log_scales(architecture: Architecture) -> Tensor:
    """Base-2 logarithms of what the latents' scales, in steps of 1, are when training begins, of shape (M,)."""
    if architecture.transform != "residual":
        return torch.zeros(architecture.latents)
    variance = _cosine_variances().sort(descending=True, stable=True).values[: architecture.latents]
    return _LOG_SCALE + 0.5 * torch.log2(variance)


def _cosine_variances() -> Tensor:
    """Variances in photographs of the functions of the cosine transform, a power of the frequency, of shape (768,)."""
    order = torch.arange(LATENT_STRIDE, dtype=torch.float32) ** 2
    falling = (1 + order[:, None] + order) ** _FALL
    falling[0, 0] = _MEAN_VARIANCE
    return (torch.tensor(_COLOUR_VARIANCES)[:, None, None] * falling).flatten()


def _cosine_basis(count: int) -> Tensor:
    """The first functions of the cosine transform of 16x16 blocks in luma and colour differences, (count, 3, 16, 16).

    They are orthonormal, in falling order of variance.
    """
    side = LATENT_STRIDE
    place = (torch.arange(side) + 0.5) * math.pi / side
    waves = torch.cos(torch.arange(side)[:, None] * place) * math.sqrt(2 / side)
    waves[0] *= math.sqrt(0.5)
    colours = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 2.0, -1.0]])
    colours = colours / colours.norm(dim=1, keepdim=True)
    chosen = _cosine_variances().argsort(descending=True, stable=True)[:count]
    colour, row, column = chosen // side**2, chosen // side % side, chosen % side
    return torch.einsum("nc,ny,nx->ncyx", colours[colour], waves[row], waves[column])
