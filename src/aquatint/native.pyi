"""The C++ core: entropy coding and synthesis of the overfitted codec."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

# Grids, causal neighbours, parents, hidden width, residual layers.
Sizes: TypeAlias = tuple[int, int, int, int, int]

def instruction_sets() -> list[str]:
    """Names of the instruction sets that the kernels can use here, narrowest first."""

def decode(
    payload: bytes,
    height: int,
    width: int,
    depth: int = 8,
    grayscale: bool = False,
    threads: int = 0,
    isa: str = "auto",
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Decodes a payload to samples of shape (height, width, 3), or (height, width) if grayscale.

    Args:
        height, width: of the picture, 1 to 65535.
        depth: bits per sample, 8 or 16.
        threads: most threads to use; 0 for as many as there are cores. Entropy decoding takes one of them.
        isa: one of `instruction_sets()`; or "auto": the environment variable AQUATINT_SIMD, or else the widest one.

    Raises:
        TruncatedError: the payload ends early.
        CorruptStreamError: a field or a symbol lies outside what the format allows.
        UnsupportedFeatureError: a reserved byte is in use.
        UsageError: an argument is out of range, or the instruction set is not available.
    """

def decode_latents(payload: bytes, height: int, width: int, isa: str = "auto") -> list[NDArray[np.int16]]:
    """Decodes only the latents: one array a grid, finest first. Arguments and errors are those of `decode`."""

def decode_parameters(payload: bytes) -> tuple[Sizes, list[NDArray[np.int32]], list[int]]:
    """Decodes only the sizes, the integers of the seven parameter groups, and their step exponents (FORMAT.md, 2.2)."""

def encode(
    architecture: Sizes,
    parameters: Sequence[NDArray[np.int32]],
    exponents: Sequence[int],
    latents: Sequence[NDArray[np.int16]],
    isa: str = "auto",
) -> bytes:
    """Encodes a payload; grids of zeros are left out and every group gets the code scale that costs least.

    Args:
        architecture: sizes of the pyramid and of the networks.
        parameters: the integers of the seven groups.
        exponents: the step exponents of the groups.
        latents: one array a grid, finest first, of integers from -511 to 511.
        isa: as for `decode`.

    Raises:
        UsageError: a size, an exponent or a number lies outside what the format allows.
    """

def measure(
    architecture: Sizes,
    parameters: Sequence[NDArray[np.int32]],
    exponents: Sequence[int],
    latents: Sequence[NDArray[np.int16]],
    isa: str = "auto",
) -> tuple[list[float], list[float]]:
    """The bits that `encode` would spend on each grid, and on each group of parameters. Its arguments are the same."""
