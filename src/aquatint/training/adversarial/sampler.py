"""Trains a sampler of symbols as a Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, arXiv 1704.00028)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from aquatint.codecs import models
from aquatint.codecs.extreme.model import load
from aquatint.codecs.extreme.quantiser import LARGEST
from aquatint.codecs.extreme.sampler import NOISE, Critic, Sampler, Shape
from aquatint.errors import UsageError
from aquatint.training.data import Batch
from aquatint.training.distributed import Processes
from aquatint.training.recipes import ExtremeSampler


class SamplerTask:
    """Symbols of crops, as a trained model codes them, against those of a sampler.

    Arguments:
        recipe: how.
        device: where.

    Raises:
        UsageError: the model is of selective compression, or the crop does not fit.
        ModelError: there is no such model.
    """

    def __init__(self, recipe: ExtremeSampler, device: torch.device) -> None:
        model = load(models.find(recipe.encoder))
        architecture = model.architecture
        if architecture.selective:
            raise UsageError("a sampler is for models of generative compression; this one needs labels")
        self.recipe, self.model_hash = recipe, model.hash
        side, rest = divmod(recipe.crop, architecture.stride)
        if rest:
            raise UsageError(f"crop must be a multiple of {architecture.stride}, not {recipe.crop}")
        self.shape = Shape(architecture.channels[-1], side, side, recipe.width)
        self.encoder = model.network.encoder.to(device)
        self.generator = model.network.generator.to(device)
        torch.manual_seed(recipe.seed)
        self.network: nn.Module = Sampler(self.shape).to(device)
        self.critic = Critic(self.shape).to(device)
        self.phases: Mapping[str, nn.Module] = {"critic": self.critic, "sampler": self.network}

    def describe(self) -> dict[str, object]:
        return {"kind": "sampler", "encoder": self.model_hash.hex(), "shape": self.shape.to_json()}

    def backward(self, phase: str, batch: Batch, processes: Processes) -> dict[str, Tensor]:
        if phase == "sampler":
            if (batch.step + 1) % self.recipe.critic_steps:
                return {"loss": torch.zeros((), device=batch.pixels.device)}
            loss = -self.critic(self._made(batch)).mean()
            loss.backward()
            return {"loss": loss.detach()}
        real = self._symbols(batch)
        with torch.no_grad():
            fake = self._made(batch)
        distance = self.critic(real).mean() - self.critic(fake).mean()
        penalty = gradient_penalty(self.critic, real, fake, (batch.noise(real[:, :1, :1, :1]) + 0.5))
        loss = self.recipe.penalty * penalty - distance
        loss.backward()
        return {"loss": loss.detach(), "distance": distance.detach(), "penalty": penalty.detach()}

    @torch.no_grad()
    def _symbols(self, batch: Batch) -> Tensor:
        latents = self.encoder(batch.pixels, None, None).float()
        return latents.round().clamp(-LARGEST, LARGEST)

    def _made(self, batch: Batch) -> Tensor:
        return self.network(_noise(batch))

    @torch.no_grad()
    def validate(self, network: nn.Module, batch: Batch) -> dict[str, float]:
        """The critic's distance of held out pictures; and how far the frequencies of levels are from theirs."""
        real, fake = self._symbols(batch), network(_noise(batch)).round()
        shares = [
            torch.stack([(x == level).float().mean() for level in range(-LARGEST, LARGEST + 1)]) for x in (real, fake)
        ]
        return {
            "distance": float(self.critic(real).mean() - self.critic(fake).mean()),
            "levels": float((shares[0] - shares[1]).abs().sum() / 2),
        }

    @torch.no_grad()
    def samples(self, network: nn.Module, batch: Batch) -> Sequence[Tensor]:
        """Originals, what is decoded of them, pictures of the sampler, and of symbols at random."""
        real = self._symbols(batch)
        at_random = torch.floor((batch.noise(real) + 0.5) * (2 * LARGEST + 1)).clamp(max=2 * LARGEST) - LARGEST
        made = [real, network(_noise(batch)).round(), at_random]
        return [batch.pixels, *(self.generator(symbols, None).float() + 0.5 for symbols in made)]


def _noise(batch: Batch) -> Tensor:
    """Normally distributed, a function of each crop's seed."""
    made = [torch.randn(NOISE, generator=torch.Generator().manual_seed(int(seed) ^ 1)) for seed in batch.seeds]
    return torch.stack(made).to(batch.pixels.device)


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, places: Tensor) -> Tensor:
    """The mean of (|gradient| - 1)^2 at random places between real and fake samples.

    Arguments:
        critic: from samples (B, ...) to numbers (B,).
        real, fake: samples of one shape.
        places: from 0, real, to 1, fake, of a shape that broadcasts to theirs.
    """
    between = torch.lerp(real, fake, places.expand_as(real)).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()
