"""Binary choices: tables by the logarithm of their odds, and the two ends of a stream of them.

Whatever is coded as turns of a path through a tree is described once for both directions: an encoder's `Writer` notes
what is wanted and returns it, a decoder's `Reader` returns what the stream has.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import numpy as np

from aquatint import native
from aquatint.errors import CorruptStreamError

ODDS_PER_NAT = 16  # tables of turns, for each unit of the logarithm of the odds
TURNS = 256  # tables
EVEN = TURNS // 2  # the table of as good as even odds
_ESCAPE = 65535  # where the escape begins, which never occurs


@lru_cache(maxsize=1)
def turn_tables() -> tuple[np.ndarray, np.ndarray]:
    """Cumulative tables of the numbers 0 and 1, uint16 of shape (TURNS, 32), and shifts of zeros.

    Table r gives a turn to 1 the odds exp((r - 127.5) / 16). They are in docs/FORMAT.md as this formula: 16 bits of it
    are the same wherever it is evaluated with doubles.
    """
    odds = np.exp((np.arange(TURNS) - (TURNS - 1) / 2) / ODDS_PER_NAT)
    zeros = np.rint(_ESCAPE / (1 + odds)).astype(np.uint16)
    tables = np.zeros((TURNS, 32), np.uint16)
    tables[:, 16] = zeros  # where the number 1 begins
    tables[:, 17:] = _ESCAPE
    return tables, np.zeros(TURNS, np.uint8)


@lru_cache(maxsize=1)
def number_tables() -> native.NumberTables:
    """The tables as the coder needs them."""
    return native.NumberTables(*turn_tables())


def table_index(odds: np.ndarray) -> np.ndarray:
    """The nearest table for logarithms of odds with 10 fraction bits, uint8 of the same shape."""
    index = np.floor((ODDS_PER_NAT * odds) / 1024) + TURNS // 2
    return np.clip(index, 0, TURNS - 1).astype(np.uint8)


@lru_cache(maxsize=1)
def turn_costs() -> np.ndarray:
    """Bits of a turn to 0 and to 1 with each table, of shape (TURNS, 2)."""
    tables, _ = turn_tables()
    zeros = tables[:, 16].astype(np.float64)
    return 16 - np.log2(np.stack([zeros, tables[:, 17] - zeros], 1))


class Turns(Protocol):
    """One end of a stream."""

    def __call__(self, rows: np.ndarray, wanted: np.ndarray | None) -> np.ndarray:
        """Turns by the tables of `rows`, both of shape (n,): what an encoder wants, or what a decoder finds."""
        ...


class Writer:
    """An encoder's end.

    Attributes:
        bits: that the turns so far cost.
    """

    def __init__(self) -> None:
        self.bits = 0.0
        self._rows: list[np.ndarray] = []
        self._values: list[np.ndarray] = []

    def __call__(self, rows: np.ndarray, wanted: np.ndarray | None) -> np.ndarray:
        assert wanted is not None
        self._rows.append(np.asarray(rows, np.uint16))
        self._values.append(np.asarray(wanted, np.int32))
        self.bits += float(turn_costs()[self._rows[-1], self._values[-1]].sum())
        return self._values[-1]

    def append(self, other: Writer) -> None:
        """Adds what another writer has noted."""
        self._rows += other._rows
        self._values += other._values
        self.bits += other.bits

    def stream(self) -> bytes:
        """What has been noted, as the coder writes it."""
        rows = np.concatenate(self._rows) if self._rows else np.zeros(0, np.uint16)
        values = np.concatenate(self._values) if self._values else np.zeros(0, np.int32)
        return native.encode_numbers(number_tables(), values, rows)


class Reader:
    """A decoder's end.

    Arguments:
        data: what `Writer.stream` gave.

    Raises:
        TruncatedError, CorruptStreamError: as of `native.NumberReader`; the latter also if a turn is neither 0 nor 1.
    """

    def __init__(self, data: bytes) -> None:
        self._stream = native.NumberReader(number_tables(), data)

    def __call__(self, rows: np.ndarray, wanted: np.ndarray | None = None) -> np.ndarray:
        turns = self._stream.read(np.asarray(rows, np.uint16))
        if ((turns != 0) & (turns != 1)).any():
            raise CorruptStreamError(f"a turn of a path is {turns.max()}, not 0 or 1")
        return turns

    def finish(self) -> None:
        """Checks that everything has been read; raises CorruptStreamError if not."""
        self._stream.finish()
