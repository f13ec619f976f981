"""The C++ core: entropy coding, synthesis and fit of the overfitted codec, and Wasserstein distortion."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

# Grids, causal neighbours, parents, hidden width, residual layers, noise grids.
Sizes: TypeAlias = tuple[int, int, int, int, int, int]

def instruction_sets() -> list[str]:
    """Names of the instruction sets that the kernels can use here, narrowest first."""

def analyse(
    level: NDArray[np.float32],
    first: NDArray[np.float32],
    first_bias: NDArray[np.float32],
    second: NDArray[np.float32],
    second_bias: NDArray[np.float32],
    out: NDArray[np.float32],
    *,
    isa: str = "auto",
) -> NDArray[np.float32]:
    """Latents (H, W) of a grid from a level (3, H, W) of a picture's pyramid, whose edges are repeated.

    Args:
        first: (17, 75), from the 5x5 neighbourhood; its last row goes straight to the output.
        first_bias: (17,).
        second: (16, 16), from the first sixteen units, if they are positive.
        second_bias: (16,).
        out: (16,), from those of the second layer, if they are positive.

    Raises:
        ValueError: the level is not 3xHxW with H and W from 1 to 65535, or the instruction set is not available.
    """

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
        UnsupportedFeatureError: the origin of the parameters is not known.
        UsageError: an argument is out of range, or the instruction set is not available.
    """

def decode_latents(payload: bytes, height: int, width: int, isa: str = "auto") -> list[NDArray[np.int16]]:
    """Decodes only the latents: one array a grid, finest first. Arguments and errors are those of `decode`."""

def decode_parameters(payload: bytes) -> tuple[Sizes, list[NDArray[np.int32]], list[int], int, int]:
    """Decodes only the sizes, the parameters, their step exponents, the number of their origin, and the mask of grids
    that are coded (FORMAT.md, 2.1 and 2.2).
    """

def origin(architecture: Sizes, which: int) -> list[NDArray[np.int32]]:
    """What the parameters of the seven groups are counted from, in units of 2^-12; nothing but zeros for origin 0.

    Raises:
        UnsupportedFeatureError: there is no such origin for these networks.
        UsageError: a size or the number is out of range.
    """

def encode(
    architecture: Sizes,
    parameters: Sequence[NDArray[np.int32]],
    exponents: Sequence[int],
    origin: int,
    latents: Sequence[NDArray[np.int16]],
    isa: str = "auto",
) -> bytes:
    """Encodes a payload; grids of zeros are left out and every group gets the code scale that costs least.

    Args:
        architecture: sizes of the pyramid and of the networks.
        parameters: the integers of the seven groups.
        exponents: the step exponents of the groups.
        origin: number of the origin that the parameters are counted from in the payload.
        latents: one array a grid, finest first, of integers from -511 to 511.
        isa: as for `decode`.

    Raises:
        UsageError: a size, an exponent or a number lies outside what the format allows.
    """

def measure(
    architecture: Sizes,
    parameters: Sequence[NDArray[np.int32]],
    exponents: Sequence[int],
    origin: int,
    latents: Sequence[NDArray[np.int16]],
    isa: str = "auto",
) -> tuple[list[float], list[float]]:
    """The bits that `encode` would spend on each grid, and on each group of parameters. Its arguments are the same."""

def noise(grid: int, height: int, width: int, isa: str = "auto") -> NDArray[np.float32]:
    """A grid of common randomness, from its top left corner: the same numbers for every instruction set.

    Args:
        grid: 0 to 2.
        height, width: 1 to 65535.
        isa: as for `decode`.

    Raises:
        UsageError: an argument is out of range.
    """

class ColumnLayer:
    """A layer with integer weights, at a few places at once (FORMAT.md, 3.2).

    Args:
        weights: int16 of shape (O, I).
        bias: integers of shape (O,).
        exponent: of 2, by which sums are divided, from 0 to 20.
        limit: of the outputs' magnitude.
        isa: instruction set, see `instruction_sets`.

    Raises:
        ValueError: there are not as many biases as outputs, or the instruction set is not available.
    """

    def __init__(
        self, weights: NDArray[np.int16], bias: NDArray[np.float64], exponent: int, limit: float, *, isa: str = "auto"
    ) -> None: ...
    def __call__(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """The outputs (O, n) of the columns (I, n), integers in doubles: (W x + b) / 2^exponent, rounded and clipped.

        Raises:
            ValueError: the columns are not of the layer's inputs.
        """

class NumberTables:
    """Probability tables of a trained model (FORMAT.md, 3.3).

    Args:
        cumulative: uint16 of shape (T, 32): the 31 numbers from -15 to 15, and the escape; from 0 and not falling.
        shifts: uint8 of shape (T,): logarithms of the widths of the numbers' bins, 0 to 12.

    Raises:
        UsageError: a table is not valid.
    """

    def __init__(self, cumulative: NDArray[np.uint16], shifts: NDArray[np.uint8]) -> None: ...

def encode_numbers(tables: NumberTables, values: NDArray[np.int32], rows: NDArray[np.uint16]) -> bytes:
    """Encodes numbers from -2^15 to 2^15, each by the table whose row is given.

    Raises:
        UsageError: a number or a row is out of range, or there are not as many of both.
    """

class NumberReader:
    """Reads what `encode_numbers` wrote, in pieces.

    Raises:
        TruncatedError: the states are missing.
        CorruptStreamError: a state is not valid.
    """

    def __init__(self, tables: NumberTables, data: bytes) -> None: ...
    def read(self, rows: NDArray[np.uint16]) -> NDArray[np.int32]:
        """The next numbers, one a row.

        Raises:
            TruncatedError: the bytes end.
            CorruptStreamError: a number is out of range.
            UsageError: there is no such row.
        """

    def finish(self) -> None:
        """Checks that everything has been read; raises CorruptStreamError if not."""

class Fitter:
    """The fit of an overfitted codec to one picture, on the CPU; see `aquatint.codecs.overfitted.engine.Engine`.

    The same seeds, number of threads and instruction set give the same bits. One call at a time: a second one, from
    another thread or from a distortion, is a RuntimeError.

    Args:
        pixels: finite float32 of shape (3, H, W), H and W up to 65535.
        grids, context, parents, hidden, residuals, noise: see `Architecture`.
        skip_finest: the finest grid's latents stay zero, and take neither bits nor time.
        threads: 0 for one a core, up to 256; small pictures get fewer.
        isa: one of `instruction_sets()`, or "auto".

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        pixels: NDArray[np.float32],
        *,
        grids: int,
        context: int,
        parents: int,
        hidden: int,
        residuals: int,
        noise: int = 0,
        skip_finest: bool = False,
        threads: int = 0,
        isa: str = "auto",
    ) -> None: ...
    @property
    def parameters(self) -> NDArray[np.float32]: ...
    @parameters.setter
    def parameters(self, values: NDArray[np.float32]) -> None: ...
    def set_origin(self, values: NDArray[np.float32]) -> None: ...
    def separate_finest(self, shares: NDArray[np.float32] | None) -> None: ...
    def latents(self, k: int) -> NDArray[np.float32]: ...
    def set_latents(self, k: int, values: NDArray[np.float32]) -> None: ...
    def step(
        self,
        temperature: float,
        noise: float,
        lagrangian: float,
        latent_rate: float,
        network_rate: float,
        seed: int,
        distortion: Callable[[NDArray[np.float32]], tuple[float, NDArray[np.float32]]] | None = None,
    ) -> tuple[float, float]: ...
    def gradients(
        self,
        temperature: float,
        noise: float,
        lagrangian: float,
        seed: int,
        distortion: Callable[[NDArray[np.float32]], tuple[float, NDArray[np.float32]]] | None = None,
    ) -> tuple[float, float, NDArray[np.float32], list[NDArray[np.float32]]]: ...
    def evaluate(self) -> tuple[float, list[float]]: ...
    def render(self) -> NDArray[np.float32]: ...
    def reset_optimiser(self, latent_decay: float, network_decay: float) -> None: ...

class SteerableWasserstein:
    """Wasserstein distortion from one picture on the steerable stack, with its gradient, on the CPU.

    `aquatint.perception.wasserstein` defines it, with overlap 1, and `aquatint.perception.steerable` the stack;
    `aquatint.perception.objective` makes one. The same number of threads and instruction set give the same bits. One
    call at a time: a second one, from another thread, is a RuntimeError.

    Args:
        pixels: finite float32 of shape (3, H, W), H and W up to 65535.
        log2_sigma: float32 maps from 0 to 5, in units of the stride, for the five levels of the pyramid: (H, W), and
            half of the level before, rounded up.
        importance: maps of the same sizes from 0 to 1e6, by which places count in the distortion.
        colours: float32 (3, 3), from RGB to luma and chromas.
        pixel_gain, even_gain, odd_gain: of the responses.
        weight, pixel_weight: of the distortion and of the mean squared error in the value, 0 to 1e6.
        holds_finest: whether every second call takes over what the one before has found at the pyramid's finest level.
        threads: 0 for one a core, up to 256; small pictures get fewer.
        isa: one of `instruction_sets()`, or "auto".

    Raises:
        ValueError: an argument is out of range or of the wrong shape.
    """

    def __init__(
        self,
        pixels: NDArray[np.float32],
        log2_sigma: Sequence[NDArray[np.float32]],
        importance: Sequence[NDArray[np.float32]],
        *,
        colours: NDArray[np.float32],
        pixel_gain: float,
        even_gain: float,
        odd_gain: float,
        weight: float = 1.0,
        pixel_weight: float = 0.0,
        holds_finest: bool = False,
        threads: int = 0,
        isa: str = "auto",
    ) -> None: ...
    def __call__(self, image: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        """The value for an image of the picture's shape, and its gradient."""
