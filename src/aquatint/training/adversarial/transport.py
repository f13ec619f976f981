"""The last stage of the transport codec: its decoder against a discriminator, on codes of pictures and of noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from aquatint.codecs.transport.architecture import Transport
from aquatint.codecs.transport.network import Network
from aquatint.codecs.transport.sampling import smooth_noise
from aquatint.errors import UsageError
from aquatint.perception.lpips import create_lpips
from aquatint.training.adversarial.patchgan import PatchGAN
from aquatint.training.data import Batch
from aquatint.training.distributed import Processes
from aquatint.training.precision import arithmetic
from aquatint.training.recipes import TransportAdversarial
from aquatint.transport.extension import Extension, extension
from aquatint.transport.semidiscrete import cube, solve

_TOLERANCE = 0.05  # of the masses of the map that noise goes through


class AdversarialTask:
    """Trains the decoder of a network behind its frozen analysis, codes and context models.

    Codes come from pictures, with the originals to compare with (paired), and from noise through the extended optimal
    map, where there is no original and the discriminator alone decides (after AE-OT-GAN, An et al. 2020,
    arXiv 2001.03698).

    Arguments:
        recipe: how.
        device: where.
        base: architecture and weights of a network whose codes are learned.

    Raises:
        UsageError: codes of the base are not learned, or a map to them cannot be found.
    """

    def __init__(
        self, recipe: TransportAdversarial, device: torch.device, base: tuple[Transport, Mapping[str, Tensor]]
    ) -> None:
        self.recipe, (self.architecture, weights) = recipe, base
        torch.manual_seed(recipe.seed)
        network = Network(self.architecture)
        network.load_state_dict({name: value for name, value in weights.items() if name != "step"})
        if not network.quantiser.started:
            raise UsageError("the base has no codes yet: start from a run of the recipe 'transport'")
        self._map = _map(network)
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.requires_grad_(False)
        decoder = nn.ModuleList([network.expand, network.synthesis])
        for part in network.expand, network.synthesis.stages:
            part.requires_grad_(True)
        self.lpips = create_lpips(recipe.lpips, device=str(device))
        self.discriminator = PatchGAN(self.architecture.dimensions, width=recipe.discriminator_width)
        self.discriminator.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.phases: Mapping[str, nn.Module] = {"generator": decoder, "discriminator": self.discriminator}
        self._judged: tuple[Tensor, Tensor, Tensor, Tensor] | None = None

    def describe(self) -> dict[str, object]:
        return {"kind": "transport", "architecture": self.architecture.to_json()}

    def backward(self, phase: str, batch: Batch, processes: Processes) -> dict[str, Tensor]:
        with arithmetic(self.recipe, batch.pixels.device):
            loss, numbers = self._generator(batch) if phase == "generator" else self._discriminator()
        loss.backward()
        return {"loss": loss.detach(), **numbers}

    def _generator(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        stages = 1 + (batch.places * self.architecture.stages).long()
        with torch.no_grad():
            codes = self.network.quantiser(self.network.latents(batch.pixels), stages).vectors.float()
            both = torch.cat([codes, self._from_noise(batch, codes)])
        pixels = self.network.pixels(both).float()
        paired = pixels[: len(codes)]
        mse = (paired - batch.pixels).square().mean()
        lpips = self.lpips(paired, batch.pixels).mean()
        self.discriminator.eval()  # judging is no step of the power iteration
        adversarial = self.discriminator.generator_loss(self.discriminator(pixels, both).float(), None)
        self._judged = pixels.detach(), both, batch.pixels, codes
        loss = self.recipe.mse * mse + lpips + self.recipe.adversarial * adversarial
        found = {"psnr": -10 * mse.detach().log10(), "lpips": lpips.detach(), "adversarial": adversarial.detach()}
        return loss, found

    def _discriminator(self) -> tuple[Tensor, dict[str, Tensor]]:
        assert self._judged is not None
        (fake, fake_codes, real, real_codes), self._judged = self._judged, None
        self.discriminator.train()
        found = self.discriminator(real, real_codes).float(), self.discriminator(fake, fake_codes).float()
        return self.discriminator.discriminator_loss(*found, None), {}

    def _from_noise(self, batch: Batch, like: Tensor) -> Tensor:
        """Vectors of the extended map, a quarter as many pictures as there are of codes."""
        count = max(1, len(like) // 4)
        _, channels, height, width = like.shape
        made = []
        for seed in batch.seeds[:count].tolist():
            noise = smooth_noise(channels, height, width, self.recipe.smoothness, seed)
            vectors = self._map(noise.reshape(channels, -1).T).T.reshape(noise.shape)
            made.append(torch.from_numpy(vectors).to(like))
        return torch.stack(made)

    @torch.no_grad()
    def validate(self, network: nn.Module, batch: Batch) -> dict[str, float]:
        """PSNR and LPIPS with each number of stages; with an adversary there is no loss."""
        assert isinstance(network, Network)
        found: dict[str, float] = {}
        for stages in range(1, self.architecture.stages + 1):
            pixels = self._decoded(network, batch, stages)
            found[f"psnr{stages}"] = -10 * float((pixels - batch.pixels).square().mean().log10())
            found[f"lpips{stages}"] = float(self.lpips(pixels, batch.pixels).mean())
        return found

    @torch.no_grad()
    def samples(self, network: nn.Module, batch: Batch) -> Sequence[Tensor]:
        """Originals, and what is decoded with the fewest and with all stages."""
        assert isinstance(network, Network)
        return [batch.pixels, *(self._decoded(network, batch, stages) for stages in (1, self.architecture.stages))]

    def _decoded(self, network: Network, batch: Batch, stages: int) -> Tensor:
        return network(batch.pixels, torch.full_like(batch.places, stages, dtype=torch.long)).pixels


def _map(network: Network) -> Extension:
    """The extended optimal map from the cube to the first codes."""
    codes = network.quantiser.codes[0].numpy()
    source = cube(codes.shape[1])
    return extension(codes, solve(codes, source, tolerance=_TOLERANCE).heights, source)
