"""A discriminator of labels: which kind of real patch is this, or none (Muckley et al. 2023, arXiv 2301.11189)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from aquatint.training.adversarial import losses
from aquatint.training.adversarial.discriminator import SLOPE, Condition

_CONDITION = 16  # channels of latents
_DOWN, _UP = (1, 1, 2, 2, 4, 4), (4, 2, 0.5)  # widths of levels as multiples of the first


class _Level(nn.Module):
    """Two convolutions and a shortcut, with the size halved after them or doubled before.

    The activation comes before both branches: in the released code it is in place, so that the shortcut sees it too.
    """

    def __init__(self, inputs: int, outputs: int, *, up: bool = False, activated: bool = True) -> None:
        super().__init__()
        self.up, self.activated = up, activated
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.activated:
            x = functional.leaky_relu(x, SLOPE)
        if self.up:
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
        x = self.second(functional.leaky_relu(self.first(x), SLOPE)) + self.shortcut(x)
        return x if self.up else functional.avg_pool2d(x, 2)


class LabelUNet(nn.Module):
    """Six levels down and three up, without normalisation and without connections across; a logit for 8x8 pixels.

    Arguments:
        latents: channels of the latents that it is conditioned on, 0 for none.
        labels: K, the number of labels of real patches; class 0 is "fake".
        width: channels of the first level; 128 in the paper, where it has 17.9 million parameters.
    """

    paired = False
    sides = 64

    def __init__(self, latents: int, labels: int, *, width: int = 128) -> None:
        super().__init__()
        self.condition = Condition(latents, _CONDITION)
        down = [self.condition.channels, *(width * factor for factor in _DOWN)]
        up = [down[-1], *(int(width * factor) for factor in _UP)]
        self.levels = nn.Sequential(
            *(_Level(*widths, activated=k > 0) for k, widths in enumerate(pairwise(down))),
            *(_Level(*widths, up=True) for widths in pairwise(up)),
            nn.Conv2d(up[-1], labels + 1, 1),
        )

    def forward(self, pixels: Tensor, latents: Tensor | None) -> Tensor:
        return self.levels(self.condition(pixels, latents))

    def generator_loss(self, fake: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return losses.label_generator(fake, labels)

    def discriminator_loss(self, real: Tensor, fake: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return losses.label_discriminator(real, labels, fake)
