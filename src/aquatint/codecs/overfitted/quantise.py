"""Rounding what a fit has found: latents to integers, network parameters to integers times a power of two."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from aquatint.codecs.overfitted.architecture import LATENT_LIMIT
from aquatint.codecs.overfitted.initialise import DEFAULT_COLOUR, DEFAULT_TAPS
from aquatint.codecs.overfitted.stream import round_origin

# What a parameter of integer 0 is (docs/FORMAT.md, 2.2).
DEFAULTS: Mapping[str, np.ndarray | float] = {"taps": DEFAULT_TAPS, "t2": DEFAULT_COLOUR}
PARAMETER_LIMIT = 32767
# Step exponents worth trying, finest first; finer steps only cost bits. In the order of `stream.GROUPS`.
EXPONENTS = (
    range(9, -1, -1),
    range(9, -1, -1),
    range(11, -1, -1),
    range(12, -1, -1),
    range(12, -1, -1),
    range(11, -1, -1),
    range(11, -1, -1),
)
# Scales of the Laplace distributions that parameters are coded with (docs/FORMAT.md, 2.3).
CODE_SCALES = 2.0 ** ((4 + 5 * np.arange(16) - 40) / 8)


def round_latents(latents: list[np.ndarray]) -> list[np.ndarray]:
    """Rounds latents, float arrays in quantiser bins, to int16.

    A dead zone around zero does not pay here: latents come to rest near the thresholds, and many are predicted.
    """
    return [np.clip(np.floor(grid + 0.5), -LATENT_LIMIT, LATENT_LIMIT).astype(np.int16) for grid in latents]


def quantise_parameters(arrays: Mapping[str, np.ndarray], exponent: int) -> dict[str, np.ndarray]:
    """Parameters as int32 multiples of 2^-exponent, counted from their defaults."""
    return {
        name: np.clip(
            np.rint((array - DEFAULTS.get(name, 0)) * 2.0**exponent), -PARAMETER_LIMIT, PARAMETER_LIMIT
        ).astype(np.int32)
        for name, array in arrays.items()
    }


def restore_parameters(integers: Mapping[str, np.ndarray], exponent: int) -> dict[str, np.ndarray]:
    """The inverse of `quantise_parameters`, float32."""
    return {
        name: (array * 2.0**-exponent + DEFAULTS.get(name, 0)).astype(np.float32) for name, array in integers.items()
    }


def laplace_bits(integers: np.ndarray) -> float:
    """Bits of integers under the best of the Laplace distributions that the format offers."""
    magnitude = np.abs(integers).ravel()[:, None]
    tails = np.exp(-0.5 / CODE_SCALES)
    outside = 0.5 * (np.exp((0.5 - magnitude) / CODE_SCALES) - np.exp((-0.5 - magnitude) / CODE_SCALES))
    probability = np.where(magnitude == 0, 1 - tails, outside)
    return float(-np.log2(np.maximum(probability, 2.0**-24)).sum(axis=0).max())


def coded_bits(integers: Mapping[str, np.ndarray], origin: Mapping[str, np.ndarray], exponent: int) -> float:
    """Bits of a group of parameters, of which the stream has the differences from the origin."""
    return laplace_bits(
        np.concatenate([(array - round_origin(origin[name], exponent)).ravel() for name, array in integers.items()])
    )


def choose_step(
    arrays: Mapping[str, np.ndarray],
    origin: Mapping[str, np.ndarray],
    exponents: range,
    cost: Callable[[Mapping[str, np.ndarray]], float],
    bit_cost: float,
) -> tuple[dict[str, np.ndarray], int]:
    """Searches the step of one group of parameters that costs least.

    Args:
        arrays: the parameters by name.
        origin: what they are counted from in the stream, see `stream.origin_of`.
        exponents: to try, finest first; the search stops when the cost has risen twice in a row.
        cost: of the picture when the group has the given values, without the bits of the group itself.
        bit_cost: of one bit.

    Returns:
        The integers by name, and the step exponent.
    """
    best, rises = np.inf, 0
    chosen: tuple[dict[str, np.ndarray], int] = ({}, 0)
    for exponent in exponents:
        integers = quantise_parameters(arrays, exponent)
        bits = coded_bits(integers, origin, exponent)
        total = cost(restore_parameters(integers, exponent)) + bit_cost * bits
        if total < best:
            best, rises, chosen = total, 0, (integers, exponent)
        elif (rises := rises + 1) == 2:
            break
    return chosen
