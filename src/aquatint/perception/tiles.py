"""Feature maps of large pictures, a tile at a time: the same numbers as for the whole picture, in little memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

SIDE = 512
# A tile is seen with a margin, so that no value inside it depends on where the crop ends: VGG up to relu5_3, which
# looks farthest, sees 105 pixels. Margin and side are multiples of the largest stride, so that the grids stay in step.
MARGIN = 128
LARGEST_STRIDE = 16


@dataclass(frozen=True)
class Tile:
    """A part of a picture and the crop from which its features are computed.

    Attributes:
        rows, columns: the crop, in pixels.
        top, left: where the tile begins in the crop, in pixels.
        bottom, right: where it ends in the crop, or None if it reaches to the end of the picture.
    """

    rows: slice
    columns: slice
    top: int
    left: int
    bottom: int | None
    right: int | None

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns of the tile in the picture."""
        (top, bottom), (left, right) = (
            (crop.start + begin, crop.stop if end is None else crop.start + end)
            for crop, begin, end in ((self.rows, self.top, self.bottom), (self.columns, self.left, self.right))
        )
        return slice(top, bottom), slice(left, right)

    def inside(self, stride: int) -> tuple[slice, slice]:
        """Rows and columns of the tile in a feature map of the crop, whose samples lie stride pixels apart."""
        if stride < 1 or LARGEST_STRIDE % stride:
            raise ValueError(f"the stride must divide {LARGEST_STRIDE}, not be {stride}")
        ends = [None if end is None else end // stride for end in (self.bottom, self.right)]
        return slice(self.top // stride, ends[0]), slice(self.left // stride, ends[1])


def tiles(height: int, width: int) -> Iterator[Tile]:
    """Tiles of at most 512x512 pixels that cover a picture; the last ones may have up to half of that more.

    Arguments:
        height, width: of the picture, in pixels.
    """
    for rows, top, bottom in _spans(height):
        for columns, left, right in _spans(width):
            yield Tile(rows, columns, top, left, bottom, right)


def _spans(length: int) -> Iterator[tuple[slice, int, int | None]]:
    """For every tile along one side: its crop, and where in the crop it begins and ends."""
    count = max(1, (length + SIDE // 2) // SIDE)  # no narrow tile at the end: its crop would be nearly all margin
    for k in range(count):
        start = max(0, k * SIDE - MARGIN)
        if k == count - 1:
            yield slice(start, length), k * SIDE - start, None
        else:
            end = (k + 1) * SIDE
            yield slice(start, min(length, end + MARGIN)), k * SIDE - start, end - start
