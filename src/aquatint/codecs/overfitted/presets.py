"""What `effort` and `quality` mean: steps, the decoder's architecture, and the Lagrangian."""

from __future__ import annotations

import math
from dataclasses import replace

from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.errors import UsageError

# Steps of the fit at each effort. Time is proportional to steps times pixels.
STEPS = {1: 100, 2: 170, 3: 300, 4: 500, 5: 1000, 6: 2000, 7: 3000, 8: 6000, 9: 12000, 10: 30000}
# Decoders by descending cost: about 1100, 400 and 280 multiplications a pixel. The cheap ones also fit fastest; the
# least is for pictures so small, or rates so low, that networks would take most of the bits.
LADDER = {
    "default": Architecture(context=14, parents=2, hidden=24, residuals=1),
    "fast": Architecture(context=6, parents=2, hidden=8, residuals=1),
    "least": Architecture(context=6, parents=2, hidden=4, residuals=0),
}
TYPICAL_PARAMETER_BITS = 6.5  # what a parameter takes on typical photographs
NETWORK_SHARE = 0.25  # of the expected bits, for the networks at most

# Quality is logarithmic in the Lagrangian: a quality of 50 gives about 0.3 bpp on a typical photograph.
LAGRANGIAN_AT_50 = 2.5e-3
QUALITIES_PER_DECADE = 25
# Fits skip the finest grid from this Lagrangian on, unless much of the picture is in its finest octave: the few latents
# are hardly worth their bits, and not their time, which is three quarters of the entropy network's. In smooth pictures,
# which take few bits, they draw flat patches, and are skipped from a smaller one on.
SKIPPING_FROM, SMOOTH_SKIPPING_FROM = 3.5e-3, 4e-4
SKIPPED_BPP = 0.19
SKIPPED_SHARE = 0.46  # of the expected bits, at the most


def steps(effort: int) -> int:
    """Optimisation steps at an effort of 1 to 10.

    Raises:
        UsageError: effort is outside its range.
    """
    if effort not in STEPS:
        raise UsageError(f"effort must be a whole number from 1 to 10, not {effort}")
    return STEPS[effort]


def architecture(effort: int, height: int, width: int, expected_bits: float) -> Architecture:
    """The decoder for an effort: the largest one whose networks take a small enough share of the bits to be expected.

    Pictures of few pixels have fewer grids.
    """
    grids = min(7, 1 + math.floor(math.log2(max(height, width))))
    names = list(LADDER)[1 if effort <= 3 else 0 :]

    def is_affordable(name: str) -> bool:
        return TYPICAL_PARAMETER_BITS * LADDER[name].parameter_count <= NETWORK_SHARE * expected_bits

    return replace(LADDER[next(filter(is_affordable, names), "least")], grids=grids)


def skips_finest(
    architecture: Architecture, lagrangian: float, expected_bpp: float, share: float, skipped_bpp: float
) -> bool:
    """Whether a fit leaves the finest grid at zero; with the smallest networks it never does, which have no room.

    Args:
        architecture: of the decoder.
        lagrangian: weight of a bit per pixel.
        expected_bpp: rate to expect.
        share: of the expected bits in the finest octave, see `rate_model.finest_share`.
        skipped_bpp: rate up to which a picture is smooth, see `SKIPPED_BPP`.
    """
    has_room = architecture.grids > 1 and architecture.hidden > LADDER["least"].hidden
    least = SMOOTH_SKIPPING_FROM if expected_bpp <= skipped_bpp else SKIPPING_FROM
    return has_room and lagrangian >= least and share <= SKIPPED_SHARE


def lagrangian_of_quality(quality: float) -> float:
    """The weight of a bit per pixel for a quality from 1 to 100; falls by a factor of ten in 25 units."""
    return LAGRANGIAN_AT_50 * 10 ** ((50 - quality) / QUALITIES_PER_DECADE)
