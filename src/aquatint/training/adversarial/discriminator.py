"""What a training knows of a discriminator, and how discriminators see what was transmitted."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2  # of the negative side of leaky ReLUs, in both discriminators' papers


class Discriminator(Protocol):
    """A module that judges pictures, and the losses of both sides.

    Attributes:
        paired: real pictures are the originals of the decoded ones, so that each latent is seen with both; otherwise
            they are others, with latents of their own.
        sides: those of pictures must be multiples of this, in pixels.
    """

    paired: bool
    sides: int

    def __call__(self, pixels: Tensor, latents: Tensor | None) -> Tensor:
        """Logits of patches, of shape (B, K, h, w).

        Arguments:
            pixels: of shape (B, 3, H, W) in [0, 1].
            latents: decoded latents of these very pictures, of shape (B, M, H / 16, W / 16), about 1 in size; None if
                the discriminator is not conditional. No gradient goes back to them.
        """
        ...

    def generator_loss(self, fake: Tensor, labels: Tensor | None) -> Tensor:
        """What the generator minimises: of logits of decoded pictures, and labels of their originals."""
        ...

    def discriminator_loss(self, real: Tensor, fake: Tensor, labels: Tensor | None) -> Tensor:
        """What the discriminator minimises: of logits of real and decoded pictures, and labels of the real ones."""
        ...


class Condition(nn.Module):
    """Puts what was transmitted beside the pixels: a few channels of latents, as large as the picture.

    Arguments:
        latents: channels of the latents; 0 for pixels alone.
        width: channels that they become.
    """

    def __init__(self, latents: int, width: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(latents, width, 3, padding=1) if latents else None
        self.channels = 3 + (width if latents else 0)

    def forward(self, pixels: Tensor, latents: Tensor | None) -> Tensor:
        """Pixels (B, 3, H, W), from [0, 1] to [-1, 1], and channels of the latents of these pictures."""
        centred = 2 * pixels - 1
        if self.layer is None:
            return centred
        if latents is None or len(latents) != len(pixels):
            found = "none" if latents is None else len(latents)
            raise ValueError(f"each of {len(pixels)} pictures needs its own latents, not {found}")
        seen = functional.leaky_relu(self.layer(latents.detach()), SLOPE)
        return torch.cat([centred, functional.interpolate(seen, size=pixels.shape[2:], mode="nearest")], 1)
