"""The sizes of an overfitted decoder, and the order of its parameters (docs/FORMAT.md, 2.1 and 2.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LATENT_LIMIT = 511  # latents are integers from -511 to 511


@dataclass(frozen=True)
class Architecture:
    """Sizes of the latent pyramid and of the networks.

    Attributes:
        grids: number of latent grids; grid k has ceil(H / 2^k) x ceil(W / 2^k) latents.
        context: causal neighbours in the same grid that the entropy network sees.
        parents: neighbours in the next coarser grid that it sees as well.
        hidden: width of the synthesis network, a multiple of 4.
        residuals: residual 3x3 layers at the end of the synthesis.
        noise: grids of common randomness that the synthesis sees beside the latents, 0 to 3; grid k of them has the
            size of latent grid k, and costs no bits.
    """

    grids: int = 7
    context: int = 16
    parents: int = 0
    hidden: int = 16
    residuals: int = 2
    noise: int = 0

    @property
    def inputs(self) -> int:
        """Inputs of the entropy network, which is also its width."""
        return self.context + self.parents

    def grid_shapes(self, height: int, width: int) -> list[tuple[int, int]]:
        """Rows and columns of every grid, finest first."""
        return [(-(-height // 2**k), -(-width // 2**k)) for k in range(self.grids)]

    def arrays(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameter arrays, in the order in which they are stored one after the other."""
        inputs, hidden = self.inputs, self.hidden
        shapes: dict[str, tuple[int, ...]] = {
            "w1": (inputs, inputs),
            "b1": (inputs,),
            "w2": (inputs, inputs),
            "b2": (inputs,),
            "w3": (2, inputs),
            "b3": (2,),
            "taps": (self.grids - 1, 4),
            "s1": (hidden, self.grids + self.noise),
            "t1": (hidden,),
            "s2": (3, hidden),
            "t2": (3,),
            "r": (self.residuals, 3, 3, 3, 3),
            "u": (self.residuals, 3),
        }
        return shapes

    @property
    def parameter_count(self) -> int:
        """Number of parameters of all networks."""
        return sum(math.prod(shape) for shape in self.arrays().values())

    def multiplications_per_pixel(self, coded: Sequence[bool]) -> float:
        """Multiplications that the decoder needs for one pixel: entropy network, upsampling and synthesis.

        Args:
            coded: for each grid, whether it has latents; the others are zero, and take no entropy network.
        """
        latents = sum(4.0**-k for k, is_coded in enumerate(coded) if is_coded)
        entropy = (2 * self.inputs**2 + 2 * self.inputs) * latents
        # Doubling a channel to n samples takes 4 multiplications for each of n/2 intermediate and n final samples.
        upsampling = sum(
            6 * (channels - 1 - k) * 4.0**-k for channels in (self.grids, self.noise) for k in range(channels - 1)
        )
        synthesis = self.hidden * (self.grids + self.noise + 3) + 81 * self.residuals
        return entropy + upsampling + synthesis
