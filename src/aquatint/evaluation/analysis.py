"""What the rows of a run say: mean curves, differences at equal quality, values at equal bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np

from aquatint.evaluation.curves import Curve, CurveError, bd_metric, bd_rate, value_at
from aquatint.evaluation.metrics import METRICS
from aquatint.evaluation.runner import Row, SetRow
from aquatint.evaluation.statistics import Estimate, bootstrap


@dataclass(frozen=True)
class Point:
    """A point of a mean curve.

    Attributes:
        target_bpp: the rate that was aimed for.
        bpp, value: means over the pictures, or what a metric on sets says of all of them.
        low, high: ends of the value's 95 % interval, if it is known.
    """

    target_bpp: float
    bpp: float
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Difference:
    """The mean Bjontegaard differences of a codec over pictures.

    Attributes:
        rate: BD-rate in percent; None if no picture gave a number.
        metric: BD-metric in the metric's unit, likewise.
        skipped: names of the pictures that gave no BD-rate, with reasons.
    """

    rate: Estimate | None
    metric: Estimate | None
    skipped: Mapping[str, str]


def names(rows: Sequence[Row]) -> list[str]:
    """The codecs of rows, in order."""
    return list(dict.fromkeys(row.codec for row in rows))


def readable(rows: Sequence[Row]) -> list[str]:
    """The pictures of rows that could be read, in order."""
    return list(dict.fromkeys(row.picture.name for row in rows if row.picture.error is None))


def mean_curve(rows: Sequence[Row], sets: Sequence[SetRow], codec: str, metric: str) -> list[Point]:
    """Points of a codec on the mean of all pictures that could be read.

    A rate at which one of them is lacking has no point: the mean over the others would be that of another, often
    easier, set of pictures.
    """
    if METRICS[metric].on_sets:
        chosen = [row for row in sets if row.codec == codec and metric in row.values]
        found = [(row, row.values[metric]) for row in chosen]
        return [Point(row.target_bpp, row.bpp, value.mean, value.low, value.high) for row, value in found]
    count = len(readable(rows))
    groups: dict[float, list[tuple[float, float]]] = {}
    for row in rows:
        value = row.metric(metric)
        if row.codec == codec and row.ok and value is not None:
            groups.setdefault(row.target_bpp, []).append((row.bpp, value))
    means = {target: np.mean(pairs, axis=0) for target, pairs in groups.items() if len(pairs) == count}
    return [Point(target, float(bpp), float(value)) for target, (bpp, value) in sorted(means.items())]


def picture_curve(rows: Sequence[Row], codec: str, picture: str, metric: str) -> Curve:
    """The curve of a codec on one picture.

    Raises:
        CurveError: two of its points have the same rate.
    """
    pairs = [
        (row.bpp, value)
        for row in rows
        if (row.codec, row.picture.name) == (codec, picture) and row.ok and (value := row.metric(metric)) is not None
    ]
    bpp, values = np.array(pairs, float).reshape(-1, 2).T
    return Curve(bpp, values, METRICS[metric].higher_is_better)


def difference(rows: Sequence[Row], sets: Sequence[SetRow], anchor: str, test: str, metric: str) -> Difference:
    """How a codec differs from another: per picture, then the mean with its interval over pictures.

    A metric on sets has one curve for all pictures together, and so no interval.
    """
    if METRICS[metric].on_sets:
        pairs = {"all": tuple(partial(_set_curve, sets, codec, metric) for codec in (anchor, test))}
    else:
        pairs = {
            picture: tuple(partial(picture_curve, rows, codec, picture, metric) for codec in (anchor, test))
            for picture in readable(rows)
        }
    rates, metrics, skipped = [], [], {}
    for picture, (one, other) in pairs.items():
        with suppress(CurveError):  # says the same as that of the rate, or less
            metrics.append(bd_metric(one(), other()))
        try:
            rates.append(bd_rate(one(), other()))
        except CurveError as error:
            skipped[picture] = str(error)
    return Difference(bootstrap(rates) if rates else None, bootstrap(metrics) if metrics else None, skipped)


def at_equal_bits(points: Sequence[Point], metric: str, bpp: float) -> float:
    """The value of a mean curve at exactly a rate, which codecs meet only nearly.

    Raises:
        CurveError: see `value_at`.
    """
    return value_at(_curve(points, metric), bpp)


def _set_curve(sets: Sequence[SetRow], codec: str, metric: str) -> Curve:
    return _curve(mean_curve([], sets, codec, metric), metric)


def _curve(points: Sequence[Point], metric: str) -> Curve:
    bpp, values = [point.bpp for point in points], [point.value for point in points]
    return Curve(np.array(bpp), np.array(values), METRICS[metric].higher_is_better)
