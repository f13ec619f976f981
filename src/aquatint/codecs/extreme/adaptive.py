"""Binary choices whose odds are learned while they are coded, in integers (docs/FORMAT.md, section 5.3)."""

from __future__ import annotations

import numpy as np

from aquatint.codecs import turns
from aquatint.codecs.turns import Turns

_LIMIT = 1024  # of the counts of a context, which are halved beyond: what is long ago counts less
MOST_BITS = 20  # of a number


class Counts:
    """How often turns in each of some contexts went to 0 and to 1.

    Arguments:
        start: counts to begin with, integers above 0 of shape (contexts, 2).
    """

    def __init__(self, start: np.ndarray) -> None:
        self._counts = np.array(start, np.int64)

    def __call__(self, turn: Turns, contexts: np.ndarray, wanted: np.ndarray | None) -> np.ndarray:
        """Codes turns of n contexts by the counts before them, and counts them."""
        counts = self._counts[contexts]
        zeros = 65535 * counts[:, 0] // counts.sum(1)
        # Frequencies of 0 fall with the table: the first one that is not above the wanted one.
        rows = np.searchsorted(-turns.turn_tables()[0][:, 16].astype(np.int64), -zeros)
        found = turn(np.minimum(rows, turns.TURNS - 1), wanted)
        np.add.at(self._counts, (contexts, found), 1)
        many = self._counts.sum(1) > _LIMIT
        self._counts[many] = (self._counts[many] + 1) >> 1
        return found


def tree_number(turn: Turns, counts: Counts, bits: int, count: int, wanted: np.ndarray | None) -> np.ndarray:
    """Codes `count` numbers by their bits from the highest, each in the context of those before it."""
    found = np.ones(count, np.int64)
    for bit in range(bits - 1, -1, -1):
        asked = None if wanted is None else wanted >> bit & 1
        found = 2 * found + counts(turn, found, asked)
    return found - (1 << bits)


class Number:
    """Numbers from 0, with an adaptive number of bits and even ones below the highest (Elias gamma).

    Arguments:
        contexts: how many kinds of numbers there are.
    """

    def __init__(self, contexts: int = 1) -> None:
        self._lengths = Counts(np.ones((contexts * MOST_BITS, 2)))

    def __call__(self, turn: Turns, wanted: int | None, context: int = 0) -> int:
        """Codes one number below 2^20 - 1."""
        bits = 0
        length = None if wanted is None else (wanted + 1).bit_length() - 1
        while bits < MOST_BITS - 1 and self._one(
            turn, context * MOST_BITS + bits, None if length is None else length > bits
        ):
            bits += 1
        asked = None if wanted is None else (wanted + 1 - (1 << bits)) >> np.arange(bits - 1, -1, -1) & 1
        rest = turn(np.full(bits, turns.EVEN), asked)
        return (1 << bits) - 1 + int(rest @ (1 << np.arange(bits - 1, -1, -1)))

    def _one(self, turn: Turns, context: int, wanted: bool | None) -> bool:
        asked = None if wanted is None else np.array([int(wanted)])
        return bool(self._lengths(turn, np.array([context]), asked)[0])
