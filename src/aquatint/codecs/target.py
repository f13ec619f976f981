"""What an encoder aims for: a quality, a rate, a file size or a Lagrangian."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aquatint.errors import RateError, UsageError

DEFAULT_QUALITY = 50
RATE_TOLERANCE = 0.03  # of a rate


@dataclass(frozen=True)
class Target:
    """Exactly one aim of an encode.

    Attributes:
        quality: 1 (smallest file) to 100.
        bpp: bits per pixel of the whole file, reached within 3 %.
        size: bytes of the whole file, never exceeded and used to at least 95 %.
        lagrangian: weight of one bit per pixel against the mean squared error of samples in [0, 1].

    Raises:
        UsageError: more or less than one is given, or its value is out of range.
    """

    quality: float | None = None
    bpp: float | None = None
    size: int | None = None
    lagrangian: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1:
            raise UsageError(f"give exactly one of quality, bpp, size and lagrangian, not {list(given) or 'none'}")
        name, value = next(iter(given.items()))
        if not math.isfinite(value) or value <= 0:
            raise UsageError(f"{name} must be a positive number, not {value}")
        if name == "quality" and not 1 <= value <= 100:
            raise UsageError(f"quality must be from 1 to 100, not {value}")

    @classmethod
    def of(
        cls,
        quality: float | None = None,
        bpp: float | None = None,
        size: int | None = None,
        lagrangian: float | None = None,
    ) -> Target:
        """The target that the arguments name; the default quality if all are None."""
        if quality is bpp is size is lagrangian is None:
            quality = DEFAULT_QUALITY
        return cls(quality, bpp, size, lagrangian)

    def bits(self, pixels: int) -> float | None:
        """The bits of the whole file for a picture of that many pixels; None if the rate is free."""
        if self.size is not None:
            return 8.0 * self.size
        if self.bpp is not None:
            return self.bpp * pixels
        return None


def check_rate(nearest: float, bpp: float) -> None:
    """Raises unless the nearest rate that a model has for a picture is the wanted one, both in bits per pixel.

    Raises:
        RateError: it is more than 3 % away.
    """
    if abs(nearest / bpp - 1) > RATE_TOLERANCE:
        raise RateError(
            f"a rate of {bpp:.4g} bpp is out of this model's reach: the nearest one for this picture is "
            f"{nearest:.4g} bpp",
            nearest,
        )
