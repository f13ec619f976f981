"""A labeler: each 8x8 pixels of a photograph become one of K labels, learned by a vector-quantised autoencoder.

Networks after Muckley et al. 2023 (arXiv 2301.11189), section 4.2 and appendix A: convolutions as in VQGAN (Esser et
al. 2021, arXiv 2012.09841) with attention across channels (El-Nouby et al. 2021, arXiv 2106.09681).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from aquatint.codecs.hyperprior.layers import ChannelNorm
from aquatint.codecs.hyperprior.transforms import full_precision

STRIDE = 8  # pixels a label, in each direction
_FACTORS = (1, 2, 2, 4)  # widths at strides 1, 2, 4, 8
_ENCODER_BLOCKS, _DECODER_BLOCKS = 2, 3  # at each stride
_CODE = 8  # dimensions of a code: few, so that codes are used (Yu et al. 2022, arXiv 2110.04627, section 3.2)
_SHARPNESS = 20.0  # of the soft choice of codes whose evenness is measured: cosines of neighbours differ by about 0.1


@dataclass(frozen=True)
class Quantised:
    """What became of features.

    Attributes:
        features: of the decoder, with the gradient of the encoder's, (B, C, h, w).
        labels: integers from 0 to K - 1, (B, h, w).
        commitment: mean squared distance of features from their codes, which moves features.
        movement: the same, which moves codes.
        unevenness: how far the batch's soft use of codes is from an even one, in nats; 0 to log K.
    """

    features: Tensor
    labels: Tensor
    commitment: Tensor
    movement: Tensor
    unevenness: Tensor


class Quantiser(nn.Module):
    """The nearest code by its angle.

    Codes that start where no features are would never be chosen. Features are therefore whitened by the statistics of
    batches before they are projected onto the sphere, and codes start evenly spread over it.

    Arguments:
        channels: C of features.
        codes: K.
    """

    def __init__(self, channels: int, codes: int) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.randn(codes, _CODE))
        self.enter = nn.Conv2d(channels, _CODE, 1)
        self.whiten = nn.BatchNorm2d(_CODE, affine=False)
        self.leave = nn.Conv2d(_CODE, channels, 1)

    def directions(self) -> Tensor:
        """The codes as they are compared, of length 1: (K, 8)."""
        return functional.normalize(self.codes, dim=1)

    def forward(self, features: Tensor) -> Quantised:
        """Quantises features (B, C, h, w); in full precision, for the cosines of neighbours differ little."""
        with full_precision(features):
            return self._quantised(features.float())

    def _quantised(self, features: Tensor) -> Quantised:
        found = functional.normalize(self.whiten(self.enter(features)), dim=1)
        codes = self.directions()
        cosines = torch.einsum("bdhw,kd->bkhw", found, codes)
        labels = cosines.argmax(1)
        chosen = codes[labels].movedim(3, 1)
        use = torch.softmax(_SHARPNESS * cosines, 1).mean((0, 2, 3))
        passed = found + (chosen - found).detach()
        return Quantised(
            features=self.leave(passed),
            labels=labels,
            commitment=(found - chosen.detach()).square().sum(1).mean(),
            movement=(chosen - found.detach()).square().sum(1).mean(),
            unevenness=(use * torch.log(use * len(codes))).sum(),
        )


class Labeler(nn.Module):
    """Encoder, quantiser and decoder; only the first two are needed for labels.

    Labels depend on the whole picture, because attention sees all of it.

    Arguments:
        width: channels at stride 1; 64 in the paper, where the encoder has 7.4 million parameters.
        codes: K.
    """

    def __init__(self, width: int = 64, codes: int = 1024) -> None:
        super().__init__()
        widths = [width * factor for factor in _FACTORS]
        last = widths[-1]
        down: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1)]
        before = width
        for level, channels in enumerate(widths):
            if level:
                down += [_Down(before)]
            for _ in range(_ENCODER_BLOCKS):
                down += [_Residual(before, channels)]
                before = channels
                if level == len(widths) - 1:
                    down += [_ChannelAttention(channels)]
        self.encoder = nn.Sequential(*down, *_middle(last), *_ending(last, last))
        up: list[nn.Module] = [nn.Conv2d(last, last, 3, padding=1), *_middle(last)]
        before = last
        for level, channels in reversed(list(enumerate(widths))):
            for _ in range(_DECODER_BLOCKS):
                up += [_Residual(before, channels)]
                before = channels
                if level == len(widths) - 1:
                    up += [_ChannelAttention(channels)]
            if level:
                up += [nn.Upsample(scale_factor=2), nn.Conv2d(channels, channels, 3, padding=1)]
        self.decoder = nn.Sequential(*up, *_ending(width, 3))
        self.quantiser = Quantiser(last, codes)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Quantised]:
        """Pixels (B, 3, H, W) in [0, 1] again, and what became of them in between; sides are multiples of 8."""
        quantised = self.quantiser(self.encoder(2 * pixels - 1))
        return (self.decoder(quantised.features) + 1) / 2, quantised

    @torch.no_grad()
    def labels(self, pixels: Tensor) -> Tensor:
        """Labels (B, H / 8, W / 8) of pixels (B, 3, H, W) in [0, 1]; the labeler must be in evaluation mode."""
        return self.quantiser(self.encoder(2 * pixels - 1)).labels

    @torch.no_grad()
    def picture(self, labels: Tensor) -> Tensor:
        """Labels (B, h, w) as colours (B, 3, 8 h, 8 w) in [0, 1]; codes that are alike have similar ones."""
        codes = self.quantiser.directions()
        axes = torch.linalg.svd(codes - codes.mean(0), full_matrices=False).Vh[:3]
        colours = torch.sigmoid(4 * codes @ axes.T)
        return colours[labels].movedim(3, 1).repeat_interleave(STRIDE, 2).repeat_interleave(STRIDE, 3)


def usage(labels: Tensor, codes: int) -> tuple[float, float]:
    """How many of the codes labels use, and how many they would use at this entropy if all were as frequent.

    The latter, the perplexity, is the exponential of the entropy of the labels' frequencies.
    """
    frequencies = torch.bincount(labels.flatten(), minlength=codes) / labels.numel()
    return int((frequencies > 0).sum()), float(torch.exp(torch.special.entr(frequencies).sum()))


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(ChannelNorm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1)),
            *(ChannelNorm(outputs), nn.SiLU(), nn.Conv2d(outputs, outputs, 3, padding=1)),
        )
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.layers(x)


class _ChannelAttention(nn.Module):
    """Attention of channels to each other, whose cost is linear in the number of pixels, with one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.enter = nn.Conv2d(channels, 3 * channels, 1)
        self.leave = nn.Conv2d(channels, channels, 1)
        self.sharpness = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.enter(self.norm(x)).flatten(2).chunk(3, 1)
        similarity = functional.normalize(query, dim=2) @ functional.normalize(key, dim=2).transpose(1, 2)
        seen = torch.softmax(self.sharpness * similarity, 2) @ value
        return x + self.leave(seen.view_as(x))


class _Down(nn.Module):
    """Half the size; the picture is extended to the right and below alone, so that halves lie over their pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(functional.pad(x, (0, 1, 0, 1)))


def _middle(channels: int) -> list[nn.Module]:
    return [_Residual(channels, channels), _ChannelAttention(channels), _Residual(channels, channels)]


def _ending(inputs: int, outputs: int) -> list[nn.Module]:
    return [ChannelNorm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1)]
