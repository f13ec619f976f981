"""What generators and discriminators minimise: functions of logits, each the mean over pictures and places."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

FAKE = 0  # the class of what is not real; label k is class k + 1


def non_saturating_generator(fake: Tensor) -> Tensor:
    """-log D(fake), where D is the sigmoid of logits (Goodfellow et al. 2014, arXiv 1406.2661, section 3)."""
    return functional.softplus(-fake).mean()


def non_saturating_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(real) - log(1 - D(fake)), where D is the sigmoid of logits."""
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


def least_squares_generator(fake: Tensor) -> Tensor:
    """(D(fake) - 1)^2 (Mao et al. 2017, arXiv 1611.04076; Agustsson et al. 2019, arXiv 1804.02958, section 3.1)."""
    return (fake - 1).square().mean()


def least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """(D(real) - 1)^2 + D(fake)^2."""
    return (real - 1).square().mean() + fake.square().mean()


def label_generator(fake: Tensor, labels: Tensor) -> Tensor:
    """The cross-entropy of decoded patches with the labels of their originals (Muckley et al. 2023, equation 9).

    Arguments:
        fake: logits of K + 1 classes, of shape (B, K + 1, h, w).
        labels: of the originals, integers from 0 to K - 1 of shape (B, h, w).
    """
    return functional.cross_entropy(fake.float(), labels + 1)


def label_discriminator(real: Tensor, labels: Tensor, fake: Tensor) -> Tensor:
    """Half the cross-entropy of real patches with their labels plus half that of decoded ones with `FAKE`.

    Muckley et al. 2023 (arXiv 2301.11189), equation 8.

    Arguments:
        real, fake: logits of K + 1 classes, of shape (B, K + 1, h, w); the numbers of pictures may differ.
        labels: of the real pictures, integers from 0 to K - 1 of shape (B, h, w).
    """
    none = torch.full_like(fake[:, 0], FAKE, dtype=torch.long)
    return (label_generator(real, labels) + functional.cross_entropy(fake.float(), none)) / 2
