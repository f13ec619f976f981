"""A shipped model as a network that codes whole batches in floating point, for what is trained behind its encoder.

Its latents are those that a decoder finds, but for about one in a hundred whose rounded mean lies on the other side.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from aquatint.codecs.hyperprior.integers import ONE
from aquatint.codecs.hyperprior.model import Model, integer_parts
from aquatint.codecs.hyperprior.network import Network
from aquatint.codecs.models import ModelFile
from aquatint.errors import ModelError


class FrozenEncoder(nn.Module):
    """From pixels to the latents that a decoder will know; nothing in it can be trained.

    Arguments:
        model: that codes.
        file: which it was read from; there the integers of its entropy model are once more.
    """

    rate_steps: Tensor
    hyper_steps: Tensor

    def __init__(self, model: Model, file: ModelFile) -> None:
        super().__init__()
        self.network = _thawed(model, file)
        steps = [model.step(level) for level in range(len(model.rates))]
        self.register_buffer("rate_steps", torch.tensor(steps, dtype=torch.float32))
        self.network.hyper_step = _Steps(steps, model.rates.hyper_step / ONE, model.architecture.max_step)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> FrozenEncoder:
        """Stays in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, pixels: Tensor, places: Tensor) -> tuple[Tensor, Tensor | None]:
        """Decoded latents (B, M, H / 16, W / 16), and what a synthesis knows of the rate.

        Arguments:
            pixels: of shape (B, 3, H, W) in [0, 1]; sides are multiples of 16.
            places: of the rates in the model's range, from 0 for the highest to 1 for the lowest, of shape (B,).
        """
        levels = ((1 - places) * (len(self.rate_steps) - 1)).round().long()
        step = self.rate_steps[levels]
        rate = self.network.rate(step)
        with torch.autocast(pixels.device.type, enabled=False):
            decoded, _, _ = self.network.code(self.network.latents(pixels, rate), step, None)
        return decoded, rate


class _Steps(nn.Module):
    """Steps of hyper-latents by those of latents, from the table of the levels of rate."""

    table: Tensor

    def __init__(self, steps: list[float], hyper_steps: np.ndarray, max_step: float) -> None:
        super().__init__()
        self.register_buffer("table", torch.from_numpy(np.asarray(hyper_steps, np.float32)))
        self.logarithm = math.log(max_step) if len(steps) > 1 else math.inf

    def forward(self, step: Tensor) -> Tensor:
        last = len(self.table) - 1
        return self.table[((1 - torch.log(step) / self.logarithm) * last).round().long().clamp(0, last)]


def _thawed(model: Model, file: ModelFile) -> Network:
    """The network with real weights where the model has integers.

    Densities of hyper-latents are not among them: in the file they are tables, and latents do not depend on them.
    """
    from safetensors.numpy import load

    tensors = load(file.content)
    network = Network(model.architecture)
    parts = [name for name in ("analysis", "synthesis", "hyper_analysis", "offset") if hasattr(model.network, name)]
    for name in parts:
        part = getattr(model.network, name)
        if part is not None:
            getattr(network, name).load_state_dict(part.state_dict())
    with torch.no_grad():
        for name, structure in integer_parts(network).items():
            for index, layer in enumerate(structure):
                if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                    continue
                prefix = f"integer.{name}.{index}."
                try:
                    weight, bias = tensors[prefix + "weight"], tensors[prefix + "bias"]
                    unit = 0.5 ** int(tensors[prefix + "exponent"][0])
                except KeyError as error:
                    raise ModelError(f"the model {file.path} has no {error}") from None
                layer.weight.copy_(torch.from_numpy(weight * unit))
                if layer.bias is not None:
                    layer.bias.copy_(torch.from_numpy(bias * (unit / ONE)))
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
