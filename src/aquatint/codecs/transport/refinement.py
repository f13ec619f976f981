"""Indices chosen again by what the synthesis makes of them.

The nearest codes are best for latents, not for pixels: what the synthesis paints at neighbouring places overlaps, and
their errors add up. Near decoded latents y the squared error of all pixels is about

    E(y + d) = E(y) + g . d + c |d|^2,

with its gradient g and one curvature c for all places, so a place is best off with the codes whose sum is nearest to
y - g / 2c. Places that are no neighbours may all change at once. Campos et al. ("Content adaptive optimization for
neural image compression", 2019, arXiv 1906.01223) let latents that are rounded follow the gradient; codes are too far
apart for that, and have to be compared one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from aquatint.codecs.transport.coding import (
    NONE,
    Coded,
    coded,
    distances,
    index_costs,
    presence_table,
    sum_of_codes,
    vectors,
)
from aquatint.codecs.transport.model import Model
from aquatint.codecs.turns import turn_costs

_PHASES = (0, 0), (1, 1), (0, 1), (1, 0)  # places of every 2x2 block that change together
_LEAST_BITS = 0.98  # of those that there may be, that have to be used
_ANSWER = 4.0  # power of the bits that were taken, over those wanted, by which a bit's weight grows


class Reviser:
    """Indices as they were, but at some places those with the least |wanted - y|^2 + multiplier times their bits.

    Stage by stage: each one's code is chosen while those of all others stay. The last stage may have none. It is a
    `coding.Choice`.

    Arguments:
        model: whose codes these are.
        indices: of shape (stages, h, w).
        wanted: latents, of shape (d, h, w).
        places: that are looked at again, of shape (h, w).
        multiplier: of a bit.
    """

    def __init__(
        self, model: Model, indices: np.ndarray, wanted: np.ndarray, places: np.ndarray, multiplier: float
    ) -> None:
        self._model, self._indices, self._places, self._multiplier = model, indices, places, multiplier
        self._residual = np.moveaxis(wanted - sum_of_codes(model, indices), 0, -1).copy()
        self.stages = len(indices)
        self.presence = presence_table(int((indices[-1] != NONE).sum()), places.size)

    def __call__(self, stage: int, rows: np.ndarray, columns: np.ndarray, tables: np.ndarray) -> np.ndarray:
        found = self._indices[stage, rows, columns]
        again = self._places[rows, columns]
        rows, columns, codes = rows[again], columns[again], self._model.codes[stage]
        points = self._residual[rows, columns] + vectors(codes, found[again])
        costs = distances(points, codes) + self._multiplier * index_costs(tables[again])
        chosen = costs.argmin(1)
        if stage == self.stages - 1:
            without, with_one = self._multiplier * turn_costs()[self.presence]
            chosen = np.where(costs.min(1) + with_one < without, chosen, NONE)
        found[again] = chosen
        self._residual[rows, columns] = points - vectors(codes, chosen)
        return found


def refined(
    model: Model,
    latents: np.ndarray,
    pixels: np.ndarray,
    start: Coded,
    *,
    multiplier: float,
    most_bits: float,
    rounds: int,
    report: Callable[[bytes], None],
) -> Coded:
    """Indices whose decoded pixels have a smaller squared error, for about as many bits.

    Arguments:
        model: with which all this is coded.
        latents: of the picture, of shape (d, h, w).
        pixels: the picture, float32 of shape (H, W, 3) in [0, 1].
        start: indices to begin with.
        multiplier: of a bit, in the first round; it follows the bits.
        most_bits: of the payload, if `start` has no more.
        rounds: in each of which a quarter of the places is looked at.
        report: called with each payload.

    Returns:
        The best of all, with as many bits as the start or between 98 and 100 % of `most_bits`.
    """
    target = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
    most = max(start.payload_bits, most_bits)
    least = min(start.payload_bits, _LEAST_BITS * most)
    best = now = _decoded(model, start, target)
    curvature = _curvature(model, now.y, latents)
    _, height, width = latents.shape
    for turn in range(rounds if curvature > 0 else 0):
        wanted = now.y - now.gradient / (2 * curvature)
        places = np.zeros((height, width), bool)
        row, column = _PHASES[turn % len(_PHASES)]
        places[row::2, column::2] = True
        reviser = Reviser(model, now.coded.indices, wanted, places, multiplier)
        found = _decoded(model, coded(model, (height, width), reviser), target)
        report(found.coded.payload)
        bits = found.coded.payload_bits
        if found.error < best.error and least <= bits <= most:
            best = found
        gain = now.error - found.error + curvature * multiplier * (now.coded.payload_bits - bits)
        now = found if gain > 0 else now
        multiplier *= (2 * bits / (least + most)) ** _ANSWER
    return best.coded


@dataclass(frozen=True)
class _Decoded:
    """Indices with what the synthesis makes of them: latents, the sum of squared errors, and its gradient."""

    coded: Coded
    y: np.ndarray
    error: float
    gradient: np.ndarray


def _decoded(model: Model, found: Coded, target: torch.Tensor) -> _Decoded:
    y = sum_of_codes(model, found.indices)
    return _Decoded(found, y, *_error(model, y, target))


def _error(model: Model, y: np.ndarray, target: torch.Tensor) -> tuple[float, np.ndarray]:
    """The sum of squared errors of decoded latents, and its gradient."""
    variable = torch.from_numpy(y)[None].to(memory_format=torch.channels_last).requires_grad_()
    pixels = model.network.pixels(variable)[:, :, : target.shape[2], : target.shape[3]]
    error = (pixels.clamp(0, 1) - target).square().sum()
    (gradient,) = torch.autograd.grad(error, variable)
    return float(error.detach()), gradient[0].contiguous().numpy()


def _curvature(model: Model, y: np.ndarray, latents: np.ndarray) -> float:
    """By how much pixels move, squared, for what the codes lack of the latents; 0 if they lack nothing."""
    with torch.inference_mode():
        decoded, whole = (model.network.pixels(torch.from_numpy(each)[None]) for each in (y, latents))
        moved = float((whole - decoded).square().sum())
    lacking = float(np.square(latents - y).sum())
    return moved / lacking if lacking > 0 else 0.0
