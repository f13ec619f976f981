"""The hyperprior family's objective: rate + lambda 255^2 MSE, at one rate or at all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from aquatint.codecs.hyperprior.architecture import ARCHITECTURES, Architecture
from aquatint.codecs.hyperprior.network import Coded, Network
from aquatint.errors import UsageError
from aquatint.training.data import Batch
from aquatint.training.distributed import Processes
from aquatint.training.mgda import min_norm_weights
from aquatint.training.precision import arithmetic
from aquatint.training.recipes import Posttrain, RateDistortion

_MGDA_RATES = 8  # as many as there are published models of one rate


class HyperpriorTask:
    """Trains a `Network`.

    Arguments:
        recipe: how.
        device: where.
        base: architecture and weights of a trained network to start from, or None.

    Raises:
        UsageError: the recipe's architecture is unknown, or does not suit its rates or the base.
    """

    def __init__(
        self,
        recipe: RateDistortion,
        device: torch.device,
        base: tuple[Architecture, Mapping[str, Tensor]] | None = None,
    ) -> None:
        self.recipe = recipe
        self.architecture = _architecture(recipe, None if base is None else base[0])
        if recipe.rates != "single" and self.architecture.max_step == 1:
            raise UsageError(f"the architecture {recipe.architecture} has one rate; rates cannot be {recipe.rates}")
        if not 1 <= recipe.step <= self.architecture.max_step:
            raise UsageError(f"step must be from 1 to {self.architecture.max_step}, not {recipe.step}")
        torch.manual_seed(recipe.seed)
        self.network = Network(self.architecture).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if base is not None:
            _load(self.network, base[1])
        self.phases: Mapping[str, nn.Module] = {"network": self.network}

    def describe(self) -> dict[str, object]:
        return {"kind": "hyperprior", "architecture": self.architecture.to_json()}

    def backward(self, phase: str, batch: Batch, processes: Processes) -> dict[str, Tensor]:
        if self.recipe.rates == "mgda":
            return self._backward_mgda(batch, processes)
        random = self.recipe.rates == "random"
        step = self.architecture.max_step**batch.places if random else torch.full_like(batch.places, self.recipe.step)
        with arithmetic(self.recipe, batch.pixels.device):
            coded = self._coded(batch, step)
        losses, metrics = self._losses(coded, batch.pixels, step)
        loss = losses.mean()
        loss.backward()
        return {"loss": loss.detach(), **metrics}

    def _backward_mgda(self, batch: Batch, processes: Processes) -> dict[str, Tensor]:
        """One gradient a rate, and their combination that lowers all losses (Kamisli et al. 2024, section 3.1)."""
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        gradients: list[list[Tensor]] = []
        all_losses, metrics = [], []
        for place in np.linspace(0, 1, _MGDA_RATES):
            step = torch.full_like(batch.places, self.architecture.max_step ** (1 - place))
            with arithmetic(self.recipe, batch.pixels.device):
                coded = self._coded(batch, step)
            losses, numbers = self._losses(coded, batch.pixels, step, balance=0)
            loss = losses.mean()
            found = torch.autograd.grad(loss, parameters, allow_unused=True)
            gradients.append([torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)])
            processes.average(gradients[-1])
            all_losses.append(loss.detach())
            metrics.append(numbers)
        flat = [torch.cat([part.reshape(-1) for part in parts]).double() for parts in gradients]
        gram = torch.stack(flat) @ torch.stack(flat).T
        losses = torch.stack(all_losses)
        processes.average([losses])
        divisors = {"none": torch.ones_like(losses), "loss": losses, "norm": gram.diagonal().sqrt()}
        factors = 1 / divisors[self.recipe.normalise].double().clamp(min=1e-12)
        weights = min_norm_weights((factors[:, None] * gram * factors).cpu().numpy())
        for k, weight in enumerate(torch.from_numpy(weights).to(factors) * factors):
            for parameter, part in zip(parameters, gradients[k], strict=True):
                scaled = part * weight.to(part.dtype)
                parameter.grad = scaled if parameter.grad is None else parameter.grad + scaled
        means = {name: torch.stack([numbers[name] for numbers in metrics]).mean() for name in metrics[0]}
        return {"loss": losses.mean(), **means, **{f"weight{k}": torch.tensor(w) for k, w in enumerate(weights)}}

    def _coded(self, batch: Batch, step: Tensor) -> Coded:
        """A batch with noise for rounding; or, in the hard steps, with rounding and without gradients for the analysis.

        The hyper-analysis has none then either, because that of rounding is zero.
        """
        if batch.step < (1 - self.recipe.hard) * self.recipe.steps:
            return self.network(batch.pixels, step, batch.noise)
        rate = self.network.rate(step)
        with torch.no_grad():
            latents = self.network.latents(batch.pixels, rate)
        decoded, latent_bits, hyper_bits = self.network.code(latents, step, None)
        return Coded(self.network.pixels(decoded, rate), latent_bits, hyper_bits)

    def _losses(
        self, coded: Coded, pixels: Tensor, step: Tensor, balance: float | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each picture, and means for the log."""
        balance = self.recipe.balance if balance is None else balance
        bpp = coded.bits / (pixels.shape[2] * pixels.shape[3])
        mse = 255**2 * ((coded.pixels.float() - pixels) ** 2).mean((1, 2, 3))
        loss = step**balance * (bpp + self.recipe.largest_lambda / step**2 * mse)
        psnr = 10 * torch.log10(255**2 / mse.detach().clamp(min=1e-3))
        return loss, {"bpp": bpp.detach().mean(), "psnr": psnr.mean()}

    def validation_steps(self) -> list[float]:
        """The steps that are validated: five from the largest to 1, or the only one."""
        if self.recipe.rates == "single":
            return [self.recipe.step]
        return [self.architecture.max_step ** (1 - place / 4) for place in range(5)]

    @torch.no_grad()
    def validate(self, network: nn.Module, batch: Batch) -> dict[str, float]:
        """The weighted loss over rates with real rounding, and bits and error at each of them."""
        found: dict[str, float] = {}
        losses = []
        for k, value in enumerate(self.validation_steps()):
            step = torch.full_like(batch.places, value)
            loss, metrics = self._losses(network(batch.pixels, step, None), batch.pixels, step)
            losses.append(float(loss.mean()))
            found |= {f"{name}{k}": float(value) for name, value in metrics.items()}
        return {"loss": math.fsum(losses) / len(losses), **found}

    @torch.no_grad()
    def samples(self, network: nn.Module, batch: Batch) -> Sequence[Tensor]:
        steps = [torch.full_like(batch.places, value) for value in self.validation_steps()]
        return [batch.pixels, *(network(batch.pixels, step, None).pixels for step in steps)]


def _architecture(recipe: RateDistortion, base: Architecture | None) -> Architecture:
    if isinstance(recipe, Posttrain):
        if base is None:
            raise UsageError("this recipe starts from a trained network: name its checkpoint with --from")
        return replace(
            base,
            max_step=recipe.max_step,
            offset=recipe.offset,
            conditioned=recipe.conditioned,
            hyper_step=recipe.hyper_step and base.entropy in ("scale", "mean-scale", "channelwise"),
        )
    if base is not None:
        return base
    if recipe.architecture not in ARCHITECTURES:
        raise UsageError(f"architecture {recipe.architecture!r} is not one of {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[recipe.architecture]


def _load(network: Network, weights: Mapping[str, Tensor]) -> None:
    """Copies weights; what a conditioned network has beyond them starts without effect.

    Raises:
        UsageError: the weights are not those of the network's parts.
    """
    own = network.state_dict()
    for name, value in weights.items():
        if name not in own:
            raise UsageError(f"the base has weights {name}, which the network has not")
        if own[name].shape == value.shape:
            own[name].copy_(value)
        elif name == "hyper_synthesis.0.weight":  # one more input, the place of the rate
            own[name].zero_()
            own[name][tuple(slice(0, side) for side in value.shape)] = value
        else:
            raise UsageError(
                f"the base's {name} has shape {tuple(value.shape)}, the network's {tuple(own[name].shape)}"
            )
