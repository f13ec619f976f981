"""Curves of a metric against bits, and differences between two of them (Bjontegaard 2001, VCEG-M33)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from aquatint.errors import AquatintError, DependencyError

Method = Literal["pchip", "akima"]


class CurveError(AquatintError):
    """Two curves cannot be compared, or a curve says nothing at a point; the message tells why."""


@dataclass(frozen=True)
class Curve:
    """Points of a codec on one picture, or on the mean of several.

    Attributes:
        bpp: bits per pixel, ascending, all positive.
        values: the metric at each rate.
        higher_is_better: the direction of the metric.

    Raises:
        CurveError: lengths differ, a value is not finite, or a rate is not positive or occurs twice.
    """

    bpp: np.ndarray
    values: np.ndarray
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        bpp, values = np.asarray(self.bpp, float), np.asarray(self.values, float)
        if bpp.shape != values.shape or bpp.ndim != 1:
            raise CurveError(f"rates and values must be two lists of one length, not {bpp.shape} and {values.shape}")
        if not (np.isfinite(bpp).all() and np.isfinite(values).all()):
            raise CurveError("a rate or a value is not finite")
        if (bpp <= 0).any():
            raise CurveError(f"rates must be positive, not {bpp.min():g}")
        order = np.argsort(bpp)
        bpp, values = bpp[order], values[order]
        if (np.diff(bpp) == 0).any():
            raise CurveError("two points have the same rate")
        object.__setattr__(self, "bpp", bpp)
        object.__setattr__(self, "values", values)

    @property
    def quality(self) -> np.ndarray:
        """The values, negated if lower ones are better: quality grows with the rate."""
        return self.values if self.higher_is_better else -self.values


class _Interpolator(Protocol):
    def integrate(self, a: float, b: float) -> object: ...
    def __call__(self, x: float) -> object: ...


def bd_rate(anchor: Curve, test: Curve, method: Method = "pchip") -> float:
    """Mean difference of the rates at equal quality, in percent: -20 if `test` needs a fifth fewer bits.

    The mean is that of the logarithm of the rate over the qualities that both curves reach.

    Arguments:
        anchor, test: curves of the same metric, of at least two points each ("akima": three).
        method: of interpolation between the points.

    Raises:
        CurveError: a curve has too few points or is not monotone, or the curves share no quality.
    """
    for name, curve in (("anchor", anchor), ("test", test)):
        if (np.diff(curve.quality) <= 0).any():
            raise CurveError(f"the {name} curve is not monotone: more bits do not always give more quality")
    qualities = anchor.quality, test.quality
    rates = np.log10(anchor.bpp), np.log10(test.bpp)
    return float(100 * (10 ** _mean_difference(qualities, rates, method, "quality") - 1))


def bd_metric(anchor: Curve, test: Curve, method: Method = "pchip") -> float:
    """Mean difference of the metric at equal rate, in its own unit: `test` minus `anchor`.

    The mean is over the logarithm of the rates that both curves reach.

    Arguments and errors: as of `bd_rate`, but the curves need not be monotone.
    """
    rates = np.log10(anchor.bpp), np.log10(test.bpp)
    return float(_mean_difference(rates, (anchor.values, test.values), method, "rate"))


def value_at(curve: Curve, bpp: float) -> float:
    """The metric at a rate, interpolated on a logarithmic axis (PCHIP).

    Raises:
        CurveError: the curve has no points or does not reach the rate. A miss of 3 %, what codecs may miss a rate by,
            counts as reached, and gives the value at the end.
    """
    if not len(curve.bpp):
        raise CurveError("the curve has no points")
    low, high = curve.bpp[0], curve.bpp[-1]
    if not low / 1.03 <= bpp <= high * 1.03:
        raise CurveError(f"the curve reaches from {low:.3g} to {high:.3g} bpp, not to {bpp:g}")
    if low == high:
        return float(curve.values[0])
    position = np.log10(np.clip(bpp, low, high))
    return float(np.asarray(_interpolator(np.log10(curve.bpp), curve.values, "pchip")(position)))


def _mean_difference(
    x: tuple[np.ndarray, np.ndarray], y: tuple[np.ndarray, np.ndarray], method: Method, axis: str
) -> float:
    """Mean of y[1] - y[0] over the interval that both x cover."""
    interpolators = [_interpolator(*points, method) for points in zip(x, y, strict=True)]
    low, high = max(x[0].min(), x[1].min()), min(x[0].max(), x[1].max())
    if low >= high:
        raise CurveError(f"the curves do not overlap: they share no {axis}")
    areas = [float(np.asarray(interpolator.integrate(low, high))) for interpolator in interpolators]
    return (areas[1] - areas[0]) / (high - low)


def _interpolator(x: np.ndarray, y: np.ndarray, method: Method) -> _Interpolator:
    least = 2 if method == "pchip" else 3
    if len(x) < least:
        raise CurveError(f"a curve needs at least {least} points, not {len(x)}")
    try:
        from scipy import interpolate
    except ImportError:
        raise DependencyError("curves need scipy: pip install 'aquatint[evaluation]'") from None
    return (interpolate.PchipInterpolator if method == "pchip" else interpolate.Akima1DInterpolator)(x, y)
