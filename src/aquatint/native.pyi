"""The C++ core: the fit of the overfitted codec."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

def instruction_sets() -> list[str]:
    """Names of the instruction sets that the kernels can use here, narrowest first."""

class Fitter:
    """The fit of an overfitted codec to one picture, on the CPU; see `aquatint.codecs.overfitted.engine.Engine`.

    The same seeds, number of threads and instruction set give the same bits. One call at a time: a second one, from
    another thread or from a distortion, is a RuntimeError.

    Args:
        pixels: finite float32 of shape (3, H, W), H and W up to 65535.
        grids, context, parents, hidden, residuals: see `Architecture`.
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
        threads: int = 0,
        isa: str = "auto",
    ) -> None: ...
    @property
    def parameters(self) -> NDArray[np.float32]: ...
    @parameters.setter
    def parameters(self, values: NDArray[np.float32]) -> None: ...
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
    def reset_optimiser(self) -> None: ...
