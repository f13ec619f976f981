"""A pyramid of discriminators of patches, and distances of what they see (Wang et al. 2018, arXiv 1711.11585).

The discriminator of pix2pixHD, as Agustsson et al. 2019 (arXiv 1804.02958) use it: the same network at several scales,
each with weights of its own, with the least-squares objective and the matching of its features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from aquatint.training.adversarial import losses
from aquatint.training.adversarial.discriminator import SLOPE

# For each scale the activations of its layers, from the first one to the logits.
Activations = Sequence[Sequence[Tensor]]


class MultiScale(nn.Module):
    """Discriminators at full, half, quarter, ... resolution.

    Arguments:
        labels: classes of the labels that pictures are judged with, 0 for pictures alone.
        width: channels of the first convolution; 64 in the paper, where one scale has 2.76 million parameters.
        scales: how many.
    """

    def __init__(self, labels: int = 0, *, width: int = 64, scales: int = 3) -> None:
        super().__init__()
        self.nets = nn.ModuleList(_layers(3 + labels, width) for _ in range(scales))

    def forward(self, pixels: Tensor, labels: Tensor | None) -> Activations:
        """What the discriminators make of pixels (B, 3, H, W) in [0, 1] and labels (B, K, H, W), one-hot or None."""
        x = 2 * pixels - 1
        if labels is not None:
            x = torch.cat([x, labels.to(x.dtype)], 1)
        found = []
        for k, net in enumerate(self.nets):
            if k:
                x = functional.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            activations = [x]
            for layer in net:  # type: ignore[union-attr]
                activations.append(layer(activations[-1]))
            found.append([activation.float() for activation in activations[1:]])
        return found


def generator_loss(fake: Activations) -> Tensor:
    """The sum over scales of (D(fake) - 1)^2."""
    return torch.stack([losses.least_squares_generator(scale[-1]) for scale in fake]).sum()


def discriminator_loss(real: Activations, fake: Activations) -> Tensor:
    """Half the sum over scales of (D(real) - 1)^2 + D(fake)^2."""
    pairs = zip(real, fake, strict=True)
    return torch.stack([losses.least_squares_discriminator(a[-1], b[-1]) for a, b in pairs]).sum() / 2


def feature_matching(real: Activations, fake: Activations) -> Tensor:
    """Mean over scales of the sum over layers, but for the last, of mean absolute differences; real ones stay."""
    distances = [
        (a.detach() - b).abs().mean()
        for real_scale, fake_scale in zip(real, fake, strict=True)
        for a, b in zip(real_scale[:-1], fake_scale[:-1], strict=True)
    ]
    return torch.stack(distances).sum() / len(real)


def _layers(inputs: int, width: int) -> nn.ModuleList:
    """Five convolutions of 4x4, three of them of stride 2, with instance normalisation in the middle."""
    layers = [nn.Sequential(nn.Conv2d(inputs, width, 4, stride=2, padding=2), nn.LeakyReLU(SLOPE))]
    for k, stride in enumerate((2, 2, 1)):
        convolution = nn.Conv2d(width << k, width << k + 1, 4, stride=stride, padding=2)
        layers.append(nn.Sequential(convolution, nn.InstanceNorm2d(width << k + 1), nn.LeakyReLU(SLOPE)))
    layers.append(nn.Sequential(nn.Conv2d(width << 3, 1, 4, padding=2)))
    for layer in layers:
        nn.init.normal_(layer[0].weight, 0.0, 0.02)  # type: ignore[arg-type]
    return nn.ModuleList(layers)
