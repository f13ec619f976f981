"""What a training needs to know about what it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor, nn

from aquatint.training.data import Batch
from aquatint.training.distributed import Processes


class Task(Protocol):
    """Networks and their objective.

    A step of the optimiser has one or more phases, each with parameters of its own: one for a codec, two for a
    generator and a discriminator.

    Attributes:
        network: what is trained for: its running mean is validated and exported.
        phases: for each phase the module whose parameters it moves, in the order of a step.
    """

    network: nn.Module
    phases: Mapping[str, nn.Module]

    def backward(self, phase: str, batch: Batch, processes: Processes) -> dict[str, Tensor]:
        """Adds gradients to the phase's parameters, from this process's share of the batch.

        Returns:
            Numbers for the log, among them "loss".
        """
        ...

    def validate(self, network: nn.Module, batch: Batch) -> dict[str, float]:
        """Numbers for the log about a network like `network`.

        The best checkpoint is that of the lowest "loss"; without one, which an adversary leaves without meaning, there
        is the last checkpoint alone.
        """
        ...

    def samples(self, network: nn.Module, batch: Batch) -> Sequence[Tensor]:
        """Columns of a picture to look at: batches of shape (B, 3, S, S), the originals first."""
        ...

    def describe(self) -> dict[str, object]:
        """What must be known to build the network anew, as values that JSON has."""
        ...
