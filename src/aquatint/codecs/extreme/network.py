"""A network of the extreme codec, as it is trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from aquatint.codecs.extreme import transforms
from aquatint.codecs.extreme.architecture import Extreme
from aquatint.codecs.extreme.context import Context
from aquatint.codecs.extreme.quantiser import quantised


@dataclass(frozen=True)
class Labels:
    """What selective compression knows of a batch besides its pixels.

    Attributes:
        maps: one-hot, of shape (B, K, H / s, W / s).
        features: what the label encoder makes of them.
    """

    maps: Tensor
    features: Tensor


class Network(nn.Module):
    """Encoder, five levels, context model and generator; for selective compression an encoder of labels as well.

    Arguments:
        architecture: its parts.
    """

    def __init__(self, architecture: Extreme) -> None:
        super().__init__()
        self.architecture = architecture
        self.encoder = transforms.encoder(architecture)
        self.generator = transforms.generator(architecture)
        self.label_encoder = transforms.label_encoder(architecture) if architecture.selective else None
        self.context = Context(architecture.channels[-1], architecture.hidden)

    def labels(self, classes: Tensor) -> Labels:
        """What is known of maps of labels, integers (B, H / s, W / s) below the number of classes."""
        assert self.label_encoder is not None
        one_hot = functional.one_hot(classes.long(), len(self.architecture.classes)).movedim(3, 1)
        maps = one_hot.float()
        return Labels(maps, self.label_encoder(maps))

    def latents(self, pixels: Tensor, labels: Labels | None = None) -> Tensor:
        """Latents (B, C, h, w), not quantised, of pixels (B, 3, H, W) in [0, 1] with sides that 16 divides."""
        maps, features = (None, None) if labels is None else (labels.maps, labels.features)
        return self.encoder(pixels, maps, features)

    def symbols(self, latents: Tensor, mask: Tensor) -> Tensor:
        """The nearest levels where the mask is 1, and 0 elsewhere, with the gradient of a soft choice.

        Arguments:
            latents: of shape (B, C, h, w).
            mask: of a shape that broadcasts to that: 1 for what is coded.
        """
        return quantised(latents) * mask

    def pixels(self, symbols: Tensor, labels: Labels | None = None, mask: Tensor | None = None) -> Tensor:
        """Pixels (B, 3, H, W), not clipped, of symbols (B, C, h, w).

        Arguments:
            labels, mask: for selective compression: what is known of labels, and what was preserved, (B, 1, h, w).
        """
        if labels is not None:
            assert mask is not None
            preserved = feathered(mask)
            symbols = torch.cat([symbols * preserved, preserved], 1)
        return self.generator(symbols, None if labels is None else labels.features).float() + 0.5


def feathered(mask: Tensor) -> Tensor:
    """A mask (B, 1, h, w) that falls from 1 to 0 over two places around its edge, the mean of windows of 3x3.

    It is what the generator and the distortion see, so that a preserved region fades into its surroundings.
    """
    return functional.avg_pool2d(functional.pad(mask, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
