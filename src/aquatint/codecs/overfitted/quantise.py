"""Rounding what a fit has found: latents to integers, network parameters to integers times a power of two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aquatint.codecs.overfitted.architecture import LATENT_LIMIT, Architecture
from aquatint.codecs.overfitted.initialise import DEFAULT_COLOUR, DEFAULT_TAPS, split

INTEGER_LIMIT = 32767


@dataclass(frozen=True)
class Group:
    """Parameter arrays that share a step and a code scale (docs/FORMAT.md, 2.2).

    Attributes:
        arrays: their names, in the order of the stream.
        exponents: step exponents to try, finest first; the step is 2^-exponent.
    """

    arrays: tuple[str, ...]
    exponents: tuple[int, ...]


GROUPS = (
    Group(("w1", "w2", "w3"), tuple(range(9, 1, -1))),
    Group(("b1", "b2", "b3"), tuple(range(9, 1, -1))),
    Group(("taps",), tuple(range(11, 2, -1))),
    Group(("s1", "s2"), tuple(range(13, 2, -1))),
    Group(("t1", "t2"), tuple(range(13, 2, -1))),
    Group(("r",), tuple(range(12, 2, -1))),
    Group(("u",), tuple(range(12, 2, -1))),
)
# Parameters are stored relative to these.
ORIGINS: dict[str, np.ndarray | float] = {"taps": DEFAULT_TAPS, "t2": DEFAULT_COLOUR}


def round_latents(latents: list[np.ndarray], dead_zone: float) -> list[np.ndarray]:
    """Rounds latents to int16, those within one of zero with a dead zone.

    Args:
        latents: float arrays in quantiser bins.
        dead_zone: in [-0.5, 0.5]; a latent becomes non-zero from a magnitude of 0.5 + dead_zone on. Larger saves bits.
    """
    rounded = []
    for grid in latents:
        magnitude = np.abs(grid)
        offset = np.where(magnitude < 1, np.float32(0.5 - dead_zone), np.float32(0.5))
        integers = np.sign(grid) * np.minimum(np.floor(magnitude + offset), LATENT_LIMIT)
        rounded.append(integers.astype(np.int16))
    return rounded


def integers_of(values: np.ndarray, exponent: int) -> np.ndarray:
    """Values (relative to their origin) as int32 multiples of 2^-exponent."""
    return np.clip(np.rint(values * 2.0**exponent), -INTEGER_LIMIT, INTEGER_LIMIT).astype(np.int32)


def group_values(group: Group, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The parameters of a group relative to their origins, flat."""
    return np.concatenate([(arrays[name] - ORIGINS.get(name, 0)).ravel() for name in group.arrays])


def set_group(group: Group, arrays: dict[str, np.ndarray], values: np.ndarray) -> None:
    """The inverse of `group_values`: writes into the arrays."""
    start = 0
    for name in group.arrays:
        array = arrays[name]
        array[...] = values[start : start + array.size].reshape(array.shape) + ORIGINS.get(name, 0)
        start += array.size


def choose_steps(
    parameters: np.ndarray,
    architecture: Architecture,
    cost: Callable[[], float],
    parameter_cost: Callable[[int, np.ndarray], float],
) -> tuple[list[np.ndarray], list[int]]:
    """Searches the quantisation step of each group, one after the other, for the least total cost.

    Args:
        parameters: the flat parameter vector that `cost` looks at; left at its quantised values.
        architecture: of the networks.
        cost: rate-distortion cost of the picture with the present `parameters`.
        parameter_cost: the same for the bits of a group's integers: (group index, integers) -> cost.

    Returns:
        The integers of every group, and the step exponents.
    """
    arrays = split(parameters, architecture)
    all_integers, exponents = [], []
    for index, group in enumerate(GROUPS):
        values = group_values(group, arrays)
        if values.size == 0:
            all_integers.append(np.zeros(0, np.int32))
            exponents.append(0)
            continue
        best = np.inf
        chosen: tuple[np.ndarray, int] | None = None
        worse = 0
        for exponent in group.exponents:
            integers = integers_of(values, exponent)
            set_group(group, arrays, (integers * 2.0**-exponent).astype(np.float32))
            total = cost() + parameter_cost(index, integers)
            if total < best:
                best, chosen, worse = total, (integers, exponent), 0
            elif (worse := worse + 1) == 2:  # the cost has one valley, up to noise
                break
        assert chosen is not None
        set_group(group, arrays, (chosen[0] * 2.0 ** -chosen[1]).astype(np.float32))
        all_integers.append(chosen[0])
        exponents.append(chosen[1])
    return all_integers, exponents
