"""Trains a generator behind a frozen encoder, against a discriminator or against none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from aquatint.codecs import models
from aquatint.codecs.hyperprior.architecture import Architecture
from aquatint.codecs.hyperprior.model import load
from aquatint.codecs.hyperprior.network import RANGE, painted
from aquatint.codecs.hyperprior.thawed import FrozenEncoder
from aquatint.codecs.hyperprior.transforms import Transform, synthesis
from aquatint.errors import ModelError, UsageError
from aquatint.perception.lpips import create_lpips
from aquatint.training import checkpoint
from aquatint.training.adversarial.discriminator import Discriminator
from aquatint.training.adversarial.labeling import load_labeler
from aquatint.training.adversarial.patchgan import PatchGAN
from aquatint.training.adversarial.unet import LabelUNet
from aquatint.training.data import Batch
from aquatint.training.distributed import Processes
from aquatint.training.precision import arithmetic
from aquatint.training.recipes import Generative

NAMES = {"none": "perceptual", "patchgan": "hific", "labels": "illm"}  # of generators, by their discriminators


@dataclass(frozen=True)
class _Judged:
    """What a step's generator leaves to its discriminator."""

    fake: Tensor
    fake_latents: Tensor
    real: Tensor
    real_latents: Tensor
    real_labels: Tensor | None


class GenerativeTask:
    """A synthesis for the streams of a trained model; encoder and entropy model stay as they are.

    A step moves the generator first. The discriminator then judges the pictures from before that step.

    Arguments:
        recipe: how.
        device: where.
        base: a run of another generator for the same model to start from; None to start from the model's own
            synthesis, or from nothing if the recipe names another structure.

    Raises:
        UsageError: parts of the recipe do not fit together.
        ModelError: the model, the labeler or the base is missing or of another kind.
        DependencyError: weights of LPIPS are missing.
    """

    def __init__(self, recipe: Generative, device: torch.device, base: Path | None = None) -> None:
        file = models.find(recipe.encoder)
        model = load(file)
        self.recipe, self.model_hash = recipe, model.hash
        self.architecture = _architecture(recipe, model.architecture)
        self.encoder = FrozenEncoder(model, file).to(device)
        self.lpips = create_lpips(recipe.lpips, device=str(device))
        torch.manual_seed(recipe.seed)
        self.network = synthesis(self.architecture).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if base is not None:
            self.network.load_state_dict(_weights(base, self.describe()))
        elif replace(self.architecture, noise=0) == model.architecture:
            self._start_from(model.network.synthesis)
        self.phases: Mapping[str, nn.Module] = {"generator": self.network}
        self.discriminator: Discriminator | None = None
        self.labeler = None
        if recipe.discriminator != "none":
            if recipe.discriminator == "labels":
                if not recipe.labeler:
                    raise UsageError("a discriminator of labels needs a labeler: name its run with --labeler")
                self.labeler = load_labeler(Path(recipe.labeler), device)
            discriminator = self._discriminator().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.discriminator = discriminator
            self.phases = {**self.phases, "discriminator": discriminator}
        _check(recipe, self.discriminator)
        self._judged: _Judged | None = None

    def _discriminator(self) -> PatchGAN | LabelUNet:
        latents, width = self.architecture.latents, self.recipe.discriminator_width
        if self.labeler is None:
            return PatchGAN(latents, width=width)
        return LabelUNet(latents, len(self.labeler.quantiser.codes), width=width)

    def _start_from(self, own: Transform) -> None:
        """Copies the model's own synthesis; what is made of common randomness at first is left to chance."""
        made = self.network.state_dict()
        for key, value in own.state_dict().items():
            made[key][: len(value)].copy_(value)

    def describe(self) -> dict[str, object]:
        return {
            "kind": "generator",
            "name": NAMES[self.recipe.discriminator] + ("-noise" if self.recipe.noise else ""),
            "encoder": self.model_hash.hex(),
            "architecture": self.architecture.to_json(),
        }

    def backward(self, phase: str, batch: Batch, processes: Processes) -> dict[str, Tensor]:
        with arithmetic(self.recipe, batch.pixels.device):
            return self._backward_generator(batch) if phase == "generator" else self._backward_discriminator()

    def _backward_generator(self, batch: Batch) -> dict[str, Tensor]:
        latents, rate = self.encoder(batch.pixels, batch.places)
        seen = latents / RANGE
        every = slice(None)
        # Places of rates rise along the batch: halves of it would have different rates.
        painted_ones, real_ones = (every, every) if self._paired else (slice(0, None, 2), slice(1, None, 2))
        given = None if rate is None else rate[painted_ones]
        pixels = painted(self.network, latents[painted_ones], given, seed=int(batch.seeds[0]))
        fake = pixels.detach().float().requires_grad_()
        originals = batch.pixels[painted_ones]
        distortion, metrics = self._distortion(fake, originals)
        (gradient,) = torch.autograd.grad(distortion, fake)
        found = {"loss": distortion.detach(), **metrics}
        if self.discriminator is not None:
            self.phases["discriminator"].eval()  # judging is no step of the power iteration
            labels = None if self.labeler is None else self.labeler.labels(batch.pixels)
            adversarial = self.recipe.adversarial * self.discriminator.generator_loss(
                self.discriminator(fake, seen[painted_ones]), None if labels is None else labels[painted_ones]
            )
            (pull,) = torch.autograd.grad(adversarial, fake)
            # How hard the discriminator pulls, as a fraction of the distortion: weights alone do not say.
            ratio = pull.norm() / gradient.norm().clamp(min=1e-12)
            factor = self.recipe.pull / ratio.clamp(min=1e-12) if self.recipe.pull else torch.ones_like(ratio)
            if batch.step < self.recipe.head_start:
                factor = torch.zeros_like(ratio)
            found |= {"adversarial": factor * adversarial.detach(), "pull": factor * ratio}
            found |= {"loss": found["loss"] + found["adversarial"], "weight": factor * self.recipe.adversarial}
            gradient = gradient + factor * pull
            self._judged = _Judged(
                fake.detach(),
                seen[painted_ones],
                batch.pixels[real_ones],
                seen[real_ones],
                None if labels is None else labels[real_ones],
            )
        pixels.backward(gradient.to(pixels.dtype))
        return found

    def _backward_discriminator(self) -> dict[str, Tensor]:
        judged, discriminator = self._judged, self.discriminator
        assert judged is not None
        assert discriminator is not None
        self.phases["discriminator"].train()
        real, fake = discriminator(judged.real, judged.real_latents), discriminator(judged.fake, judged.fake_latents)
        loss = discriminator.discriminator_loss(real.float(), fake.float(), judged.real_labels)
        loss.backward()
        self._judged = None
        return {"loss": loss.detach()}

    @property
    def _paired(self) -> bool:
        return self.discriminator is None or self.discriminator.paired

    def _distortion(self, pixels: Tensor, originals: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        mse = (pixels - originals).square().mean((1, 2, 3))
        lpips = self.lpips(pixels, originals).mean()
        psnr = -10 * torch.log10(mse.detach().clamp(min=1e-8)).mean()
        return self.recipe.mse * mse.mean() + lpips, {"psnr": psnr, "lpips": lpips.detach()}

    @torch.no_grad()
    def validate(self, network: nn.Module, batch: Batch) -> dict[str, float]:
        """Error and LPIPS at the highest, the middle and the lowest rate; only without adversary is there a loss."""
        found: dict[str, float] = {}
        distortions = []
        for k, place in enumerate((0.0, 0.5, 1.0)):
            distortion, metrics = self._distortion(self._decoded(network, batch, place), batch.pixels)
            distortions.append(float(distortion))
            found |= {f"{name}{k}": float(value) for name, value in metrics.items()}
        name = "loss" if self.discriminator is None else "distortion"
        return {name: sum(distortions) / len(distortions), **found}

    @torch.no_grad()
    def samples(self, network: nn.Module, batch: Batch) -> Sequence[Tensor]:
        """Originals; then, at the lowest and at the middle rate, the model's own synthesis and the generator."""
        own = self.encoder.network.synthesis
        return [batch.pixels, *(self._decoded(one, batch, place) for place in (1.0, 0.5) for one in (own, network))]

    def _decoded(self, network: nn.Module, batch: Batch, place: float) -> Tensor:
        latents, rate = self.encoder(batch.pixels, torch.full_like(batch.places, place))
        return painted(network, latents, rate)


def _architecture(recipe: Generative, model: Architecture) -> Architecture:
    """What the generator is the synthesis of."""
    if not recipe.width:
        return replace(model, noise=recipe.noise)
    return replace(model, transform="hific", channels=(recipe.width,), blocks=recipe.blocks, noise=recipe.noise)


def _check(recipe: Generative, discriminator: Discriminator | None) -> None:
    sides = 16 if discriminator is None else max(16, discriminator.sides)
    if recipe.crop % sides:
        raise UsageError(f"crop must be a multiple of {sides} with this discriminator, not {recipe.crop}")
    if discriminator is not None and not discriminator.paired and recipe.batch % 2:
        raise UsageError(f"half of a batch is real and half decoded: batch must be even, not {recipe.batch}")


def _weights(path: Path, wanted: Mapping[str, object]) -> Mapping[str, Tensor]:
    """Mean weights of another generator for the same model."""
    state = checkpoint.load(path)
    for key in ("kind", "encoder", "architecture"):
        if state["task"].get(key) != wanted[key]:
            raise ModelError(f"{path} has {key} {state['task'].get(key)!r}; {wanted[key]!r} is needed to start from it")
    return state["mean"]
