"""How far decoded residuals move from the middle of their bin towards its centroid (Kamisli et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aquatint.codecs.hyperprior.priors import LEAST_SCALE

_FLAT_SCALE = 8.0  # in steps: from here on a density is flat in a bin, and its centroid in the middle


class LearnedOffset(nn.Module):
    """A small network of the residual's scale and the gain, the same for all channels and rates: 205 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 1))
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.layers[-1].bias)  # type: ignore[arg-type]

    def forward(self, residuals: Tensor, log_scale: Tensor, step: Tensor) -> Tensor:
        """Offsets of residuals other than 0.

        Arguments:
            residuals: integers of shape (B, C, H, W).
            log_scale: base-2 logarithm of their scales in steps, of the same shape.
            step: quantisation steps, of shape (B,).
        """
        scale = torch.exp2(log_scale).clamp(LEAST_SCALE, _FLAT_SCALE)
        gain = (1 / step)[:, None, None, None].expand_as(scale)
        # Beyond half a step would be another bin.
        return self.layers(torch.stack([scale, gain], dim=-1)).squeeze(-1).clamp(-0.5, 0.5)


class CentroidOffset(nn.Module):
    """The distance from a bin's middle to its centroid under the Gaussian, in closed form; no parameters.

    With q the residual's magnitude and s its scale, it is
    q - s (phi((q - 1/2) / s) - phi((q + 1/2) / s)) / (Phi((q + 1/2) / s) - Phi((q - 1/2) / s)).
    """

    def forward(self, residuals: Tensor, log_scale: Tensor, step: Tensor) -> Tensor:
        """Offsets; the arguments are those of `LearnedOffset.forward`."""
        scale = torch.exp2(log_scale).clamp(min=LEAST_SCALE)
        magnitude = residuals.abs()
        near, far = (magnitude - 0.5) / scale, (magnitude + 0.5) / scale
        density = torch.exp(-0.5 * near**2) * -torch.expm1(-magnitude / scale**2) * (2 * torch.pi) ** -0.5
        mass = torch.special.ndtr(-near) - torch.special.ndtr(-far)
        centroid = scale * density / mass.clamp(min=torch.finfo(scale.dtype).tiny)
        # Far out in the tail both underflow; the mass of a bin is then at its near edge.
        return torch.where(mass > 1e-30, magnitude - centroid, 0.5)


def reconstruct(residuals: Tensor, log_scale: Tensor, step: Tensor, offset: nn.Module | None) -> Tensor:
    """Residuals moved towards zero by the offset; those that are 0 stay.

    The arguments are those of `LearnedOffset.forward`, and the offset, or None for the middle of the bin.
    """
    if offset is None:
        return residuals
    return residuals - torch.sign(residuals.detach()) * offset(residuals.detach(), log_scale.detach(), step)
