"""What selective compression preserves in training: random instances, or random boxes (Agustsson et al. 2019, 3.3)."""

from __future__ import annotations

import numpy as np

from aquatint.codecs.extreme.polygons import components

SHARE = 0.25  # of the instances that are preserved


def random_instances(labels: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """A random quarter of the instances, bool of the shape of the labels; each connected region of a class is one.

    Every instance has the same odds, large or small, and at least one is preserved.
    """
    regions = components(labels)
    instances = np.unique(regions)
    count = max(1, round(SHARE * len(instances)))
    return np.isin(regions, chance.choice(instances, count, replace=False))


def random_box(shape: tuple[int, int], chance: np.random.Generator) -> np.ndarray:
    """A box in a random place, bool of the shape.

    Height and width are uniform from 1 to those of the shape, and the place is uniform among those where it fits: the
    paper does not say its law.
    """
    (top, bottom), (left, right) = (_interval(side, chance) for side in shape)
    found = np.zeros(shape, bool)
    found[top:bottom, left:right] = True
    return found


def _interval(side: int, chance: np.random.Generator) -> tuple[int, int]:
    length = int(chance.integers(1, side + 1))
    start = int(chance.integers(side - length + 1))
    return start, start + length
