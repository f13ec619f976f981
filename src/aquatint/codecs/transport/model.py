"""A model as it is shipped: weights of the transforms, codes, and integers for everything that decides a probability.

The layout of the file is in docs/FORMAT.md, section 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from aquatint.codecs.hyperprior import model as hyperprior
from aquatint.codecs.hyperprior.integers import IntegerNetwork, fixed, quantised
from aquatint.codecs.models import ModelFile, assembled, tensors_under
from aquatint.codecs.transport.architecture import Transport
from aquatint.codecs.transport.network import Network
from aquatint.errors import ModelError

FORMAT = 1
_FLOAT_PARTS = ("analysis", "reduce", "expand", "synthesis")


@dataclass(frozen=True)
class Model:
    """A model that can code.

    Attributes:
        architecture: its parts.
        hash: of its weights file.
        network: the transforms have weights; codebooks and context models have not.
        codes: float32 of shape (K, N, d).
        biases: the encoder's potential with fixed-length indices, float32 of shape (K, N).
        distortions: mean |z - y|^2 after 0 to K stages in training.
        contexts: for each stage the integer networks of its context model, by name.
    """

    architecture: Transport
    hash: bytes
    network: Network
    codes: np.ndarray
    biases: np.ndarray
    distortions: np.ndarray
    contexts: list[dict[str, IntegerNetwork]]

    @cached_property
    def fixed_codes(self) -> np.ndarray:
        """Codes as context models see them, integers of shape (K, N, d)."""
        return fixed(self.codes)

    @cached_property
    def multiplications_per_pixel(self) -> float:
        """Multiplications of decoding, without those of the context models."""
        decode = hyperprior.multiplications(self.architecture.transforms)[1]
        return decode + self.architecture.dimensions * self.architecture.features / 256


def load(file: ModelFile) -> Model:
    """Reads a model of this codec.

    Raises:
        ModelError: it is not a model of this codec, of a later format, or not whole.
        DependencyError: safetensors is not installed.
    """
    return assembled(file, "transport", FORMAT, _assemble)


def _assemble(about: Mapping[str, Any], tensors: dict[str, np.ndarray], hash_: bytes) -> Model:
    architecture = Transport.from_json(about["architecture"])
    with torch.device("meta"):
        network = Network(architecture)
    for name in _FLOAT_PARTS:
        own = {
            key: torch.from_numpy(value.astype(np.float32))
            for key, value in tensors_under(tensors, f"float.{name}.").items()
        }
        getattr(network, name).load_state_dict(own, assign=True)
        getattr(network, name).to(memory_format=torch.channels_last)
    network.requires_grad_(False).eval()
    contexts = []
    for stage, context in enumerate(network.contexts):
        structures = _integer_parts(context)
        prefixes = {name: f"integer.{stage}.{name}." for name in structures}
        contexts.append(
            {name: IntegerNetwork(structures[name], tensors_under(tensors, prefixes[name])) for name in structures}
        )
    shape = (architecture.stages, architecture.codes)
    codes = _real(tensors, "codes", (*shape, architecture.dimensions))
    biases = _real(tensors, "biases", shape)
    distortions = _real(tensors, "distortions", (architecture.stages + 1,))
    return Model(architecture, hash_, network, codes, biases, distortions, contexts)


def _real(tensors: dict[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    values = tensors[name]
    if values.shape != shape or values.dtype != np.float16 or not np.isfinite(values).all():
        raise ModelError(f"{name} is {values.dtype} of shape {values.shape}, not finite float16 of {shape}")
    return values.astype(np.float32)


def _integer_parts(context: nn.Module) -> dict[str, nn.Sequential | list[nn.Module]]:
    """The parts of a context model that a decoder evaluates with integers."""
    parts: dict[str, nn.Sequential | list[nn.Module]] = {"neighbours": [context.neighbours], "odds": context.odds}  # type: ignore[list-item, dict-item]
    if context.earlier is not None:
        parts["earlier"] = [context.earlier]  # type: ignore[list-item]
    return parts


@torch.no_grad()
def frozen(network: Network) -> dict[str, np.ndarray]:
    """The tensors of a model's file from a trained network, on the CPU."""
    tensors = {
        f"float.{name}.{key}": value.numpy().astype(np.float16)
        for name in _FLOAT_PARTS
        for key, value in getattr(network, name).state_dict().items()
    }
    for stage, context in enumerate(network.contexts):
        for name, structure in _integer_parts(context).items():
            tensors |= {f"integer.{stage}.{name}.{key}": value for key, value in quantised(structure).items()}
    for name in ("codes", "biases", "distortions"):
        tensors[name] = getattr(network.quantiser, name).numpy().astype(np.float16)
    return tensors
