"""Maps of classes as a part of a stream: labels and masks (docs/FORMAT.md, section 5.3).

There are two ways, of which an encoder takes the one with fewer bits: as a raster, each class predicted by its causal
neighbours; or as polygons around its regions (`polygons`). Both are exact.
"""

from __future__ import annotations

import numpy as np

from aquatint.codecs import turns
from aquatint.codecs.extreme import polygons
from aquatint.codecs.extreme.adaptive import Counts, tree_number
from aquatint.codecs.hyperprior.context import MARGIN, fronts
from aquatint.codecs.turns import Turns, Writer
from aquatint.errors import CorruptStreamError

# Neighbours by rows and columns: left, above, right above, left above, two right above, two left, two above.
_NEIGHBOURS = ((0, -1), (-1, 0), (-1, 1), (-1, -1), (-1, 2), (0, -2), (-2, 0))
_LEFT, _ABOVE, _RIGHT_ABOVE, _LEFT_ABOVE, _FAR_ABOVE, _TWO_LEFT, _TWO_ABOVE = range(7)
_PAIRS = (
    (_LEFT, _ABOVE),
    (_LEFT_ABOVE, _LEFT),
    (_LEFT_ABOVE, _ABOVE),
    (_RIGHT_ABOVE, _ABOVE),
    (_TWO_LEFT, _LEFT),
    (_TWO_ABOVE, _ABOVE),
    (_FAR_ABOVE, _RIGHT_ABOVE),
)
_CANDIDATES = 5  # the neighbours that a class may be told by
# Hits to a miss at the start, by how many of the pairs above are equal.
_FIRST_HITS = (1, 1, 2, 2, 3, 8, 16, 200)


def write(turn: Writer, classes: int, labels: np.ndarray) -> None:
    """Adds a map to a stream in the shorter one of its two forms.

    Arguments:
        turn: the stream.
        classes: K, 1 to 255.
        labels: integers from 0 to K - 1, of shape (h, w).
    """
    found = []
    for form, code in enumerate((raster, polygons.code)):
        attempt = Writer()
        attempt(np.array([turns.EVEN]), np.array([form]))
        if code(attempt, classes, labels.shape, labels) is not None:
            found.append(attempt)
    turn.append(min(found, key=lambda attempt: attempt.bits))


def read(turn: Turns, classes: int, shape: tuple[int, int]) -> np.ndarray:
    """The map that `write` has written, of shape (h, w).

    Raises:
        CorruptStreamError: what is there is not a map of that size with so many classes.
    """
    (form,) = turn(np.array([turns.EVEN]), None)
    labels = (polygons.code if form else raster)(turn, classes, shape, None)
    assert labels is not None
    return labels


def raster(turn: Turns, classes: int, shape: tuple[int, int], wanted: np.ndarray | None) -> np.ndarray:
    """Codes a map place by place, those of a front at once.

    Is a class that of the likeliest neighbour? If not, is it that of the next one that differs? If not, its number
    follows.

    Arguments:
        turn: an end of the stream.
        classes: K.
        shape: rows and columns.
        wanted: the map of an encoder, or None to decode.

    Raises:
        CorruptStreamError: a class is not below K.
    """
    height, width = shape
    equal = (np.arange(1 << len(_PAIRS))[:, None] >> np.arange(len(_PAIRS)) & 1).sum(1)
    hits = Counts(np.stack([np.array(_FIRST_HITS)[equal], np.ones_like(equal)], 1))
    seconds = Counts(np.ones((_CANDIDATES, 2)))
    bits = max(1, (classes - 1).bit_length())
    numbers = Counts(np.ones((1 << bits, 2)))
    known = np.zeros((height + 2 * MARGIN, width + 2 * MARGIN), np.int64)
    for rows, columns in fronts(height, width):
        asked = None if wanted is None else wanted[rows, columns].astype(np.int64)
        around = np.stack([known[rows + MARGIN + y, columns + MARGIN + x] for y, x in _NEIGHBOURS])
        contexts = np.sum([(around[a] == around[b]).astype(np.int64) << k for k, (a, b) in enumerate(_PAIRS)], 0)
        found = np.where(around[_LEFT_ABOVE] == around[_LEFT], around[_ABOVE], around[_LEFT])
        missed = hits(turn, contexts, None if asked is None else asked != found)
        (places,) = np.nonzero(missed)
        if len(places):
            asked = None if asked is None else asked[places]
            found[places] = _second(turn, seconds, numbers, bits, around[:_CANDIDATES, places], found[places], asked)
        known[rows + MARGIN, columns + MARGIN] = found
    labels = known[MARGIN : MARGIN + height, MARGIN : MARGIN + width]
    if labels.max() >= classes:
        raise CorruptStreamError(f"a map has class {labels.max()}; there are {classes}")
    return labels


def _second(
    turn: Turns,
    seconds: Counts,
    numbers: Counts,
    bits: int,
    around: np.ndarray,
    first: np.ndarray,
    wanted: np.ndarray | None,
) -> np.ndarray:
    """Classes of n places which are not those of their first guess, from neighbours of shape (candidates, n)."""
    differs = around != first
    kinds = differs.argmax(0)
    found = np.take_along_axis(around, kinds[None], 0)[0]
    guessed = differs.any(0)
    (places,) = np.nonzero(guessed)
    wrong = seconds(turn, kinds[places], None if wanted is None else wanted[places] != found[places])
    told = ~guessed
    told[places[wrong != 0]] = True
    (places,) = np.nonzero(told)
    found[places] = tree_number(turn, numbers, bits, len(places), None if wanted is None else wanted[places])
    return found
