"""Maps of classes as polygons: the outlines of regions, painted one over the other (docs/FORMAT.md, section 5.3.2).

A region is a set of places of one class that are connected by their sides; its polygon runs along the edges of places
and includes whatever the region encloses. The largest one is painted first, so that what is enclosed comes later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aquatint.codecs.extreme.adaptive import Counts, Number, tree_number
from aquatint.codecs.turns import Turns
from aquatint.errors import CorruptStreamError

MOST_CORNERS = 1 << 14  # of all polygons of a map
_MOST_REGIONS = 1024
_MOST_PAINT = 16  # times the places of a map that the boxes around polygons may have together
_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))  # right, down, left, up: rows and columns
# What is ahead of a corner, to the right and to the left, by the direction: rows and columns from the corner.
_AHEAD = (((0, 0), (-1, 0)), ((0, -1), (0, 0)), ((-1, -1), (0, -1)), ((-1, 0), (-1, -1)))


@dataclass(frozen=True)
class Polygon:
    """An outline, clockwise from the top left corner of its first place in raster order.

    Attributes:
        label: class inside.
        start: row and column of the first corner.
        runs: lengths of its sides, the first one to the right.
        turns: at the corner after each side but the last: 1 to the right, 0 to the left.
    """

    label: int
    start: tuple[int, int]
    runs: list[int]
    turns: list[int]


def code(turn: Turns, classes: int, shape: tuple[int, int], wanted: np.ndarray | None) -> np.ndarray | None:
    """Codes a map by its polygons.

    Arguments:
        turn: an end of the stream.
        classes: K.
        shape: rows and columns.
        wanted: the map of an encoder, or None to decode.

    Returns:
        The map; None if an encoder would need more polygons than a decoder takes.

    Raises:
        CorruptStreamError: polygons leave the map, are too many or too large, or have an unknown class.
    """
    asked = None
    if wanted is not None:
        asked = outlines(wanted)
        if asked is None or _paint(asked) > _MOST_PAINT * wanted.size:
            return None
    coder = _Coder(turn, classes, shape)
    count = coder.number(None if asked is None else len(asked), coder.COUNT, _MOST_REGIONS)
    if not count:
        raise CorruptStreamError("a map of polygons has none; its ground is one")
    labels, paint = np.zeros(shape, np.int64), 0
    for k in range(count):
        polygon = coder.polygon(None if asked is None else asked[k])
        paint += _paint([polygon])
        if paint > _MOST_PAINT * labels.size:
            raise CorruptStreamError(f"polygons paint more than {_MOST_PAINT} times the map's {labels.size} places")
        fill(labels, polygon)
    return labels


def outlines(labels: np.ndarray) -> list[Polygon] | None:
    """The polygons of all regions, the largest first; None if they are too many or have too many corners."""
    regions = components(labels)
    firsts = np.unique(regions)
    if len(firsts) > _MOST_REGIONS:
        return None
    found: list[Polygon] = []
    corners = 0
    for first in firsts.tolist():
        row, column = divmod(first, labels.shape[1])
        polygon = _traced(regions, (row, column), int(labels[row, column]), MOST_CORNERS - corners)
        if polygon is None:
            return None
        corners += len(polygon.runs)
        found.append(polygon)
    return sorted(found, key=_area, reverse=True)


def components(labels: np.ndarray) -> np.ndarray:
    """For each place the number of the first one, in raster order, of its region: of its class, connected by sides."""
    numbers = np.arange(labels.size).reshape(labels.shape)
    pairs = []
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        same = labels[one] == labels[other]
        pairs.append(np.stack([numbers[one][same], numbers[other][same]]))
    left, right = np.concatenate(pairs, 1)
    parents = numbers.ravel().copy()
    while True:
        low, high = np.minimum(parents[left], parents[right]), np.maximum(parents[left], parents[right])
        if np.array_equal(low, high):
            return parents.reshape(labels.shape)
        np.minimum.at(parents, high, low)
        while not np.array_equal(parents, shorter := parents[parents]):
            parents = shorter


def fill(labels: np.ndarray, polygon: Polygon) -> None:
    """Paints a polygon into a map."""
    corners = _corners(polygon)
    top, left = corners.min(0)
    bottom, right = corners.max(0)
    sides = np.zeros((bottom - top, right - left), bool)
    for (row, column), (next_row, _) in zip(corners[1:-1:2], corners[2::2], strict=True):
        if column < right:
            sides[min(row, next_row) - top : max(row, next_row) - top, column - left] ^= True
    inside = np.logical_xor.accumulate(sides, 1)
    labels[top:bottom, left:right][inside] = polygon.label


def _corners(polygon: Polygon) -> np.ndarray:
    """Rows and columns of the corners, the first one also at the end; sides 0, 2, 4, ... are horizontal."""
    directions = np.cumsum([0, *(1 if turned else -1 for turned in polygon.turns)]) % 4
    steps = np.array(_STEPS)[directions] * np.array(polygon.runs)[:, None]
    return np.concatenate([[polygon.start], polygon.start + np.cumsum(steps, 0)])


def _area(polygon: Polygon) -> float:
    rows, columns = _corners(polygon).T
    return abs(float((columns[:-1] * rows[1:] - columns[1:] * rows[:-1]).sum())) / 2


def _paint(polygons: list[Polygon]) -> int:
    """Places of the boxes around polygons."""
    return sum(int(np.ptp(_corners(polygon), axis=0).prod()) for polygon in polygons)


def _traced(regions: np.ndarray, first: tuple[int, int], label: int, most: int) -> Polygon | None:
    """The outline of the region whose first place is given; None if it has more corners than `most`."""
    height, width = regions.shape
    region = regions[first]

    def within(row: int, column: int) -> bool:
        return 0 <= row < height and 0 <= column < width and regions[row, column] == region

    runs, turned = [0], []
    (row, column), direction = first, 0
    while True:
        down, across = _STEPS[direction]
        row, column = row + down, column + across
        runs[-1] += 1
        if (row, column) == first:
            return Polygon(label, first, runs, turned)
        (a, b), (c, d) = _AHEAD[direction]
        if not within(row + a, column + b):  # also where places touch at a corner: they are not connected by it
            turned.append(1)
        elif within(row + c, column + d):
            turned.append(0)
        else:
            continue
        direction = (direction + (1 if turned[-1] else -1)) % 4
        runs.append(0)
        if len(runs) > most:
            return None


class _Coder:
    """Polygons of one map at one end of a stream."""

    COUNT, START, RUN = 0, 1, 2  # kinds of numbers; the last ones depend on the run before
    _LONGEST = 4

    def __init__(self, turn: Turns, classes: int, shape: tuple[int, int]) -> None:
        self._turn, self._classes, (self._height, self._width) = turn, classes, shape
        self._numbers = Number(self.RUN + self._LONGEST + 1)
        self._labels = Counts(np.ones((1 << self._bits, 2)))
        self._turns = Counts(np.ones((4, 2)))
        self._corners = 0

    @property
    def _bits(self) -> int:
        return max(1, (self._classes - 1).bit_length())

    def number(self, wanted: int | None, kind: int, most: int) -> int:
        """Codes a number from 0 to `most`."""
        found = self._numbers(self._turn, wanted, kind)
        if found > most:
            raise CorruptStreamError(f"a number of a polygon is {found}; {most} is the limit")
        return found

    def polygon(self, wanted: Polygon | None) -> Polygon:
        """Codes the next polygon."""
        label = tree_number(
            self._turn, self._labels, self._bits, 1, None if wanted is None else np.array([wanted.label])
        )
        if label[0] >= self._classes:
            raise CorruptStreamError(f"a polygon has class {label[0]}; there are {self._classes}")
        start = tuple(
            self.number(None if wanted is None else wanted.start[axis], self.START, most)
            for axis, most in enumerate((self._height - 1, self._width - 1))
        )
        assert len(start) == 2
        runs: list[int] = []
        turned: list[int] = []
        (row, column), direction = start, 0
        while True:
            kind = self.RUN + (min(runs[-1].bit_length(), self._LONGEST) if runs else 0)
            asked = None if wanted is None else wanted.runs[len(runs)] - 1
            runs.append(1 + self.number(asked, kind, max(self._height, self._width) - 1))
            down, across = _STEPS[direction]
            row, column = row + down * runs[-1], column + across * runs[-1]
            if not (0 <= row <= self._height and 0 <= column <= self._width):
                raise CorruptStreamError(f"a polygon leaves the map of {self._width}x{self._height} places")
            self._corners += 1
            if self._corners > MOST_CORNERS:
                raise CorruptStreamError(f"polygons have more than {MOST_CORNERS} corners")
            if (row, column) == start and direction == 3:
                return Polygon(int(label[0]), start, runs, turned)
            history = sum(turn << k for k, turn in enumerate([0, 0, *turned[-2:]][-2:]))
            asked_turn = None if wanted is None else np.array([wanted.turns[len(turned)]])
            turned.append(int(self._turns(self._turn, np.array([history]), asked_turn)[0]))
            direction = (direction + (1 if turned[-1] else -1)) % 4
