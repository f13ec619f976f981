"""From vectors to indices, and from indices to bytes and back (docs/FORMAT.md, section 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from aquatint.codecs.hyperprior.context import MARGIN, NEIGHBOURS, fronts
from aquatint.codecs.hyperprior.integers import ONE, Convolution
from aquatint.codecs.transport.context import path
from aquatint.codecs.transport.model import Model
from aquatint.codecs.turns import Reader as TurnReader
from aquatint.codecs.turns import Writer, table_index, turn_costs
from aquatint.errors import CorruptStreamError

NONE = -1  # in place of an index: the stage adds nothing there


class Indices(Protocol):
    """Where the indices of a front of places come from."""

    def __call__(self, stage: int, rows: np.ndarray, columns: np.ndarray, tables: np.ndarray) -> np.ndarray:
        """Indices of n places, NONE where there is none, given the tables of all turns of a path, uint8 (n, N - 1)."""
        ...


def visit(model: Model, stages: int, size: tuple[int, int], source: Indices) -> np.ndarray:
    """Goes through all indices of a picture in the order of the stream.

    Arguments:
        model: whose context models these are.
        stages: 1 to K.
        size: rows and columns of the latent vectors.
        source: where indices come from.

    Returns:
        Of shape (stages, h, w), with NONE where there is none.
    """
    height, width = size
    indices = np.zeros((stages, *size), np.int64)
    earlier = np.zeros((model.architecture.dimensions, *size))
    for stage in range(stages):
        networks, codes = model.contexts[stage], model.fixed_codes[stage]
        causal = _causal(networks["neighbours"].layers[0], len(NEIGHBOURS))
        before = networks["earlier"](earlier) if stage else None
        known = np.zeros((len(earlier), height + 2 * MARGIN, width + 2 * MARGIN))
        for rows, columns in fronts(height, width):
            window = [known[:, rows + MARGIN + y, columns + MARGIN + x] for y, x in NEIGHBOURS]
            features = causal.of_columns(np.stack(window, 1).reshape(-1, len(rows)))
            if before is not None:
                features = np.concatenate([features, before[:, rows, columns]])
            odds = networks["odds"].of_columns(features).T
            found = source(stage, rows, columns, table_index(odds))
            indices[stage, rows, columns] = found
            known[:, rows + MARGIN, columns + MARGIN] = vectors(codes, found).T
        earlier = earlier + known[:, MARGIN : MARGIN + height, MARGIN : MARGIN + width]
    return indices


def _causal(layer: object, taps: int) -> Convolution:
    """The first taps of a convolution, those that come before its centre, for columns of neighbours."""
    assert isinstance(layer, Convolution)
    weight = layer.weight.reshape(len(layer.bias), -1, layer.side**2)[:, :, :taps]
    return Convolution(weight.reshape(len(layer.bias), -1), layer.bias, 1, layer.exponent)


def index_costs(tables: np.ndarray) -> np.ndarray:
    """Bits of every index, of shape (n, N), with the tables of all turns, of shape (n, N - 1)."""
    costs = turn_costs()[tables]
    found = np.zeros((len(tables), 1))
    while (level := found.shape[1]) <= tables.shape[1]:
        found = (found[:, :, None] + costs[:, level - 1 : 2 * level - 1]).reshape(len(tables), 2 * level)
    return found


@dataclass(frozen=True)
class Coded:
    """Indices and what a file says about them.

    Attributes:
        payload: of a file.
        indices: of shape (stages, h, w).
        bits: that the indices cost.
    """

    payload: bytes
    indices: np.ndarray
    bits: float

    @property
    def payload_bits(self) -> float:
        """What a file has for them: whole bytes, the first two of the payload and the coder's states among them."""
        return 8.0 * len(self.payload)


class Choice(Indices, Protocol):
    """Indices as an encoder wants them.

    Attributes:
        stages: how many there are.
        presence: table of the turns that say whether a place has an index in the last stage.
    """

    stages: int
    presence: int


def coded(model: Model, size: tuple[int, int], choice: Choice) -> Coded:
    """Chooses all indices of a picture, and codes them.

    Arguments:
        model: whose context models these are.
        size: rows and columns of the latent vectors.
        choice: where indices come from.
    """
    writer = Writer()

    def source(stage: int, rows: np.ndarray, columns: np.ndarray, tables: np.ndarray) -> np.ndarray:
        found = choice(stage, rows, columns, tables)
        present = found != NONE
        if stage == choice.stages - 1:
            writer(np.full(len(rows), choice.presence), present)
        nodes, turns = path(found[present], model.architecture.bits)
        # Level by level, so that a decoder can read a level of all places at once.
        writer(np.take_along_axis(tables[present], nodes, 1).T.ravel(), turns.T.ravel())
        return found

    indices = visit(model, choice.stages, size, source)
    return Coded(bytes([choice.stages, choice.presence]) + writer.stream(), indices, writer.bits)


class Chooser:
    """Indices with the least |z - y|^2 + multiplier times their bits, stage by stage; a `Choice`.

    Arguments:
        model: whose codes these are.
        latents: of shape (d, h, w).
        stages: 1 to K.
        multiplier: of a bit, 0 or more; with 0 the model's potential chooses.
        share: of the places that have an index in the last stage, those that gain most; only from the second stage on.
    """

    def __init__(self, model: Model, latents: np.ndarray, stages: int, multiplier: float, share: float = 1.0) -> None:
        self._model, self._multiplier, self.stages = model, multiplier, stages
        self._residual = latents.astype(np.float32).copy()
        size = latents.shape[1:]
        self._wanted = round(share * math.prod(size)) if stages > 1 else math.prod(size)
        self._present = np.ones(size, bool)
        self.presence = presence_table(self._wanted, math.prod(size))

    def __call__(self, stage: int, rows: np.ndarray, columns: np.ndarray, tables: np.ndarray) -> np.ndarray:
        if stage == self.stages - 1 and (rows[0], columns[0]) == (0, 0):
            self._present = self._gaining_most()
        present = self._present[rows, columns]
        found = np.full(len(rows), NONE)
        found[present] = self._chosen(stage, rows[present], columns[present], tables[present])
        return found

    def _chosen(self, stage: int, rows: np.ndarray, columns: np.ndarray, tables: np.ndarray) -> np.ndarray:
        codes = self._model.codes[stage]
        rate = self._multiplier * index_costs(tables) if self._multiplier else -2 * self._model.biases[stage]
        found = (distances(self._residual[:, rows, columns].T, codes) + rate).argmin(1)
        self._residual[:, rows, columns] -= codes[found].T
        return found

    def _gaining_most(self) -> np.ndarray:
        points = self._residual.reshape(len(self._residual), -1).T
        left = distances(points, self._model.codes[self.stages - 1]).min(1)  # less |z|^2, which is what is left without
        present = np.zeros(len(points), bool)
        present[np.argsort(left, kind="stable")[: self._wanted]] = True
        return present.reshape(self._present.shape)


class Reader:
    """Indices from a stream.

    Arguments:
        bits: of an index.
        stages: of the stream.
        presence: table of the turns that say whether a place has an index in the last stage.
        turns: of paths.
    """

    def __init__(self, bits: int, stages: int, presence: int, turns: TurnReader) -> None:
        self._bits, self._last, self._presence, self._turns = bits, stages - 1, presence, turns

    def __call__(self, stage: int, rows: np.ndarray, columns: np.ndarray, tables: np.ndarray) -> np.ndarray:
        indices = np.full(len(rows), NONE)
        places = np.arange(len(rows))
        if stage == self._last:
            places = places[self._turns(np.full(len(rows), self._presence)) == 1]
        found = np.zeros(len(places), np.int64)
        for level in range(self._bits):
            found = 2 * found + self._turns(tables[places, (1 << level) - 1 + found])
        indices[places] = found
        return indices


def presence_table(wanted: int, places: int) -> int:
    """The table whose odds are nearest to those of `wanted` among `places`."""
    with np.errstate(divide="ignore"):
        odds = np.log(np.float64(wanted) / np.float64(places - wanted))
    return int(table_index(ONE * odds))


def vectors(codes: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Codes of a stage by their indices, with zeros for NONE."""
    return np.where((indices == NONE)[..., None], 0, codes[indices])


def distances(points: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """|z - y|^2 less |z|^2, of shape (n, N)."""
    return np.square(codes).sum(1) - 2 * points @ codes.T


def nearest(model: Model, latents: np.ndarray, stages: int) -> np.ndarray:
    """Indices without a context model, of shape (stages, h, w), chosen by the model's potential."""
    points = latents.reshape(len(latents), -1).T.astype(np.float32)
    found = []
    for codes, biases in zip(model.codes[:stages], model.biases[:stages], strict=True):
        index = (distances(points, codes) - 2 * biases).argmin(1)
        points = points - codes[index]
        found.append(index.reshape(latents.shape[1:]))
    return np.stack(found)


def packed(indices: np.ndarray, bits: int) -> bytes:
    """Indices of fixed length, from the highest bit, one after the other."""
    turns = indices.reshape(-1, 1) >> np.arange(bits - 1, -1, -1) & 1
    return np.packbits(turns.astype(np.uint8)).tobytes()


def unpacked(data: bytes, shape: tuple[int, int, int], bits: int) -> np.ndarray:
    """The inverse of `packed`.

    Raises:
        CorruptStreamError: there are not as many bytes, or bits that mean nothing are set.
    """
    count = int(np.prod(shape)) * bits
    if len(data) != (count + 7) // 8:
        raise CorruptStreamError(f"{len(data)} bytes of indices; the picture has {(count + 7) // 8}")
    turns = np.unpackbits(np.frombuffer(data, np.uint8))
    if turns[count:].any():
        raise CorruptStreamError("bits after the last index are not 0")
    return (turns[:count].reshape(-1, bits) @ (1 << np.arange(bits - 1, -1, -1))).reshape(shape)


def sum_of_codes(model: Model, indices: np.ndarray) -> np.ndarray:
    """Decoded latents, float32 of shape (d, h, w)."""
    total = sum(vectors(codes, index) for codes, index in zip(model.codes, indices, strict=False))
    return np.moveaxis(np.asarray(total, np.float32), -1, 0)
