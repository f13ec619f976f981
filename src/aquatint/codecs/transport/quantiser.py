"""The Laguerre quantiser: codes with a potential, from vector quantisation to optimal transport.

A vector z gets the code with the least |z - y_i|^2 - 2 b_i. With b_i = -(rho / 2) ln(p_i / nu), where p_i is how often
the code is used and nu = 1 / N, this minimises E|z - y_i|^2 + rho KL(p || nu): rho = 0 is nearest-neighbour vector
quantisation; rho = inf balanced optimal transport, all codes used alike; and rho = -lambda / ln 2 is
entropy-constrained vector quantisation (Chou, Lookabaugh & Gray 1989), the least distortion + lambda bits. Positive rho
is semi-discrete unbalanced transport (Bourne, Schmitzer & Wirth 2018, arXiv 1808.01962). The potential is the encoder's
affair: a decoder looks codes up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from aquatint.codecs.hyperprior.transforms import full_precision
from aquatint.errors import UsageError

_DECAY = 0.99  # of the codes' running means, as in VQ-VAE (van den Oord et al. 2017, arXiv 1711.00937)
_MEMORY = 0.9  # of gaps
_RATE = 0.05  # of the potential, in gaps: vectors of a picture are alike, and with 0.15 it follows single batches
_MOST_EXCESS = 2.0
_MOST_EXPONENT = 3.0
_HARDLY = 0.1  # of its share: the use of a code that is to be revived
_SPACING = {2: 1.596, 4: 0.996}  # of so many levels, best for a Gaussian, in its deviations (Max 1960, table II)


def points_of(latents: Tensor) -> Tensor:
    """The vectors of latents of shape (B, d, h, w), without gradient, of shape (S, d)."""
    return latents.detach().float().movedim(1, -1).flatten(0, -2)


def nearest(points: Tensor, codes: Tensor, biases: Tensor) -> tuple[Tensor, Tensor]:
    """The code of each point, and by how much its score exceeds that of the second best.

    Arguments:
        points: of shape (S, d).
        codes: of shape (N, d).
        biases: b, of shape (N,).

    Returns:
        Indices and gaps, of shape (S,).
    """
    scores = torch.addmm(biases - codes.square().sum(1) / 2, points, codes.T)
    best, indices = scores.topk(2, dim=1)
    return indices[:, 0], best[:, 0] - best[:, 1]


@dataclass(frozen=True)
class Quantised:
    """Vectors and their codes.

    Attributes:
        vectors: sums of the stages' codes, of the input's shape (B, d, h, w), with its gradient.
        sums: what each number of stages gives, without gradient, of shape (K, B, d, h, w).
        indices: of shape (K, B, h, w).
        distortion: mean of |z - y|^2 after the stages that `vectors` has.
        commitment: the same, with a gradient towards the codes.
    """

    vectors: Tensor
    sums: Tensor
    indices: Tensor
    distortion: Tensor
    commitment: Tensor


class Laguerre(nn.Module):
    """Codebooks in stages, each for what the ones before have left.

    Arguments:
        stages, codes, dimensions: K, N and d.

    Attributes:
        codes: of shape (K, N, d).
        biases: the potential, of shape (K, N).
        distortions: running means of |z - y|^2 after 0 to K stages, of shape (K + 1,).
    """

    codes: Tensor
    biases: Tensor
    distortions: Tensor
    gaps: Tensor
    usage: Tensor
    sums: Tensor
    started: Tensor

    def __init__(self, stages: int, codes: int, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(stages, codes, dimensions))
        self.register_buffer("biases", torch.zeros(stages, codes))
        self.register_buffer("distortions", torch.zeros(stages + 1))
        self.register_buffer("gaps", torch.ones(stages, codes))
        self.register_buffer("usage", torch.ones(stages, codes) / codes)
        self.register_buffer("sums", torch.zeros(stages, codes, dimensions))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def forward(self, latents: Tensor, stages: Tensor) -> Quantised:
        """Quantises.

        Arguments:
            latents: of shape (B, d, h, w).
            stages: how many each picture has, integers from 1 to K of shape (B,).
        """
        points = latents.detach().float().movedim(1, -1)
        shape = points.shape
        flat = points.reshape(-1, shape[-1])
        sums, indices = [], []
        sum_ = torch.zeros_like(flat)
        for codes, biases in zip(self.codes, self.biases, strict=True):
            with full_precision(flat):
                index, _ = nearest(flat - sum_, codes, biases)
            sum_ = sum_ + codes[index]
            indices.append(index.reshape(shape[:-1]))
            sums.append(sum_.reshape(shape).movedim(-1, 1))
        all_sums = torch.stack(sums)
        chosen = all_sums[stages - 1, torch.arange(len(latents), device=latents.device)]
        commitment = (latents.float() - chosen).square().sum(1).mean()
        vectors = latents + (chosen - latents).detach().to(latents.dtype)
        return Quantised(vectors, all_sums, torch.stack(indices), commitment.detach(), commitment)

    @torch.no_grad()
    def start_as_lattice(self, latents: Tensor) -> None:
        """Puts codes on grids, as in finite scalar quantisation (Mentzer et al. 2024, arXiv 2309.15505).

        Each stage has dimensions of its own, with four levels in each, or two in the last one; those that vary most
        are first.

        Arguments:
            latents: of shape (B, d, h, w).

        Raises:
            UsageError: there are not enough dimensions for all stages.
        """
        stages, count, dimensions = self.codes.shape
        bits = count.bit_length() - 1
        levels = [4] * (bits // 2) + [2] * (bits % 2)
        needed = stages * len(levels)
        if needed > dimensions:
            raise UsageError(f"lattices of {count} codes in {stages} stages need {needed} dimensions, not {dimensions}")
        scales = points_of(latents).std(0)
        order = scales.argsort(descending=True).cpu()
        places = [_SPACING[each] * (torch.arange(each) - (each - 1) / 2) for each in levels]
        grid = torch.cartesian_prod(*places).reshape(count, -1).to(scales.device)
        self.codes.zero_()
        for stage, own in enumerate(order.split(len(levels))[:stages]):
            self.codes[stage][:, own] = grid * scales[own]
        self.started.fill_(True)

    @torch.no_grad()
    def learn(self, latents: Tensor, rho: float, *, revival: int | None = None, moving: bool = True) -> None:
        """Moves potential and codes after a batch.

        The potential takes a step of stochastic ascent of the dual of transport, whose gradient is the excess of each
        code's use over what its potential wants; it stands still where b_i = -(rho / 2) ln(p_i / nu).

        Arguments:
            latents: of shape (B, d, h, w).
            rho: from -inf to inf, see above, in units of the mean |z - y|^2 of each stage.
            revival: if not None, codes that are hardly used move to random vectors of the batch (Dhariwal et al. 2020,
                arXiv 2005.00341), the usual remedy without transport; this is the seed of the choice.
            moving: whether codes move at all.
        """
        with full_precision(latents):
            self._learn(points_of(latents), rho, revival, moving)

    def _learn(self, residual: Tensor, rho: float, revival: int | None, moving: bool) -> None:
        """`learn` from vectors of shape (S, d)."""
        if not self.started:
            self._start(residual)
        left = [residual.square().sum(1).mean()]
        for stage in range(len(self.codes)):
            codes = self.codes[stage]
            index, gaps = nearest(residual, codes, self.biases[stage])
            residual_after = residual - codes[index]
            left.append(residual_after.square().sum(1).mean())
            counts = torch.bincount(index, minlength=len(codes)).float()
            scale = rho if math.isinf(rho) else rho * float(left[-1])
            sums = torch.zeros_like(codes).index_add_(0, index, residual)
            self.usage[stage].lerp_(counts / len(residual), 1 - _DECAY)
            self.sums[stage].lerp_(sums / len(residual), 1 - _DECAY)
            self._balance(stage, counts, torch.zeros_like(counts).index_add_(0, index, gaps), scale)
            used = self.usage[stage][:, None]
            # A code that is hardly used stays where it is: a mean of nothing is not a place.
            if moving:
                means = self.sums[stage] / used.clamp(min=1e-12)
                self.codes[stage] = torch.where(used > 1e-3 / len(codes), means, codes)
            if revival is not None:
                self._revive(stage, residual, revival)
            residual = residual_after
        self.distortions.lerp_(torch.stack(left), 1 - _DECAY)

    def _revive(self, stage: int, points: Tensor, seed: int) -> None:
        """Moves codes of less than a tenth of their share to random points, with the share of the others."""
        count = len(self.usage[stage])
        (unused,) = torch.nonzero(self.usage[stage] < _HARDLY / count, as_tuple=True)
        generator = torch.Generator().manual_seed(seed + stage)
        chosen = points[torch.randint(len(points), unused.shape, generator=generator).to(points.device)]
        self.codes[stage, unused] = chosen
        self.usage[stage, unused] = 1 / count
        self.sums[stage, unused] = chosen / count

    def _start(self, points: Tensor) -> None:
        """Codes at random points of the first batch; those of later stages at their residuals."""
        generator = torch.Generator().manual_seed(0)
        for stage in range(len(self.codes)):
            order = torch.randperm(len(points), generator=generator)
            chosen = points[order[torch.arange(self.codes.shape[1]) % len(points)].to(points.device)]
            # Points of a small batch are taken twice: they part because they are not quite equal.
            noise = torch.randn(chosen.shape, generator=generator).to(chosen.device)
            self.codes[stage] = chosen + 0.01 * points.std() * noise
            self.sums[stage] = self.codes[stage] * self.usage[stage][:, None]
            index, gaps = nearest(points, self.codes[stage], self.biases[stage])
            self.gaps[stage] = gaps.mean()
            points = points - self.codes[stage][index]
        self.started.fill_(True)

    def _balance(self, stage: int, counts: Tensor, gap_sums: Tensor, rho: float) -> None:
        """A step of the potential of one stage, with rho in units of squared distances."""
        count, total = len(counts), counts.sum()
        overall = gap_sums.sum() / total
        self.gaps[stage].lerp_((gap_sums + overall) / (counts + 1), 1 - _MEMORY)
        biases = self.biases[stage]
        if rho == 0:
            biases.zero_()
        elif rho < 0:
            biases.copy_(-(rho / 2) * torch.log(count * self.usage[stage].clamp(min=1e-3 / count)))
        else:
            exponent = torch.zeros_like(biases) if math.isinf(rho) else -2 * biases / max(rho, 1e-12)
            wanted = torch.exp(exponent.clamp(-_MOST_EXPONENT, _MOST_EXPONENT))
            excess = (counts * count / total - wanted).clamp(-_MOST_EXCESS, _MOST_EXCESS)
            biases -= _RATE * self.gaps[stage] * excess
            biases -= biases.mean()
            if math.isfinite(rho):
                biases.clamp_(-2 * rho, 2 * rho)


Upkeep = Literal["annealed", "balanced", "revival", "none", "lattice"]


def schedule(place: float, upkeep: Upkeep = "annealed") -> float:
    """rho, in units of the distortion, at a place in training from 0 to 1.

    Balanced transport spreads the codes; relaxing it gives up the distortion that equal use costs. Finite rho from the
    beginning leaves codes unused.

    Arguments:
        place: from 0 to 1.
        upkeep: of the codes: "annealed", by transport that is relaxed and at last gone; "balanced", by transport to the
            end; with the others there is never any.
    """
    if upkeep != "annealed":
        return math.inf if upkeep == "balanced" else 0.0
    if place < 0.3:
        return math.inf
    if place < 0.6:
        return 4.0 * 0.01 ** ((place - 0.3) / 0.3)
    return 0.0
