"""From symbols to turns and back (docs/FORMAT.md, section 5.4): one description for both ends of a stream."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from aquatint.codecs.extreme.context import NODES, PATHS
from aquatint.codecs.extreme.model import Model
from aquatint.codecs.extreme.quantiser import LARGEST
from aquatint.codecs.hyperprior.context import MARGIN, NEIGHBOURS, fronts
from aquatint.codecs.hyperprior.integers import ONE, Convolution
from aquatint.codecs.turns import Turns, table_index


def code(
    model: Model,
    channels: int,
    mask: np.ndarray,
    turns: Turns,
    wanted: np.ndarray | None = None,
    *,
    static: bool = False,
) -> np.ndarray:
    """Goes through all symbols of a picture in the order of the stream.

    Arguments:
        model: whose probabilities these are.
        channels: C' of symbols.
        mask: of what is coded, bool of shape (h, w).
        turns: an end of the stream.
        wanted: what an encoder wants, numbers from -2 to 2 of shape (C', h, w); None to decode.
        static: with frequencies of each channel instead of the context model.

    Returns:
        Numbers from -2 to 2 of shape (C', h, w), 0 where the mask is not set.
    """
    found = np.zeros((channels, *mask.shape), np.int32)
    visits = _static(model, channels, mask) if static else _with_context(model, channels, mask, found)
    for channel, rows, columns, tables in visits:
        asked = None if wanted is None else wanted[channel, rows, columns]
        found[channel, rows, columns] = _symbols(tables, turns, asked)
    return found


# Channel, rows and columns of places, and the tables of the turns of their symbols, of shape (n, 4).
_Visit = tuple[int, np.ndarray, np.ndarray, np.ndarray]


def _static(model: Model, channels: int, mask: np.ndarray) -> Iterator[_Visit]:
    rows, columns = np.nonzero(mask)
    for channel in range(channels):
        yield channel, rows, columns, np.broadcast_to(model.static[channel], (len(rows), NODES))


def _with_context(model: Model, channels: int, mask: np.ndarray, found: np.ndarray) -> Iterator[_Visit]:
    """Front by front, channel by channel; `found` fills up with symbols in between."""
    height, width = mask.shape
    most = model.architecture.channels[-1]
    layer = model.contexts["neighbours"].layers[0]
    assert isinstance(layer, Convolution)
    weight = layer.weight.reshape(len(layer.bias), most, -1)[:, :, : len(NEIGHBOURS)]
    causal = Convolution(weight.reshape(len(weight), -1), layer.bias, 1, layer.exponent)
    known = np.zeros((most, height + 2 * MARGIN, width + 2 * MARGIN))
    for rows, columns in fronts(height, width):
        coded = mask[rows, columns]
        rows, columns = rows[coded], columns[coded]
        if not len(rows):
            continue
        window = [known[:, rows + MARGIN + y, columns + MARGIN + x] for y, x in NEIGHBOURS]
        features = np.maximum(causal.of_columns(np.stack(window, 1).reshape(-1, len(rows))), 0)
        for channel in range(channels):
            earlier = found[:channel, rows, columns] * float(ONE)
            odds = model.contexts[f"odds.{channel}"].of_columns(np.concatenate([features, earlier]))
            yield channel, rows, columns, table_index(odds.T)
        known[:channels, rows + MARGIN, columns + MARGIN] = found[:, rows, columns] * float(ONE)


def _symbols(tables: np.ndarray, turns: Turns, wanted: np.ndarray | None) -> np.ndarray:
    """Symbols of n places by tables (n, 4): first a turn of all, then sign and size of those that are not 0."""

    def turn(places: np.ndarray, nodes: np.ndarray | int) -> np.ndarray:
        asked = None if wanted is None else PATHS[wanted[places] + LARGEST, nodes]
        return turns(tables[places, nodes], asked)

    found = turn(np.arange(len(tables)), 0)
    (others,) = np.nonzero(found)
    positive = turn(others, 1)
    large = turn(others, 2 + positive)
    symbols = np.zeros(len(tables), np.int32)
    symbols[others] = (1 + large) * np.where(positive, 1, -1)
    return symbols
