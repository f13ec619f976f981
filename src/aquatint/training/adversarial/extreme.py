"""The objective of the extreme codec: least-squares GAN, features, and the mean squared error of what is preserved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from aquatint.codecs.extreme import regions
from aquatint.codecs.extreme.architecture import ARCHITECTURES, STRIDE, Extreme
from aquatint.codecs.extreme.context import symbol_bits
from aquatint.codecs.extreme.network import Labels, Network, feathered
from aquatint.codecs.extreme.quantiser import LARGEST, LEVELS
from aquatint.errors import UsageError
from aquatint.perception.features import NetworkFeatures, steerable_stack
from aquatint.perception.features_networks import Vgg
from aquatint.perception.lpips import create_lpips
from aquatint.training.adversarial import multiscale
from aquatint.training.adversarial.multiscale import MultiScale
from aquatint.training.adversarial.selection import random_box, random_instances
from aquatint.training.data import Batch
from aquatint.training.distributed import Processes
from aquatint.training.precision import arithmetic
from aquatint.training.recipes import ExtremeRecipe

_MEMORY = 0.99  # of the frequencies of levels
# Weights of the last layers of VGG19's blocks in pix2pixHD; where a file of weights ends earlier, so do these.
_VGG_LAYERS = {"relu1_1": 1 / 32, "relu2_1": 1 / 16, "relu3_1": 1 / 8, "relu4_1": 1 / 4, "relu5_1": 1.0}

Distance = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class _Coded:
    """What became of a batch: the known labels, the mask (B, 1, h, w), symbols and pixels."""

    labels: Labels | None
    mask: Tensor
    symbols: Tensor
    pixels: Tensor


@dataclass(frozen=True)
class _Judged:
    """What a step's generator leaves to the context model and to the discriminator."""

    symbols: Tensor
    mask: Tensor
    channels: Tensor
    fake: Tensor


class ExtremeTask:
    """Trains a `Network` against discriminators, or for the squared error alone.

    A step moves encoder and generator first, then the context model on their symbols, then the discriminators on the
    pictures from before the step.

    Arguments:
        recipe: how.
        device: where.
        base: architecture and weights of a network to start from, or None.

    Raises:
        UsageError: the recipe's architecture is unknown, the base has another one, or parts do not fit together.
        DependencyError: weights of the perceptual distance are missing.
    """

    def __init__(
        self, recipe: ExtremeRecipe, device: torch.device, base: tuple[Extreme, Mapping[str, Tensor]] | None = None
    ) -> None:
        self.recipe = recipe
        if recipe.architecture not in ARCHITECTURES:
            raise UsageError(f"architecture {recipe.architecture!r} is not one of {', '.join(ARCHITECTURES)}")
        self.architecture = ARCHITECTURES[recipe.architecture]
        if base is not None and base[0] != self.architecture:
            raise UsageError(f"the base is not of the architecture {recipe.architecture!r}")
        if recipe.crop % STRIDE:
            raise UsageError(f"crop must be a multiple of {STRIDE}, not {recipe.crop}")
        self.classes = len(self.architecture.classes) or recipe.judged_classes
        torch.manual_seed(recipe.seed)
        self.network = Network(self.architecture).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if base is not None:
            self.network.load_state_dict(base[1])
        coder = nn.ModuleList([part for part in self.network.children() if part is not self.network.context])
        self.phases: Mapping[str, nn.Module] = {"generator": coder, "context": self.network.context}
        self.discriminator: MultiScale | None = None
        self.perceptual: Distance | None = None
        if recipe.adversarial:
            made = MultiScale(self.classes, width=recipe.discriminator_width, scales=recipe.scales)
            made.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.discriminator = made
            self.phases = {**self.phases, "discriminator": made}
        if recipe.perceptual_weight:
            self.perceptual = perceptual_distance(recipe.perceptual, device)
        self._judged: _Judged | None = None

    def describe(self) -> dict[str, object]:
        return {"kind": "extreme", "architecture": self.architecture.to_json()}

    def backward(self, phase: str, batch: Batch, processes: Processes) -> dict[str, Tensor]:
        with arithmetic(self.recipe, batch.pixels.device):
            if phase == "generator":
                loss, numbers = self._generator(batch)
            elif phase == "context":
                loss, numbers = self._context()
            else:
                loss, numbers = self._discriminator(batch)
        loss.backward()
        return {"loss": loss.detach(), **numbers}

    def _generator(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        channels = self._channels(batch.places)
        coded = self._coded(self.network, batch, channels, self._masks(batch))
        mse = self._mse(coded, batch.pixels)
        # The paper's networks work on samples in [-1, 1], whose squared error is four times that in [0, 1].
        loss = self.recipe.mse * 4 * mse
        found = {"psnr": -10 * mse.detach().log10()}
        if self.perceptual is not None:
            distance = self.perceptual(coded.pixels, batch.pixels)
            loss = loss + self.recipe.perceptual_weight * distance
            found["perceptual"] = distance.detach()
        if self.discriminator is not None:
            labels = self._seen_labels(batch)
            fake = self.discriminator(coded.pixels, labels)
            with torch.no_grad():
                real = self.discriminator(batch.pixels, labels)
            adversarial, matching = multiscale.generator_loss(fake), multiscale.feature_matching(real, fake)
            if batch.step >= self.recipe.head_start:
                loss = loss + self.recipe.adversarial * adversarial + self.recipe.matching * matching
            found |= {"adversarial": adversarial.detach(), "matching": matching.detach()}
        symbols = coded.symbols.detach()
        self._count(symbols, coded.mask, channels)
        self._judged = _Judged(symbols, coded.mask, channels, coded.pixels.detach())
        return loss, found

    def _context(self) -> tuple[Tensor, dict[str, Tensor]]:
        assert self._judged is not None
        judged = self._judged
        bits = symbol_bits(self.network.context(judged.symbols), judged.symbols)
        coded = judged.mask * _first(judged.channels, bits)
        if self.discriminator is None:
            self._judged = None
        # Bits a symbol, and their share of what the bound would be.
        mean = (bits * coded).sum() / coded.sum().clamp(min=1)
        return mean, {"of_bound": mean.detach() / np.log2(LEVELS)}

    def _discriminator(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        judged, self._judged = self._judged, None
        assert judged is not None
        assert self.discriminator is not None
        labels = self._seen_labels(batch)
        real, fake = self.discriminator(batch.pixels, labels), self.discriminator(judged.fake, labels)
        return multiscale.discriminator_loss(real, fake), {}

    def _coded(self, network: Network, batch: Batch, channels: Tensor, mask: Tensor) -> _Coded:
        labels = None
        if self.architecture.selective:
            stride = self.architecture.label_stride
            # As `regions.reduced` does.
            labels = network.labels(self._labels(batch)[:, stride // 2 :: stride, stride // 2 :: stride])
        latents = network.latents(batch.pixels, labels)
        symbols = network.symbols(latents, mask * _first(channels, latents))
        pixels = network.pixels(symbols, labels, mask if labels is not None else None)
        return _Coded(labels, mask, symbols, pixels)

    def _mse(self, coded: _Coded, pixels: Tensor) -> Tensor:
        """Mean squared error of what is preserved, which fades out around it."""
        errors = (coded.pixels - pixels).square().mean(1, keepdim=True)
        if coded.labels is None:
            return errors.mean()
        weights = functional.interpolate(feathered(coded.mask), size=errors.shape[2:], mode="bilinear")
        return (errors * weights).mean()

    def _channels(self, places: Tensor) -> Tensor:
        """How many channels each crop has: all numbers are trained alike."""
        rates = torch.tensor(self.architecture.channels, device=places.device)
        return rates[(places * len(rates)).long()]

    def _masks(self, batch: Batch) -> Tensor:
        """What of each crop is preserved, of shape (B, 1, h, w)."""
        side = self.recipe.crop // self.architecture.stride
        if not self.architecture.selective:
            return torch.ones(len(batch.pixels), 1, side, side, device=batch.pixels.device)
        masks = []
        for labels, seed in zip(self._labels(batch).cpu().numpy(), batch.seeds.tolist(), strict=True):
            chance = np.random.default_rng(seed)
            by_box = self.recipe.preserve == "box"
            pixels = random_box(labels.shape, chance) if by_box else random_instances(labels, chance)
            masks.append(regions.on_grid(self.architecture, pixels))
        return torch.from_numpy(np.stack(masks)[:, None]).to(batch.pixels)

    def _labels(self, batch: Batch) -> Tensor:
        if batch.labels is None:
            raise UsageError("this recipe learns from labels: name the folder of their maps with --labels")
        if int(batch.labels.max()) >= self.classes:
            raise UsageError(f"there is no class {int(batch.labels.max())}; the recipe has {self.classes}")
        return batch.labels

    def _seen_labels(self, batch: Batch) -> Tensor | None:
        """What the discriminators see besides pictures, one-hot."""
        if not self.classes:
            return None
        return functional.one_hot(self._labels(batch).long(), self.classes).movedim(3, 1).float()

    @torch.no_grad()
    def _count(self, symbols: Tensor, mask: Tensor, channels: Tensor) -> None:
        """Moves the frequencies of levels, of channels and places that are coded."""
        coded = (mask * _first(channels, symbols)).expand_as(symbols) > 0
        found = torch.stack([((symbols == level) & coded).sum((0, 2, 3)) for level in range(-LARGEST, LARGEST + 1)], 1)
        total = found.sum(1, keepdim=True)
        shares = torch.where(total > 0, found / total.clamp(min=1), self.network.context.frequencies)
        self.network.context.frequencies.lerp_(shares, 1 - _MEMORY)

    @torch.no_grad()
    def validate(self, network: nn.Module, batch: Batch) -> dict[str, float]:
        """Errors and bits with each number of channels, all preserved; there is a loss only for the squared error."""
        assert isinstance(network, Network)
        found: dict[str, float] = {}
        errors = []
        for count in self.architecture.channels:
            coded = self._decoded(network, batch, count)
            errors.append(float((coded.pixels - batch.pixels).square().mean()))
            found[f"psnr{count}"] = -10 * float(np.log10(errors[-1]))
            bits = symbol_bits(network.context(coded.symbols), coded.symbols)[:, :count].sum()
            found[f"bpp{count}"] = float(bits) / batch.pixels[:, 0].numel()
            if self.perceptual is not None:
                found[f"perceptual{count}"] = float(self.perceptual(coded.pixels, batch.pixels))
        if self.discriminator is None and self.perceptual is None:
            found["loss"] = sum(errors) / len(errors)
        return found

    @torch.no_grad()
    def samples(self, network: nn.Module, batch: Batch) -> Sequence[Tensor]:
        """Originals, and what is decoded with each number of channels; for selective compression also with none."""
        assert isinstance(network, Network)
        found = [batch.pixels, *(self._decoded(network, batch, count).pixels for count in self.architecture.channels)]
        if self.architecture.selective:
            found.append(self._decoded(network, batch, self.architecture.channels[-1], preserved=0.0).pixels)
        return found

    def _decoded(self, network: Network, batch: Batch, channels: int, preserved: float = 1.0) -> _Coded:
        side = self.recipe.crop // self.architecture.stride
        mask = torch.full((len(batch.pixels), 1, side, side), preserved, device=batch.pixels.device)
        return self._coded(network, batch, torch.full_like(batch.places, channels, dtype=torch.long), mask)


def _first(channels: Tensor, like: Tensor) -> Tensor:
    """1 for as many channels of each picture as `channels` (B,) says and 0 for the others, of shape (B, C, 1, 1)."""
    numbers = torch.arange(like.shape[1], device=like.device)
    return (numbers < channels[:, None]).to(torch.float32)[:, :, None, None]


def perceptual_distance(name: str, device: torch.device) -> Distance:
    """The mean over a batch of a distance of features: of VGG19, of LPIPS with SqueezeNet, or without weights.

    Arguments:
        name: "vgg19", mean absolute differences with the weights of pix2pixHD, of pictures normalised as for ImageNet;
            "lpips"; or "steerable", mean absolute differences over the maps of the stack without weights.
        device: where.
    """
    if name == "lpips":
        lpips = create_lpips("squeeze", device=str(device))
        return lambda x, y: lpips(x, y).mean()
    if name == "vgg19":
        network = Vgg("vgg19", pooling="max")
        layers = [layer for layer in _VGG_LAYERS if layer[4:] in network.order]
        network.layers = set(layers)
        features, weights = NetworkFeatures(network.to(device)), [_VGG_LAYERS[layer] for layer in layers]
    else:
        features, weights = steerable_stack, None

    def distance(x: Tensor, y: Tensor) -> Tensor:
        pairs = zip(features(x), features(y), strict=True)
        each = torch.stack([(a.values - b.values).abs().mean() for a, b in pairs])
        return each.mean() if weights is None else (each * each.new_tensor(weights)).sum()

    return distance
