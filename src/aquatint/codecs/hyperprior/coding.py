"""From latents to symbols and back: the part that encoder and decoder share, in integers (docs/FORMAT.md, 3.2).

The entropy model proceeds in passes, each of which knows the latents of those before. A pass hands over means and
scales for a selection of latents, and gets the latents: an encoder quantises them, a decoder reads them.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from aquatint import native
from aquatint.codecs.hyperprior import tables
from aquatint.codecs.hyperprior.context import PARAMETER_GAIN
from aquatint.codecs.hyperprior.integers import LIMIT, ONE, Convolution, scaled
from aquatint.codecs.hyperprior.model import Model
from aquatint.codecs.hyperprior.priors import LEAST_SCALE

LARGEST_RESIDUAL = 2**15
_LEAST_LOG_SCALE = -round(float(np.log2(LEAST_SCALE)) * ONE)  # 3261
_NEIGHBOURS = [
    (-2, -2),
    (-2, -1),
    (-2, 0),
    (-2, 1),
    (-2, 2),
    (-1, -2),
    (-1, -1),
    (-1, 0),
    (-1, 1),
    (-1, 2),
    (0, -2),
    (0, -1),
]
_MARGIN = 2

Selection = Any  # an index of an array (M, h, w)


class Residuals(Protocol):
    """Where the residuals of a pass come from."""

    def __call__(self, selection: Selection, mean: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Integers for a selection, given their means in steps with 10 fraction bits, and the rows of their tables."""
        ...


class Passes:
    """All latents of a picture, pass by pass.

    Arguments:
        model: whose entropy model it is.
        level: of rate.
        hyper: decoded hyper-latents in units of their step, integers of shape (C, ceil(h / 4), ceil(w / 4)).
        size: rows and columns of the latents, h and w.
        residuals: where residuals come from.

    Attributes:
        residuals: integers of shape (M, h, w).
        means: in steps, with 10 fraction bits.
        rows: of the tables, that is, indices of scales.
    """

    def __init__(
        self, model: Model, level: int, hyper: np.ndarray, size: tuple[int, int], residuals: Residuals
    ) -> None:
        shape = (model.architecture.latents, *size)
        self.residuals = np.zeros(shape, np.int32)
        self.means = np.zeros(shape)
        self.rows = np.zeros(shape, np.uint16)
        self._source = residuals
        self._width, self._gain = int(model.rates.width[level]), int(model.rates.gain[level])
        self._log_step = int(model.rates.log_step[level])
        features = _features(model, level, hyper)[:, : size[0], : size[1]]
        entropy = model.architecture.entropy
        if entropy == "channelwise":
            self._channelwise(model, features)
        elif entropy == "autoregressive":
            self._autoregressive(model, features)
        elif entropy == "scale":
            self._visit(np.s_[:, :, :], np.zeros_like(features), features)
        else:
            log_scale, mean = np.split(features, 2)
            self._visit(np.s_[:, :, :], mean, log_scale)

    def _visit(self, selection: Selection, mean: np.ndarray, log_scale: np.ndarray) -> np.ndarray:
        """Latents of a selection, with 10 fraction bits, from their means and their logarithms of scales."""
        mean = scaled(np.clip(mean * PARAMETER_GAIN, -LIMIT, LIMIT), self._gain)
        rows = scale_index(log_scale * PARAMETER_GAIN - self._log_step)
        residuals = self._source(selection, mean, rows)
        self.residuals[selection], self.means[selection], self.rows[selection] = residuals, mean, rows
        return scaled(residuals * float(ONE) + mean, self._width)

    def _channelwise(self, model: Model, features: np.ndarray) -> None:
        known = np.zeros((0, *features.shape[1:]))
        for k, group in enumerate(model.architecture.groups):
            inputs = [features] + ([model.integers[f"earlier.{k - 1}"](known)] if k else [])
            log_scale, mean = np.split(model.integers[f"parameters.{k}"](np.concatenate(inputs)), 2)
            latents = self._visit(np.s_[len(known) : len(known) + group], mean, log_scale)
            known = np.concatenate([known, latents])

    def _autoregressive(self, model: Model, features: np.ndarray) -> None:
        """Latents whose neighbours are known are decoded together: those with the same column + 3 row."""
        channels, (height, width) = model.architecture.latents, features.shape[1:]
        (neighbours,) = model.integers["neighbours"].layers
        assert isinstance(neighbours, Convolution)
        taps = neighbours.weight.reshape(-1, channels, 25)[:, :, : len(_NEIGHBOURS)]
        causal = Convolution(taps.reshape(len(taps), -1), neighbours.bias, 1, neighbours.exponent)
        known = np.zeros((channels, height + 2 * _MARGIN, width + 2 * _MARGIN))
        reach = 1 + _MARGIN
        for front in range(width + reach * (height - 1)):
            rows = np.arange(max(0, -(-(front - width + 1) // reach)), min(height - 1, front // reach) + 1)
            if len(rows) == 0:  # in a narrow grid
                continue
            columns = front - reach * rows
            window = [known[:, rows + y + _MARGIN, columns + x + _MARGIN] for y, x in _NEIGHBOURS]
            context = causal.of_columns(np.stack(window, 1).reshape(-1, len(rows)))
            inputs = np.concatenate([features[:, rows, columns], context])
            log_scale, mean = np.split(model.integers["parameters"].of_columns(inputs), 2)
            known[:, rows + _MARGIN, columns + _MARGIN] = self._visit(np.s_[:, rows, columns], mean, log_scale)


def scale_index(log_scale: np.ndarray) -> np.ndarray:
    """The nearest Gaussian table for base-2 logarithms of scales with 10 fraction bits, uint16 of the same shape."""
    index = np.floor((tables.SCALES_PER_OCTAVE * (log_scale + _LEAST_LOG_SCALE) + ONE // 2) / ONE)
    return np.clip(index, 0, tables.SCALES - 1).astype(np.uint16)


def scale_logarithm(rows: np.ndarray) -> np.ndarray:
    """Base-2 logarithms of the scales of Gaussian tables."""
    return rows / np.float32(tables.SCALES_PER_OCTAVE) + np.float32(np.log2(LEAST_SCALE))


def _features(model: Model, level: int, hyper: np.ndarray) -> np.ndarray:
    """What the hyper-synthesis makes of hyper-latents in units of their step."""
    inputs = np.clip(hyper * float(model.rates.hyper_step[level]), -LIMIT, LIMIT)
    if model.architecture.conditioned:
        place = np.full((1, *hyper.shape[1:]), float(model.rates.place[level]))
        inputs = np.concatenate([inputs, place])
    return model.integers["hyper_synthesis"](inputs)


class Reader:
    """Residuals from a stream.

    Arguments:
        stream: the coder's reader.
    """

    def __init__(self, stream: native.NumberReader) -> None:
        self._stream = stream

    def __call__(self, selection: Selection, mean: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return self._stream.read(rows.ravel()).reshape(rows.shape)


class Quantiser:
    """Residuals of latents that an encoder knows, and what is to be written about them.

    Arguments:
        latents: divided by their step, of shape (M, h, w).
    """

    def __init__(self, latents: np.ndarray) -> None:
        self._latents = latents
        self.values: list[np.ndarray] = []
        self.rows: list[np.ndarray] = []

    def __call__(self, selection: Selection, mean: np.ndarray, rows: np.ndarray) -> np.ndarray:
        residuals = np.rint(self._latents[selection] - mean / ONE)
        residuals = np.clip(residuals, -LARGEST_RESIDUAL, LARGEST_RESIDUAL).astype(np.int32)
        self.values.append(residuals.ravel())
        self.rows.append(rows.ravel())
        return residuals
