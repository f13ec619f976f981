"""The optimal map beyond its codes: linear between neighbours, and never across a jump.

The map from noise to codes is constant on each cell, so it returns nothing but codes. AE-OT (An et al. 2020) continues
it between the centres of neighbouring cells, except where the potential has a sharp crease: there neighbours belong to
different modes, and what is between them belongs to none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aquatint.errors import UsageError
from aquatint.transport.power import cells
from aquatint.transport.semidiscrete import Sampler

_TILE = 2048
_BINS = 128  # of the histogram of angles
_SAMPLES = 64  # a code, for centres of cells


def dihedral_angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angles between the planes of the potential over the cells of two codes, in radians.

    The plane of code y has the normal (y, -1).

    Arguments:
        first, second: codes of shape (..., d).
    """
    inner = 1 + (first * second).sum(-1)
    lengths = np.sqrt((1 + np.square(first).sum(-1)) * (1 + np.square(second).sum(-1)))
    return np.arccos(np.clip(inner / lengths, -1, 1))


def singular_threshold(angles: np.ndarray) -> float:
    """The angle that best divides the angles of neighbours into small and large ones (Otsu 1979).

    It depends on the dimension and the scale of the codes, so every codebook has its own.

    Arguments:
        angles: of pairs of neighbours.
    """
    counts, edges = np.histogram(angles, _BINS)
    middles = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1]
    sums = np.cumsum(counts * middles)[:-1]
    above = counts.sum() - below
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = sums / below - ((counts * middles).sum() - sums) / above
        between = np.nan_to_num(below * above * difference**2)
    # Where there is a gap, every threshold in it is as good: the middle one is the safest.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    return float((edges[best[0] + 1] + edges[best[-1] + 1]) / 2)


@dataclass(frozen=True)
class Extension:
    """The extended map from noise to the neighbourhood of codes.

    Attributes:
        codes, heights: of the map, of shapes (N, d) and (N,).
        centres: means of the source in each cell, of shape (N, d).
        neighbours: how many of the next best codes a point may be near to.
        threshold: largest dihedral angle to a neighbour of the same mode.
    """

    codes: np.ndarray
    heights: np.ndarray
    centres: np.ndarray
    neighbours: int
    threshold: float

    def near(self, points: np.ndarray) -> np.ndarray:
        """The codes with the highest scores, best first, of shape (S, 1 + neighbours)."""
        wanted = min(1 + self.neighbours, len(self.codes))
        found = np.empty((len(points), wanted), np.int64)
        for start in range(0, len(points), _TILE):
            scores = points[start : start + _TILE] @ self.codes.T + self.heights
            top = np.argpartition(scores, -wanted, axis=1)[:, -wanted:]
            order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable")
            found[start : start + _TILE] = np.take_along_axis(top, order, 1)
        return found

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Mixtures of the codes near each point, weighted by the inverse distances to their cells' centres.

        Arguments:
            points: of shape (S, d).

        Returns:
            Of shape (S, d). Only the code itself where no neighbour is of its mode.
        """
        near = self.near(points)
        chosen = self.codes[near]
        angles = dihedral_angles(chosen[:, :1], chosen)
        angles[:, 0] = 0  # arccos rounds
        distances = np.sqrt(np.square(points[:, None] - self.centres[near]).sum(-1))
        weights = (angles <= self.threshold) / np.maximum(distances, 1e-12)
        weights /= weights.sum(1, keepdims=True)
        return np.einsum("sk,skd->sd", weights, chosen)


def extension(
    codes: np.ndarray,
    heights: np.ndarray,
    sampler: Sampler,
    *,
    neighbours: int | None = None,
    threshold: float | None = None,
    seed: int = 0,
) -> Extension:
    """Extends a map.

    Arguments:
        codes, heights: of the map, see `power.cells`.
        sampler: of its source.
        neighbours: from 0; as many as there are dimensions if None, which with the code itself is a simplex.
        threshold: largest angle in radians, pi for no filter; found from the neighbours' angles if None.
        seed: of the samples.

    Raises:
        UsageError: a shape is wrong, or a cell is empty.
    """
    wanted = codes.shape[1] if neighbours is None else neighbours
    points = sampler(_SAMPLES * len(codes), np.random.default_rng(seed))
    indices = cells(points, codes, heights)
    counts = np.bincount(indices, minlength=len(codes))
    if not counts.all():
        raise UsageError(f"{(counts == 0).sum()} of {len(codes)} cells are empty: solve the map more exactly")
    sums = np.stack([np.bincount(indices, column, len(codes)) for column in points.T.astype(np.float64)], 1)
    made = Extension(codes, heights, sums / counts[:, None], wanted, np.pi)
    if threshold is None:
        chosen = codes[made.near(points[: 16 * len(codes)])]
        threshold = singular_threshold(dihedral_angles(chosen[:, :1], chosen[:, 1:]).ravel()) if wanted else np.pi
    return Extension(codes, heights, made.centres, wanted, threshold)
