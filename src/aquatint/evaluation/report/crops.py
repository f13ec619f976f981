"""Where to look: the crops of a picture in which two codecs differ the most in opposite directions.

Two measures are compared tile by tile: the mean squared error, and the mean squared difference of the local means and
standard deviations, the Wasserstein distance of Gaussians fitted to neighbourhoods, which asks for the same texture but
not for the same samples. Where one codec wins by the first and another by the second, numbers do not settle which is
better, and eyes must.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

TILE = 96
WINDOW = 8  # pixels: the side of a neighbourhood
COUNT = 4  # crops of a picture at most
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Crop:
    """A square of a picture, and the two codecs that differ there.

    Attributes:
        left, top, side: in pixels.
        closer: the codec with the smaller error.
        livelier: the codec with the texture that is more like the original's.
    """

    left: int
    top: int
    side: int
    closer: str
    livelier: str


def find(original: np.ndarray, decoded: Mapping[str, np.ndarray]) -> list[Crop]:
    """Crops that do not touch, the one of the largest disagreement first.

    Arguments:
        original: uint8 of shape (H, W, 3).
        decoded: by codec, at about the same rate; of the same shape.
    """
    rows, columns = (side // TILE for side in original.shape[:2])
    if not rows or not columns or len(decoded) < 2:
        return []
    errors, textures = {}, {}
    reference = original @ _LUMA
    for codec, pixels in decoded.items():
        luma = pixels @ _LUMA
        errors[codec] = np.log(_tiles((luma - reference) ** 2, rows, columns) + 1)
        textures[codec] = np.log(_texture_error(luma, reference, rows, columns) + 1)
    candidates = []
    for one, other in combinations(decoded, 2):
        by_error, by_texture = errors[one] - errors[other], textures[one] - textures[other]
        disagreement = np.sqrt(np.maximum(-by_error * by_texture, 0))
        for row, column in np.argwhere(disagreement > 0):
            closer, livelier = (one, other) if by_error[row, column] < 0 else (other, one)
            candidates.append((-disagreement[row, column], row, column, closer, livelier))
    chosen: list[Crop] = []
    taken: set[tuple[int, int]] = set()
    for _, row, column, closer, livelier in sorted(candidates):
        if len(chosen) < COUNT and (row, column) not in taken:
            chosen.append(Crop(int(column) * TILE, int(row) * TILE, TILE, closer, livelier))
            taken |= {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)}
    return chosen


def _tiles(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return values[: rows * TILE, : columns * TILE].reshape(rows, TILE, columns, TILE).mean(axis=(1, 3))


def _texture_error(luma: np.ndarray, reference: np.ndarray, rows: int, columns: int) -> np.ndarray:
    size = rows * TILE, columns * TILE
    shape = size[0] // WINDOW, WINDOW, size[1] // WINDOW, WINDOW
    statistics = []
    for plane in (luma, reference):
        windows = plane[: size[0], : size[1]].reshape(shape)
        statistics.append((windows.mean(axis=(1, 3)), windows.std(axis=(1, 3))))
    (mean, deviation), (other_mean, other_deviation) = statistics
    distance = (mean - other_mean) ** 2 + (deviation - other_deviation) ** 2
    side = TILE // WINDOW
    return distance.reshape(rows, side, columns, side).mean(axis=(1, 3))
