"""Wasserstein distortion: local statistics of features compared, over windows whose width a map sigma gives.

For a feature map with values f at positions x, level i >= 1 has local means and deviations

    m(n) = sum_x q(x - n) f(x)        v(n)^2 = sum_x q(x - n) f(x)^2 - m(n)^2

in tents q of half-width 2^i, so of width 2^i at half their height, one to each dimension and weighing only positions
that exist. They are taken at nodes n a distance of 2^i / overlap apart. The distance of two images there is

    level 0:  (f - g)^2               level i:  (m_f - m_g)^2 + (v_f - v_g)^2

the squared 2-Wasserstein distance if the values were normally distributed. Where sigma is 2^i in units of the map's
stride, level i counts; between two powers both levels do, linearly in log2 sigma. The distortion is the sum over maps
of the mean over channels and positions, to which places may contribute by an importance that is averaged over the
windows (Qiu et al., arXiv 2310.03629; Balle et al., arXiv 2412.00505; with overlap 2
the levels are those of the code of the latter, whose binomial filters in cascade are these tents).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from aquatint.errors import UsageError
from aquatint.perception.features import Features
from aquatint.perception.maps import resized
from aquatint.perception.sigma import MAX_LEVEL, log2_sigma_of_map

# Added to variances before their root is taken: the root's slope stays below 160. Features are of the order of 1.
VARIANCE_FLOOR = 1e-5


def local_means(x: Tensor, levels: Iterable[int], overlap: int) -> dict[int, Tensor]:
    """The mean of maps (N, C, h, w) in the windows of some levels, 1 or more, at nodes 2^level / overlap apart.

    Nodes begin at the first position; the last one is at or beyond the last position. Tents are summed in cascade: one
    of twice the width is the sum of three, weighted 1/2, 1, 1/2.
    """
    wanted = set(levels)
    weights = torch.ones_like(x[:1, :1])
    means = {}
    for level in range(1, max(wanted, default=0) + 1):
        sums, weights, finer_sums, finer_weights = _widen(x, 2), _widen(weights, 2), x, weights
        if level in wanted:
            means[level] = sums / weights if overlap == 1 else _widen(finer_sums, 1) / _widen(finer_weights, 1)
        x = sums
    return means


def _widen(x: Tensor, step: int) -> Tensor:
    """Sums weighted 1/2, 1, 1/2 down and across, around every sample or, with step 2, every second one."""
    for dim in (-2, -1):
        size = x.shape[dim] if step == 1 else x.shape[dim] // 2 + 1
        after = step * (size - 1) + 2 - x.shape[dim]
        x = F.pad(x, (1, after) if dim == -1 else (0, 0, 1, after))
        before, centre, behind = (x.narrow(dim, k, x.shape[dim] - 2) for k in range(3))
        x = before / 2 + centre + behind / 2
        if step == 2:
            x = x[..., ::2] if dim == -1 else x[..., ::2, :]
    return x


class _Reference:
    """Of one map of the reference: its values, the weights of the levels that count, and their statistics."""

    def __init__(self, values: Tensor, log2_sigma: Tensor, importance: Tensor, overlap: int) -> None:
        # Statistics are of values less the channel's mean, which changes no distance and saves their precision.
        self.centre = values.mean((2, 3), keepdim=True)
        self.overlap = overlap
        grids = {level - (overlap == 2): level for level in range(1, MAX_LEVEL + 1)}
        maps = torch.cat([log2_sigma, importance], 1)
        pooled = local_means(maps, (grid for grid in grids if grid > 0), 1)
        weights = {}
        for level, means in ({0: maps} | {level: pooled.get(grid, maps) for grid, level in grids.items()}).items():
            sigma, counts = means.split(1, 1)
            weights[level] = counts * F.relu(1 - (sigma - level).abs())
        self.weights = {level: weight for level, weight in weights.items() if (weight > 0).any()}
        values = values - self.centre
        self.statistics = _statistics(values, self.weights, overlap)
        self.values = values if 0 in self.weights else None  # kept where they are compared one by one: maps are large

    def distance(self, values: Tensor) -> Tensor:
        """The distortion (N,) of a map's values (N, C, h, w)."""
        values = values - self.centre
        statistics = _statistics(values, self.weights, self.overlap)
        total = values.new_zeros(len(values))
        for level, weight in self.weights.items():
            if self.values is not None and level == 0:
                squares = (values - self.values).square()
            else:
                (mean, deviation), (other_mean, other_deviation) = statistics[level], self.statistics[level]
                squares = (mean - other_mean).square() + (deviation - other_deviation).square()
            total = total + (weight * squares).mean((1, 2, 3))
        return total


def _statistics(values: Tensor, levels: Iterable[int], overlap: int) -> dict[int, tuple[Tensor, Tensor]]:
    moments = local_means(torch.cat([values, values.square()], 1), (level for level in levels if level > 0), overlap)
    statistics = {}
    for level, moment in moments.items():
        mean, square = moment.chunk(2, 1)
        variance = square - mean.square()
        # Rounding may make it negative: the value is then that of zero, but the gradient passes.
        variance = variance + (F.relu(variance) - variance).detach()
        statistics[level] = mean, (variance + VARIANCE_FLOOR).sqrt()
    return statistics


class WassersteinDistortion:
    """The distortion from one reference, or a batch of them, whose features are computed once.

    Args:
        features: a stack of `aquatint.perception.features`.
        reference: float (N, 3, H, W) or (3, H, W) in [0, 1].
        sigma: widths of the windows in pixels, (H, W), 0 to 32; everything up to 1 is pointwise.
        importance: (H, W), 0 or more, by which places count; None for alike.
        overlap: nodes for every width of a window, 1 or 2; 2 as published, 1 for a quarter of the work.

    Raises:
        UsageError: an argument is out of range or of the wrong shape.
    """

    def __init__(
        self,
        features: Features,
        reference: Tensor,
        sigma: np.ndarray,
        *,
        importance: np.ndarray | None = None,
        overlap: int = 2,
    ) -> None:
        if overlap not in (1, 2):
            raise UsageError(f"overlap must be 1 or 2, not {overlap}")
        if reference.ndim not in (3, 4) or reference.shape[-3] != 3 or 0 in reference.shape:
            raise UsageError(f"the reference must be of the shape (N, 3, H, W) or (3, H, W), not {(*reference.shape,)}")
        if importance is None:
            importance = np.ones(reference.shape[-2:], np.float32)
        for name, given in (("sigma", sigma), ("importance", importance)):
            if given.shape != reference.shape[-2:]:
                raise UsageError(f"{name} must be of the shape {(*reference.shape[-2:],)}, not {given.shape}")
        self.features, self.shape = features, reference.shape
        with torch.no_grad():
            self.maps = []
            for values, stride in features(reference.reshape(-1, *reference.shape[-3:])):
                height, width = values.shape[2:]
                log2_sigma = values.new_tensor(log2_sigma_of_map(sigma, stride, (height, width)))
                counts = values.new_tensor(resized(importance, (width, height)))
                self.maps.append(_Reference(values, log2_sigma[None, None], counts[None, None], overlap))

    def distances(self, image: Tensor) -> list[Tensor]:
        """The distortion (N,) of every map, for an image, or a batch of them, of the reference's size."""
        if image.shape[-3:] != self.shape[-3:] or image.ndim not in (3, 4):
            raise UsageError(f"the image must be of the shape {(*self.shape,)}, not {(*image.shape,)}")
        maps = self.features(image.reshape(-1, *image.shape[-3:]))
        return [reference.distance(values) for reference, (values, _) in zip(self.maps, maps, strict=True)]

    def value(self, image: Tensor) -> Tensor:
        """The distortion (N,); a batch of images may share one reference."""
        return torch.stack(self.distances(image)).sum(0)

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The distortion, summed over the batch, and its gradient, of the image's shape."""
        image = image.detach().requires_grad_()
        with torch.enable_grad():
            value = self.value(image).sum()
        (gradient,) = torch.autograd.grad(value, image)
        return value.detach(), gradient
