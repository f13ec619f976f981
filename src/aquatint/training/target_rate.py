"""The stage before an adversary: all networks for MSE, LPIPS, and a rate that is met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from aquatint.codecs.hyperprior.architecture import ARCHITECTURES, Architecture
from aquatint.codecs.hyperprior.network import Network
from aquatint.errors import UsageError
from aquatint.perception.lpips import create_lpips
from aquatint.training.data import Batch
from aquatint.training.distributed import Processes
from aquatint.training.precision import arithmetic
from aquatint.training.rate_control import rate_weights
from aquatint.training.recipes import TargetRate


class TargetRateTask:
    """Trains a network of the hyperprior family at given rates.

    Arguments:
        recipe: how.
        device: where.
        base: architecture and weights of a trained network to start from, or None.

    Raises:
        UsageError: the architecture is unknown, or its rates are not those of the recipe.
        DependencyError: weights of LPIPS are missing.
    """

    def __init__(
        self,
        recipe: TargetRate,
        device: torch.device,
        base: tuple[Architecture, Mapping[str, Tensor]] | None = None,
    ) -> None:
        if base is None and recipe.architecture not in ARCHITECTURES:
            raise UsageError(f"architecture {recipe.architecture!r} is not one of {', '.join(ARCHITECTURES)}")
        if not 0 < recipe.least_bpp <= recipe.bpp:
            raise UsageError(f"least_bpp must be above 0 and at most {recipe.bpp}, not {recipe.least_bpp}")
        self.recipe = recipe
        self.architecture = ARCHITECTURES[recipe.architecture] if base is None else base[0]
        if self.architecture.max_step == 1 and recipe.least_bpp < recipe.bpp:
            raise UsageError(f"the architecture has one rate; least_bpp must be {recipe.bpp}, not {recipe.least_bpp}")
        self.lpips = create_lpips(recipe.lpips, device=str(device))
        torch.manual_seed(recipe.seed)
        self.network = Network(self.architecture).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if base is not None:
            self.network.load_state_dict(base[1])
        self.phases: Mapping[str, nn.Module] = {"network": self.network}

    def describe(self) -> dict[str, object]:
        return {"kind": "hyperprior", "architecture": self.architecture.to_json()}

    def backward(self, phase: str, batch: Batch, processes: Processes) -> dict[str, Tensor]:
        step, target = self._rates(batch.places)
        area = batch.pixels.shape[2] * batch.pixels.shape[3]
        with arithmetic(self.recipe, batch.pixels.device):
            rate = self.network.rate(step)
            latents = self.network.latents(batch.pixels, rate)
            decoded, latent_bits, hyper_bits = self.network.code(latents, step, batch.noise)
            with torch.no_grad():
                _, *rounded = self.network.code(latents, step, None)
            pixels = self.network.pixels(decoded, rate).float()
        bpp = (rounded[0] + rounded[1]) / area
        weights = rate_weights(bpp, target, batch.step, below=self.recipe.below, warmup=self.recipe.easing)
        paid = (weights * (latent_bits + hyper_bits) / area).mean()
        distortion, metrics = self._distortion(pixels, batch.pixels)
        loss = distortion + paid
        loss.backward()
        return {"loss": loss.detach(), "bpp": bpp.mean(), "above": (bpp > target).float().mean(), **metrics}

    def _rates(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Steps, and the rates that are wanted at them: both are even in their logarithms."""
        ratio = self.recipe.least_bpp / self.recipe.bpp
        return self.architecture.max_step**places, self.recipe.bpp * ratio**places

    def _distortion(self, pixels: Tensor, originals: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        mse = (pixels - originals).square().mean((1, 2, 3))
        lpips = self.lpips(pixels, originals).mean()
        psnr = -10 * torch.log10(mse.detach().clamp(min=1e-8)).mean()
        return self.recipe.mse * mse.mean() + lpips, {"psnr": psnr, "lpips": lpips.detach()}

    @torch.no_grad()
    def validate(self, network: nn.Module, batch: Batch) -> dict[str, float]:
        """The distortion, plus what the bits would cost above their targets, with real rounding."""
        step, target = self._rates(batch.places)
        coded = network(batch.pixels, step, None)
        bpp = coded.bits / (batch.pixels.shape[2] * batch.pixels.shape[3])
        weights = rate_weights(bpp, target, self.recipe.steps, below=self.recipe.below, warmup=0)
        distortion, metrics = self._distortion(coded.pixels, batch.pixels)
        found = {"loss": distortion + (weights * bpp).mean(), "bpp": bpp.mean(), **metrics}
        return {name: float(value) for name, value in found.items()}

    @torch.no_grad()
    def samples(self, network: nn.Module, batch: Batch) -> Sequence[Tensor]:
        step, _ = self._rates(batch.places)
        return [batch.pixels, network(batch.pixels, step, None).pixels]
