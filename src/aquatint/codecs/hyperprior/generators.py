"""Other syntheses for the same streams: a generator paints what a model's latents leave open.

A generator is a file of its own (docs/FORMAT.md, section 3.4) that belongs to one model: it names the model's hash, and
no other model's files can be decoded with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aquatint.codecs import models
from aquatint.codecs.hyperprior.architecture import Architecture
from aquatint.codecs.hyperprior.model import Model
from aquatint.codecs.hyperprior.transforms import Transform, hears_noise, synthesis
from aquatint.codecs.models import ModelFile
from aquatint.errors import ModelError, ModelMismatchError, UsageError

OWN = "mse"  # the name of a model's own synthesis
FORMAT = 1
_PREFIX = "float.synthesis."


@dataclass(frozen=True)
class Generator:
    """A generator's file.

    Attributes:
        name: by which it is chosen among the generators of a model.
        encoder: hash of the model that it belongs to.
        architecture: whose synthesis it is.
        weights: of that synthesis.
    """

    name: str
    encoder: bytes
    architecture: Architecture
    weights: dict[str, Tensor]


def find(name: str, model: Model) -> Generator:
    """A generator for a model.

    Arguments:
        name: of an installed generator, such as "illm", or the path of a file.
        model: to which it must belong.

    Raises:
        MissingModelError: there is none of that name.
        ModelMismatchError: there are, but for other models.
        ModelError: the file is no generator, or damaged.
    """
    if name.endswith(models.SUFFIX):
        found = [models.find(name)]
    else:
        found = [file for file in models.installed() if file.card.get("generator") == name]
    generators = [load(file) for file in found]
    for generator in generators:
        if generator.encoder == model.hash:
            return generator
    if generators:
        theirs = ", ".join(sorted({generator.encoder.hex() for generator in generators}))
        raise ModelMismatchError(
            f"the generator {name} belongs to the model with hash {theirs}; the file was made with {model.hash.hex()}"
        )
    installed = sorted({str(file.card["generator"]) for file in models.installed() if "generator" in file.card})
    raise models.MissingModelError(
        f"there is no generator {name!r}; installed are: {', '.join([OWN, *installed])} "
        f"(others are installed by 'aquatint models add')"
    )


def load(file: ModelFile) -> Generator:
    """Reads a generator.

    Raises:
        ModelError: the file is no generator, of a later format, or not whole.
        DependencyError: safetensors is not installed.
    """
    return models.assembled(file, "generator", FORMAT, _assemble)


def _assemble(about: Mapping[str, Any], tensors: dict[str, np.ndarray], hash_: bytes) -> Generator:
    architecture = Architecture.from_json(about["architecture"])
    weights = {key.removeprefix(_PREFIX): torch.from_numpy(value).float() for key, value in tensors.items()}
    _built(architecture, weights)  # checks names and shapes
    return Generator(str(about["name"]), bytes.fromhex(about["encoder"]), architecture, weights)


def synthesis_for(model: Model, name: str, realism: float) -> Transform:
    """The synthesis of a generator, or one between it and the model's own.

    Arguments:
        model: whose latents are to be painted.
        name: see `find`; "mse" for the model's own.
        realism: 1 for the generator, 0 for the model's own synthesis; weights in between are interpolated (Wang et al.
            2018, arXiv 1809.00219, section 3.4).

    Raises:
        UsageError: the realism is not from 0 to 1, or lies between syntheses of different structure.
        ModelError: see `find`.
    """
    if not 0 <= realism <= 1:
        raise UsageError(f"realism must be from 0 to 1, not {realism}")
    if name == OWN:
        return model.network.synthesis
    generator = find(name, model)
    for part in ("latents", "max_step", "conditioned"):
        here, there = getattr(generator.architecture, part), getattr(model.architecture, part)
        if here != there:
            raise ModelError(f"the generator {name} has {part} = {here}, its model {there}")
    if realism == 1:
        return _built(generator.architecture, generator.weights)
    if realism == 0:
        return model.network.synthesis
    own = deaf(model.network.synthesis.state_dict(), _built(generator.architecture, generator.weights))
    if {key: value.shape for key, value in own.items()} != {key: v.shape for key, v in generator.weights.items()}:
        raise UsageError(
            f"realism must be 0 or 1 with the generator {name}, not {realism}: there is nothing between syntheses of "
            "different structure"
        )
    mixed = {key: torch.lerp(value.float(), generator.weights[key], realism) for key, value in own.items()}
    return _built(generator.architecture, mixed)


def deaf(weights: Mapping[str, Tensor], network: Transform) -> dict[str, Tensor]:
    """Weights of a synthesis without common randomness as those of one that has it and makes nothing of it."""
    padded = dict(weights)
    for key, value in network.state_dict().items():
        if hears_noise(key, network) and key in padded:
            more = len(value) - len(padded[key])
            padded[key] = torch.cat([padded[key], padded[key].new_zeros(max(more, 0), *padded[key].shape[1:])])
    return padded


def _built(architecture: Architecture, weights: dict[str, Tensor]) -> Transform:
    with torch.device("meta"):
        network = synthesis(architecture)
    network.load_state_dict(weights, assign=True)
    network.requires_grad_(False).eval()
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def tensors(network: Transform) -> dict[str, np.ndarray]:
    """The tensors of a generator's file, on the CPU, with 16 bits as those of models."""
    return {_PREFIX + key: value.numpy().astype(np.float16) for key, value in network.state_dict().items()}
