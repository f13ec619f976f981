"""What `effort` and `quality` mean: steps, the decoder's architecture, and the Lagrangian."""

from __future__ import annotations

import math

from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.errors import UsageError

# Steps of the fit at each effort. Time is proportional to steps times pixels.
STEPS = {1: 60, 2: 125, 3: 250, 4: 500, 5: 1000, 6: 2000, 7: 3000, 8: 6000, 9: 12000, 10: 30000}
# Decoders of about 300, 1000 and 2000 multiplications a pixel: the cheap one also fits fastest.
FAST = Architecture(context=8, parents=0, hidden=8, residuals=1)
DEFAULT = Architecture(context=16, parents=0, hidden=16, residuals=2)
BEST = Architecture(context=24, parents=0, hidden=40, residuals=2)

# Quality is logarithmic in the Lagrangian: a quality of 50 gives about 0.3 bpp on a typical photograph.
LAGRANGIAN_AT_50 = 2.5e-3
QUALITIES_PER_DECADE = 25
# Rate and Lagrangian of typical photographs: bpp ~ 0.3 (lagrangian / 2.5e-3)^(-1/1.6), a fit to C3's published curve.
RATE_EXPONENT = 1.6
TYPICAL_BPP = 0.3


def steps(effort: int) -> int:
    """Optimisation steps at an effort of 1 to 10.

    Raises:
        UsageError: effort is outside its range.
    """
    if effort not in STEPS:
        raise UsageError(f"effort must be a whole number from 1 to 10, not {effort}")
    return STEPS[effort]


def architecture(effort: int, height: int, width: int) -> Architecture:
    """The decoder for an effort and a size: small pictures get fewer grids, since each must save more than it costs."""
    base = FAST if effort <= 3 else DEFAULT if effort <= 8 else BEST
    if height * width < 128 * 128:  # a few thousand bits of network would outweigh the latents
        base = FAST
    grids = min(base.grids, 1 + math.floor(math.log2(max(height, width))))
    return Architecture(grids, base.context, base.parents, base.hidden, base.residuals)


def lagrangian_of_quality(quality: float) -> float:
    """The weight of a bit per pixel for a quality from 1 to 100; falls by a factor of ten in 25 units."""
    return LAGRANGIAN_AT_50 * 10 ** ((50 - quality) / QUALITIES_PER_DECADE)


def lagrangian_of_bpp(bpp: float) -> float:
    """A first guess of the Lagrangian for a rate; the fit corrects it."""
    return LAGRANGIAN_AT_50 * (bpp / TYPICAL_BPP) ** -RATE_EXPONENT
