"""The transport codec's objective, in stages: an autoencoder, the same with noise, and then its codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from aquatint.codecs.transport.architecture import ARCHITECTURES, Transport
from aquatint.codecs.transport.network import Network
from aquatint.codecs.transport.quantiser import schedule
from aquatint.errors import UsageError
from aquatint.training.data import Batch
from aquatint.training.distributed import Processes
from aquatint.training.precision import arithmetic
from aquatint.training.recipes import TransportStage

_DISTORTION = 1000.0  # of the mean squared error of samples in [0, 1]: near 1 for pictures of 30 dB
_BITS = 0.01  # of bits a vector: the context model sees codes without gradient, so this only suits the clipping


class TransportTask:
    """Trains a `Network`.

    Arguments:
        recipe: how.
        device: where.
        base: architecture and weights of a network that went through the stage before, or None.

    Raises:
        UsageError: the recipe's architecture is unknown, or the base has another one.
    """

    def __init__(
        self,
        recipe: TransportStage,
        device: torch.device,
        base: tuple[Transport, Mapping[str, Tensor]] | None = None,
    ) -> None:
        self.recipe = recipe
        if recipe.architecture not in ARCHITECTURES:
            raise UsageError(f"architecture {recipe.architecture!r} is not one of {', '.join(ARCHITECTURES)}")
        self.architecture = ARCHITECTURES[recipe.architecture]
        if base is not None and base[0] != self.architecture:
            raise UsageError(f"the base is not of the architecture {recipe.architecture!r}")
        torch.manual_seed(recipe.seed)
        self.network = _Counted(self.architecture).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if base is not None:
            try:
                self.network.load_state_dict(base[1])
            except RuntimeError as error:
                raise UsageError(f"the base does not fit the network: {str(error)[:200]}") from None
            self.network.step.zero_()
        self.phases: Mapping[str, nn.Module] = {"network": self.network}

    def describe(self) -> dict[str, object]:
        return {"kind": "transport", "architecture": self.architecture.to_json()}

    def backward(self, phase: str, batch: Batch, processes: Processes) -> dict[str, Tensor]:
        with arithmetic(self.recipe, batch.pixels.device):
            if self.recipe.stage == "transport":
                loss, numbers = self._transport(batch, processes)
            else:
                loss, numbers = self._continuous(batch)
        self.network.step += 1
        loss.backward()
        return {"loss": loss.detach(), **numbers}

    def _continuous(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Latents as they are, or with uniform noise of the standard deviation that quantisation would have."""
        latents = self.network.latents(batch.pixels)
        if self.recipe.stage == "noise":
            latents = latents + batch.noise(latents) * 12**0.5 * self.recipe.noise
        mse = (self.network.pixels(latents).float() - batch.pixels).square().mean()
        # Latents must not grow, or noise would mean nothing.
        size = latents.float().square().mean()
        return _DISTORTION * mse + self.recipe.size * size, {"psnr": -10 * mse.detach().log10(), "size": size.detach()}

    def _transport(self, batch: Batch, processes: Processes) -> tuple[Tensor, dict[str, Tensor]]:
        stages = self._stages(batch)
        latents = self.network.latents(batch.pixels)
        if processes.count > 1:
            raise UsageError(f"codes are learned by one process, not by {processes.count}")
        quantiser, upkeep = self.network.quantiser, self.recipe.upkeep
        if upkeep == "lattice" and self.network.step == 0:
            quantiser.start_as_lattice(latents)
        rho = schedule(float(self.network.step) / self.recipe.steps, upkeep)
        revival = int(batch.seeds[0]) if upkeep == "revival" else None
        quantiser.learn(latents, rho, revival=revival, moving=upkeep != "lattice")
        quantised = quantiser(latents, stages)
        mse = (self.network.pixels(quantised.vectors).float() - batch.pixels).square().mean()
        bits = self.network.bits(quantised).mean(1) / latents[0, 0].numel()
        loss = _DISTORTION * mse + self.recipe.commitment * quantised.commitment + _BITS * bits.sum()
        numbers = {"psnr": -10 * mse.detach().log10(), "distortion": quantised.distortion}
        return loss, numbers | {"bits": bits.detach().sum(), "perplexity": self._perplexity()}

    def _stages(self, batch: Batch) -> Tensor:
        """How many stages each crop has: all numbers are trained alike."""
        return 1 + (batch.places * self.architecture.stages).long()

    def _perplexity(self) -> Tensor:
        """Of the first stage's codes, over their number: 1 if all are used alike."""
        usage = self.network.quantiser.usage[0]
        share = usage / usage.sum()
        return torch.exp(-(share * share.clamp(min=1e-12).log()).sum()) / len(share)

    @torch.no_grad()
    def validate(self, network: nn.Module, batch: Batch) -> dict[str, float]:
        """Error and bits with each number of stages; the loss is the mean squared error, over all of them."""
        assert isinstance(network, Network)
        if self.recipe.stage != "transport":
            mse = float((network.pixels(network.latents(batch.pixels)) - batch.pixels).square().mean())
            return {"loss": _DISTORTION * mse}
        found: dict[str, float] = {}
        total = 0.0
        for stages in range(1, self.architecture.stages + 1):
            coded = network(batch.pixels, torch.full_like(batch.places, stages, dtype=torch.long))
            mse = float((coded.pixels - batch.pixels).square().mean())
            total += mse
            pixels = batch.pixels[0, 0].numel()
            found[f"psnr{stages}"] = float((coded.pixels - batch.pixels).square().mean((1, 2, 3)).log10().mean() * -10)
            found[f"bpp{stages}"] = float(coded.bits[:stages].sum(0).mean()) / pixels
        return {"loss": _DISTORTION * total / self.architecture.stages, **found}

    @torch.no_grad()
    def samples(self, network: nn.Module, batch: Batch) -> Sequence[Tensor]:
        assert isinstance(network, Network)
        if self.recipe.stage != "transport":
            return [batch.pixels, network.pixels(network.latents(batch.pixels))]
        counts = range(1, self.architecture.stages + 1)
        full = [torch.full_like(batch.places, stages, dtype=torch.long) for stages in counts]
        return [batch.pixels, *(network(batch.pixels, stages).pixels for stages in full)]


class _Counted(Network):
    """A network that knows its step of training: the potential's schedule goes on where a run goes on."""

    step: Tensor

    def __init__(self, architecture: Transport) -> None:
        super().__init__(architecture)
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
