"""A discriminator of patches: which part of the picture is real (Mentzer et al. 2020, arXiv 2006.09965, appendix A)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from aquatint.errors import UsageError
from aquatint.training.adversarial import losses
from aquatint.training.adversarial.discriminator import SLOPE, Condition

_CONDITION = 12  # channels of latents
_LOSSES = {
    "non-saturating": (losses.non_saturating_generator, losses.non_saturating_discriminator),
    "least-squares": (losses.least_squares_generator, losses.least_squares_discriminator),
}


class PatchGAN(nn.Module):
    """Five convolutions of 4x4 with spectral normalisation; a logit sees 70x70 pixels.

    Arguments:
        latents: channels of the latents that it is conditioned on, 0 for none.
        width: channels of the first convolution; 64 in the paper, where it has 2.8 million parameters.
        loss: "non-saturating", as in HiFiC; or "least-squares".

    Raises:
        UsageError: there is no such loss.
    """

    paired = True
    sides = 8

    def __init__(self, latents: int, *, width: int = 64, loss: str = "non-saturating") -> None:
        super().__init__()
        if loss not in _LOSSES:
            raise UsageError(f"the loss {loss!r} is not one of {', '.join(_LOSSES)}")
        self.condition = Condition(latents, _CONDITION)
        if self.condition.layer is not None:
            spectral_norm(self.condition.layer)
        widths = [self.condition.channels, width, 2 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = []
        for index, (inputs, outputs) in enumerate(pairwise(widths)):
            stride = 2 if index < 3 else 1
            layers += [spectral_norm(nn.Conv2d(inputs, outputs, 4, stride, padding=1)), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(widths[-1], 1, 4, padding=1)))
        self._generator_loss, self._discriminator_loss = _LOSSES[loss]

    def forward(self, pixels: Tensor, latents: Tensor | None) -> Tensor:
        return self.layers(self.condition(pixels, latents))

    def generator_loss(self, fake: Tensor, labels: Tensor | None) -> Tensor:
        return self._generator_loss(fake)

    def discriminator_loss(self, real: Tensor, fake: Tensor, labels: Tensor | None) -> Tensor:
        return self._discriminator_loss(real, fake)
