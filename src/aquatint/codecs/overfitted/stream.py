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
            As in the stream, `taps` are the differences from the default taps, and 0.5 is taken off `t2`.
        exponents: for every group of GROUPS the e of its step 2^-e, from 0 to its limit in MAX_EXPONENTS; 0 for a group
            without numbers.
        latents: int16 arrays, finest first, with the shapes of `architecture.grid_shapes(height, width)`.
    """

    architecture: Architecture
    parameters: Mapping[str, np.ndarray]
    exponents: tuple[int, ...]
    latents: Sequence[np.ndarray]


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
        UnsupportedFeatureError: a reserved byte is in use.
    """
    sizes, groups, exponents = native.decode_parameters(payload)
    architecture = Architecture(*sizes)
    shapes = architecture.arrays()
    parameters = {}
    for names, values in zip(GROUPS.values(), groups, strict=True):
        ends = np.cumsum([int(np.prod(shapes[name])) for name in names])
        for name, part in zip(names, np.split(values, ends[:-1]), strict=True):
            parameters[name] = part.reshape(shapes[name])
    latents = native.decode_latents(payload, height, width)
    return Stream(architecture, {name: parameters[name] for name in shapes}, tuple(exponents), tuple(latents))


def _native_arguments(stream: Stream) -> tuple[native.Sizes, list[np.ndarray], tuple[int, ...], list[np.ndarray]]:
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
    sizes = (
        architecture.grids,
        architecture.context,
        architecture.parents,
        architecture.hidden,
        architecture.residuals,
    )
    return sizes, groups, stream.exponents, latents


def _integers(array: np.ndarray, dtype: type[np.integer], name: str) -> np.ndarray:
    if not np.can_cast(array.dtype, dtype):
        raise UsageError(f"{name} has the type {array.dtype}, which does not fit in {np.dtype(dtype)}")
    return np.ascontiguousarray(array, dtype=dtype)
