"""A model as it is shipped: weights of the networks, and integers for everything that decides a probability.

The layout of the file is in docs/FORMAT.md, section 5.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aquatint.codecs import turns
from aquatint.codecs.extreme.architecture import Extreme
from aquatint.codecs.extreme.context import NODES, Context, static_odds
from aquatint.codecs.extreme.network import Network
from aquatint.codecs.hyperprior.integers import IntegerNetwork, fixed, quantised
from aquatint.codecs.models import ModelFile, assembled, tensors_under
from aquatint.errors import ModelError

FORMAT = 1
_LEAST_FREQUENCY = 1e-4  # of a level in the static code: what was never seen must be possible


@dataclass(frozen=True)
class Model:
    """A model that can code.

    Attributes:
        architecture: its parts.
        hash: of its weights file.
        network: all but the context model has weights.
        static: for each channel and node the table of its turns in the static code, uint8 of shape (C, 4).
        contexts: the integer networks of the context model, by name.
    """

    architecture: Extreme
    hash: bytes
    network: Network
    static: np.ndarray
    contexts: dict[str, IntegerNetwork]

    @property
    def multiplications_per_pixel(self) -> float:
        """Multiplications of decoding, without those of the entropy coder."""
        return multiplications(self.architecture)[1]


def load(file: ModelFile) -> Model:
    """Reads a model of this codec.

    Raises:
        ModelError: it is not a model of this codec, of a later format, or not whole.
        DependencyError: safetensors is not installed.
    """
    return assembled(file, "extreme", FORMAT, _assemble)


def _assemble(about: Mapping[str, Any], tensors: dict[str, np.ndarray], hash_: bytes) -> Model:
    architecture = Extreme.from_json(about["architecture"])
    with torch.device("meta"):
        network = Network(architecture)
    for name, part in _float_parts(network).items():
        values = tensors_under(tensors, f"float.{name}.")
        part.load_state_dict({key: torch.from_numpy(v.astype(np.float32)) for key, v in values.items()}, assign=True)
        part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.requires_grad_(False).eval()
    contexts = {
        name: IntegerNetwork(structure, tensors_under(tensors, f"integer.{name}."))
        for name, structure in _integer_parts(network.context).items()
    }
    static, shape = tensors["static"], (architecture.channels[-1], NODES)
    if static.shape != shape or static.dtype != np.uint8:
        raise ModelError(f"static is {static.dtype} of shape {static.shape}, not uint8 of {shape}")
    return Model(architecture, hash_, network, static, contexts)


def _float_parts(network: Network) -> dict[str, nn.Module]:
    """The parts of a network that have real weights in a model's file."""
    parts: dict[str, nn.Module] = {"encoder": network.encoder, "generator": network.generator}
    if network.label_encoder is not None:
        parts["labels"] = network.label_encoder
    return parts


def _integer_parts(context: Context) -> dict[str, nn.Sequential | list[nn.Module]]:
    """The parts of a context model, which are evaluated with integers."""
    parts: dict[str, nn.Sequential | list[nn.Module]] = {"neighbours": [context.neighbours]}
    return parts | {f"odds.{channel}": net for channel, net in enumerate(context.odds)}  # type: ignore[misc]


@torch.no_grad()
def frozen(network: Network) -> dict[str, np.ndarray]:
    """The tensors of a model's file from a trained network, on the CPU."""
    tensors = {
        f"float.{name}.{key}": value.numpy().astype(np.float16)
        for name, part in _float_parts(network).items()
        for key, value in part.state_dict().items()
    }
    for name, structure in _integer_parts(network.context).items():
        tensors |= {f"integer.{name}.{key}": value for key, value in quantised(structure).items()}
    frequencies = network.context.frequencies.double().numpy().clip(_LEAST_FREQUENCY)
    tensors["static"] = turns.table_index(fixed(static_odds(frequencies)))
    return tensors


@lru_cache(maxsize=16)
def multiplications(architecture: Extreme) -> tuple[float, float]:
    """Multiplications a pixel of encoding and of decoding, counted in the layers; not those of the entropy coder."""
    side = 256
    with torch.device("meta"):
        network = Network(architecture)
        found = {name: 0.0 for name, _ in network.named_children()}

        def count(name: str):
            def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                if isinstance(layer, nn.ConvTranspose2d):
                    found[name] += layer.weight.numel() * math.prod(inputs[0].shape[2:])
                elif isinstance(layer, nn.Conv2d):
                    found[name] += layer.weight.numel() * math.prod(output.shape[2:])

            return hook

        for name, part in network.named_children():
            for layer in part.modules():
                layer.register_forward_hook(count(name))
        labels = None
        if architecture.selective:
            places = side // architecture.label_stride
            labels = network.labels(torch.zeros(1, places, places, dtype=torch.long))
        latents = network.latents(torch.zeros(1, 3, side, side), labels)
        network.pixels(latents, labels, torch.zeros_like(latents[:, :1]))
    labelled = found.get("label_encoder", 0.0)
    return (found["encoder"] + labelled) / side**2, (found["generator"] + labelled) / side**2
