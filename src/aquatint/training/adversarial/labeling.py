"""Trains a labeler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from aquatint.errors import ModelError, UsageError
from aquatint.perception.lpips import create_lpips
from aquatint.training import checkpoint
from aquatint.training.adversarial.labeler import STRIDE, Labeler, usage
from aquatint.training.data import Batch
from aquatint.training.distributed import Processes
from aquatint.training.precision import arithmetic
from aquatint.training.recipes import Labels


class LabelerTask:
    """An autoencoder whose codes are to be used evenly.

    Arguments:
        recipe: how.
        device: where.

    Raises:
        UsageError: crops are not a multiple of the labels' stride.
        DependencyError: weights of LPIPS are missing.
    """

    def __init__(self, recipe: Labels, device: torch.device) -> None:
        if recipe.crop % STRIDE:
            raise UsageError(f"crop must be a multiple of {STRIDE}, not {recipe.crop}")
        self.recipe = recipe
        self.lpips = create_lpips(recipe.lpips, device=str(device))
        torch.manual_seed(recipe.seed)
        self.network = Labeler(recipe.width, recipe.codes).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.phases: Mapping[str, nn.Module] = {"labeler": self.network}

    def describe(self) -> dict[str, object]:
        return {"kind": "labeler", "width": self.recipe.width, "codes": self.recipe.codes}

    def backward(self, phase: str, batch: Batch, processes: Processes) -> dict[str, Tensor]:
        with arithmetic(self.recipe, batch.pixels.device):
            pixels, quantised = self.network(batch.pixels)
        difference = self._difference(pixels.float(), batch.pixels)
        loss = (
            difference
            + self.recipe.commitment * quantised.commitment
            + quantised.movement
            + self.recipe.evenness * quantised.unevenness
        )
        loss.backward()
        _, perplexity = usage(quantised.labels, self.recipe.codes)
        return {
            "loss": loss.detach(),
            "difference": difference.detach(),
            "commitment": quantised.commitment.detach(),
            "unevenness": quantised.unevenness.detach(),
            "perplexity": torch.tensor(perplexity),
        }

    def _difference(self, pixels: Tensor, originals: Tensor) -> Tensor:
        """Absolute difference, of samples in [-1, 1], plus LPIPS, as for VQGAN (Esser et al. 2021, section 3.1)."""
        return 2 * (pixels - originals).abs().mean() + self.lpips(pixels, originals).mean()

    @torch.no_grad()
    def validate(self, network: nn.Module, batch: Batch) -> dict[str, float]:
        """How far reconstructions are from originals, and how many codes are used, as fractions of all."""
        pixels, quantised = network(batch.pixels)
        used, perplexity = usage(quantised.labels, self.recipe.codes)
        return {
            "loss": float(self._difference(pixels, batch.pixels)),
            "used": used / self.recipe.codes,
            "perplexity": perplexity / self.recipe.codes,
        }

    @torch.no_grad()
    def samples(self, network: nn.Module, batch: Batch) -> Sequence[Tensor]:
        pixels, quantised = network(batch.pixels)
        assert isinstance(network, Labeler)
        return [batch.pixels, pixels, network.picture(quantised.labels)]


def load_labeler(path: Path, device: torch.device) -> Labeler:
    """The trained labeler of a checkpoint, or of a run's folder, ready to label.

    Raises:
        ModelError: it is of something else, or no checkpoint at all.
    """
    state = checkpoint.load(path)
    if state["task"].get("kind") != "labeler":
        raise ModelError(f"{path} is a checkpoint of kind {state['task'].get('kind')!r}, not of a labeler")
    labeler = Labeler(state["task"]["width"], state["task"]["codes"])
    labeler.load_state_dict(state["mean"])
    return labeler.to(device).requires_grad_(False).eval()
