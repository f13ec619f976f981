"""The bytes of an overfitted picture: integers in, payload out, and back (docs/FORMAT.md, section 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aquatint import native
from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.errors import UsageError

# The parameter groups in their order in the stream, and the arrays in each: those of a group share a step.
GROUPS: dict[str, tuple[str, ...]] = {
    "entropy weights": ("w1", "w2", "w3"),
    "entropy biases": ("b1", "b2", "b3"),
    "upsampling": ("taps",),
    "synthesis weights": ("s1", "s2"),
    "synthesis biases": ("t1", "t2"),
    "residual weights": ("r",),
    "residual biases": ("u",),
}

# The finest step of each group is 2 to the minus this.
MAX_EXPONENTS = (10, 15, 15, 15, 15, 15, 15)

# Architecture, exponents, mask and the four states of the entropy coder, less the bits that these states carry: each
# holds 0 to 8 bits of the coded symbols, 4 on average.
OVERHEAD_BYTES = 4 + 7 + 2 + 16 - 2


@dataclass(frozen=True)
class Stream:
    """Everything that a payload says.

    Attributes:
        architecture: sizes of the pyramid and of the networks.
        parameters: int32 arrays with the names and shapes of `architecture.arrays()`, in units of their group's step.
            `taps` are differences from the default taps, and 0.5 is taken off `t2`.
        exponents: for every group of GROUPS the e of its step 2^-e, from 0 to its limit in MAX_EXPONENTS; 0 for a group
            without numbers.
        latents: int16 arrays, finest first, with the shapes of `architecture.grid_shapes(height, width)`.
        origin: number of the learned origin whose differences are coded; 0 for none.
    """

    architecture: Architecture
    parameters: Mapping[str, np.ndarray]
    exponents: tuple[int, ...]
    latents: Sequence[np.ndarray]
    origin: int = 0


@dataclass(frozen=True)
class Cost:
    """Exact bits of the coded symbols of a stream.

    Attributes:
        grids: of the latents, finest grid first.
        groups: of the parameters, in the order of GROUPS.
    """

    grids: tuple[float, ...]
    groups: tuple[float, ...]

    @property
    def payload_bytes(self) -> float:
        """The size of the payload, to within 3 bytes."""
        return OVERHEAD_BYTES + (sum(self.grids) + sum(self.groups)) / 8


def write(stream: Stream) -> bytes:
    """The payload of a stream.

    Raises:
        UsageError: a shape, an exponent or a number lies outside what the format allows.
    """
    return native.encode(*_native_arguments(stream))


def measure(stream: Stream) -> Cost:
    """What a stream costs, without writing it.

    Raises:
        UsageError: a shape, an exponent or a number lies outside what the format allows.
    """
    grids, groups = native.measure(*_native_arguments(stream))
    return Cost(tuple(grids), tuple(groups))


def read(payload: bytes, height: int, width: int) -> Stream:
    """The stream in a payload of a picture of `height` x `width` pixels.

    Raises:
        TruncatedError: the payload ends early.
        CorruptStreamError: a field or a symbol lies outside what the format allows.
        UnsupportedFeatureError: the origin is not known.
    """
    sizes, groups, exponents, origin, _ = native.decode_parameters(payload)
    architecture = Architecture(*sizes)
    latents = native.decode_latents(payload, height, width)
    return Stream(architecture, _by_name(groups, architecture), tuple(exponents), tuple(latents), origin)


def multiplications_per_pixel(payload: bytes) -> float:
    """Multiplications that decoding a payload takes for one pixel. Errors are those of `read`."""
    sizes, _, _, _, mask = native.decode_parameters(payload)
    architecture = Architecture(*sizes)
    return architecture.multiplications_per_pixel([bool(mask >> k & 1) for k in range(architecture.grids)])


def origin_of(architecture: Architecture, which: int) -> dict[str, np.ndarray]:
    """An origin that parameters are counted from: int32 arrays by name, in units of 2^-12.

    Args:
        architecture: sizes of the networks.
        which: its number in the stream, 0 to 255; 0 is all zeros.

    Raises:
        UnsupportedFeatureError: there is no such origin for these networks.
    """
    return _by_name(native.origin(_sizes(architecture), which), architecture)


def round_origin(origin: np.ndarray, exponent: int) -> np.ndarray:
    """An origin in units of 2^-exponent instead of 2^-12, halves rounded up."""
    return np.floor(origin * 2.0 ** (exponent - 12) + 0.5).astype(np.int32)


def _by_name(groups: Sequence[np.ndarray], architecture: Architecture) -> dict[str, np.ndarray]:
    shapes = architecture.arrays()
    arrays = {}
    for names, values in zip(GROUPS.values(), groups, strict=True):
        ends = np.cumsum([int(np.prod(shapes[name])) for name in names])
        for name, part in zip(names, np.split(values, ends[:-1]), strict=True):
            arrays[name] = part.reshape(shapes[name])
    return {name: arrays[name] for name in shapes}


def _sizes(architecture: Architecture) -> native.Sizes:
    return (
        architecture.grids,
        architecture.context,
        architecture.parents,
        architecture.hidden,
        architecture.residuals,
        architecture.noise,
    )


def _native_arguments(stream: Stream) -> tuple[native.Sizes, list[np.ndarray], tuple[int, ...], int, list[np.ndarray]]:
    architecture = stream.architecture
    shapes = architecture.arrays()
    for name, shape in shapes.items():
        if stream.parameters[name].shape != shape:
            raise UsageError(f"parameter {name} has the shape {stream.parameters[name].shape}, not {shape}")
    groups = [
        np.concatenate([_integers(stream.parameters[name], np.int32, name).ravel() for name in names])
        for names in GROUPS.values()
    ]
    if len(stream.exponents) != len(GROUPS):
        raise UsageError(f"{len(stream.exponents)} step exponents given, not {len(GROUPS)}")
    latents = [_integers(grid, np.int16, f"grid {k}") for k, grid in enumerate(stream.latents)]
    return _sizes(architecture), groups, stream.exponents, stream.origin, latents


def _integers(array: np.ndarray, dtype: type[np.integer], name: str) -> np.ndarray:
    if not np.can_cast(array.dtype, dtype):
        raise UsageError(f"{name} has the type {array.dtype}, which does not fit in {np.dtype(dtype)}")
    return np.ascontiguousarray(array, dtype=dtype)
