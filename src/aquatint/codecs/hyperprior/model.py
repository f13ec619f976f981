"""A model as it is shipped: weights of the transforms, and integers for everything that decides a probability.

The layout of the file is in docs/FORMAT.md, section 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aquatint import native
from aquatint.codecs.hyperprior import tables
from aquatint.codecs.hyperprior.architecture import Architecture
from aquatint.codecs.hyperprior.context import Autoregressive, Channelwise
from aquatint.codecs.hyperprior.integers import ONE, IntegerNetwork, fixed, quantised
from aquatint.codecs.hyperprior.network import Network
from aquatint.codecs.hyperprior.transforms import UNIT
from aquatint.codecs.models import ModelFile, assembled, tensors_under
from aquatint.errors import ModelError

FORMAT = 1
LEVELS = 256  # steps of a model of variable rate
HYPER_GROUPS = 16  # of levels with the same step of the hyper-latents, which need tables for each
STEP_FRACTION = 16  # fraction bits of steps and gains
_DENSITY_NUMBERS = np.arange(-1023, 1024.0)


@dataclass(frozen=True)
class Rates:
    """What the integers know about each level of rate, from the largest step to 1; arrays of shape (L,).

    Attributes:
        width, gain: what a step is in latents, and its inverse, with 16 fraction bits.
        log_step: base-2 logarithm of the step, with 10 fraction bits.
        place: from 0 for the largest step to 1, with 10 fraction bits.
        hyper_step: step of the hyper-latents, with 10 fraction bits.
    """

    width: np.ndarray
    gain: np.ndarray
    log_step: np.ndarray
    place: np.ndarray
    hyper_step: np.ndarray

    def __len__(self) -> int:
        return len(self.width)

    def hyper_group(self, level: int) -> int:
        """Which of the sets of tables for hyper-latents a level uses."""
        return level * HYPER_GROUPS // LEVELS if len(self) > 1 else 0


@dataclass(frozen=True)
class Model:
    """A model that can code.

    Attributes:
        architecture: the parts of its network.
        largest_lambda: what a bit per pixel is worth at step 1, in 255^2 MSE: see `aquatint.training.recipes`.
        hash: of its weights file.
        network: the transforms have weights; the entropy model has not, only shapes.
        rates: what the integers know about the levels of rate.
        cumulative, shifts: tables: those of Gaussians, then one a channel for each group of levels.
        centres: numbers in the middle of the latter, of shape (groups, C).
        integers: the hyper-synthesis and the networks of the context model, by the names of their modules.
    """

    architecture: Architecture
    largest_lambda: float
    hash: bytes
    network: Network
    rates: Rates
    cumulative: np.ndarray
    shifts: np.ndarray
    centres: np.ndarray
    integers: dict[str, IntegerNetwork]

    @cached_property
    def tables(self) -> native.NumberTables:
        """The tables as the coder needs them."""
        return native.NumberTables(self.cumulative, self.shifts)

    def density_rows(self, level: int) -> np.ndarray:
        """Rows of the tables of all channels with learned densities, of shape (C,)."""
        channels = self.centres.shape[1]
        return (tables.SCALES + self.rates.hyper_group(level) * channels + np.arange(channels)).astype(np.uint16)

    def step(self, level: int) -> float:
        """The quantisation step of a level."""
        return float(self.rates.width[level]) / (UNIT * (1 << STEP_FRACTION))

    @cached_property
    def multiplications_per_pixel(self) -> float:
        """Multiplications of decoding, without those of the entropy coder."""
        return multiplications(self.architecture)[1]


def load(file: ModelFile) -> Model:
    """Reads a model of this codec.

    Raises:
        ModelError: it is not a model of this codec, of a later format, or not whole.
        DependencyError: safetensors is not installed.
    """
    return assembled(file, "hyperprior", FORMAT, _assemble)


def _assemble(about: Mapping[str, Any], tensors: dict[str, np.ndarray], hash_: bytes) -> Model:
    architecture, weight = Architecture.from_json(about["architecture"]), float(about["largest_lambda"])
    with torch.device("meta"):
        network = Network(architecture)
    for name, part in float_parts(network).items():
        values = tensors_under(tensors, f"float.{name}.")
        part.load_state_dict({key: torch.from_numpy(v.astype(np.float32)) for key, v in values.items()}, assign=True)
    network.requires_grad_(False).eval()
    for name in float_parts(network):
        getattr(network, name).to(memory_format=torch.channels_last)  # twice as fast on processors
    integers = {
        name: IntegerNetwork(structure, tensors_under(tensors, f"integer.{name}."))
        for name, structure in integer_parts(network).items()
    }
    levels = LEVELS if architecture.max_step > 1 else 1
    groups = HYPER_GROUPS if architecture.max_step > 1 else 1
    rates = Rates(*(_integers(tensors, f"rates.{name}", (levels,), 0, 1 << 24) for name in Rates.__dataclass_fields__))
    if rates.width.min() < UNIT * 2**STEP_FRACTION or rates.width.max() > 64 * UNIT * 2**STEP_FRACTION:
        raise ModelError("steps must be from 1 to 64")
    centres = _integers(tensors, "tables.centres", (groups, network.prior.channels), -1024, 1024)
    rows = tables.SCALES + groups * network.prior.channels
    cumulative, shifts = tensors["tables.cumulative"], tensors["tables.shifts"]
    if cumulative.shape != (rows, tables.SYMBOLS) or shifts.shape != (rows,):
        raise ModelError(f"tables have shape {cumulative.shape}, not {(rows, tables.SYMBOLS)}")
    model = Model(architecture, weight, hash_, network, rates, cumulative, shifts, centres, integers)
    _ = model.tables  # checks their entries
    return model


def _integers(tensors: dict[str, np.ndarray], name: str, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    values = tensors[name]
    if values.shape != shape or values.dtype != np.int32:
        raise ModelError(f"{name} is {values.dtype} of shape {values.shape}, not int32 of {shape}")
    if values.min() < low or values.max() > high:
        raise ModelError(f"{name} has numbers outside {low} to {high}")
    return values


def float_parts(network: Network) -> dict[str, nn.Module]:
    """The parts of a network that have real weights in a model's file."""
    names = ["analysis", "synthesis"] + ["hyper_analysis"] * (network.architecture.hyper > 0)
    parts: dict[str, nn.Module] = {name: getattr(network, name) for name in names}
    if network.architecture.offset == "mlp" and network.offset is not None:
        parts["offset"] = network.offset
    return parts


def integer_parts(network: Network) -> dict[str, nn.Sequential | list[nn.Module]]:
    """The parts of a network that a decoder evaluates with integers."""
    if not network.architecture.hyper:
        return {}
    parts: dict[str, nn.Sequential | list[nn.Module]] = {"hyper_synthesis": network.hyper_synthesis}
    context = network.context
    if isinstance(context, Channelwise):
        parts |= {f"earlier.{k}": [layer] for k, layer in enumerate(context.earlier)}
        parts |= {f"parameters.{k}": net for k, net in enumerate(context.parameters_nets)}  # type: ignore[misc]
    elif isinstance(context, Autoregressive):
        parts |= {"neighbours": [context.neighbours], "parameters": context.parameters_net}
    return parts


@torch.no_grad()
def frozen(network: Network) -> dict[str, np.ndarray]:
    """The tensors of a model's file from a trained network, on the CPU.

    Transforms are stored with 16 bits: the error is far below that of quantisation.
    """
    architecture = network.architecture
    tensors = {
        f"float.{name}.{key}": value.numpy().astype(np.float16)
        for name, part in float_parts(network).items()
        for key, value in part.state_dict().items()
    }
    for name, structure in integer_parts(network).items():
        tensors |= {f"integer.{name}.{key}": value for key, value in quantised(structure).items()}
    rates = _rates(network)
    tensors |= {f"rates.{name}": np.asarray(value, np.int32) for name, value in vars(rates).items()}
    cumulative, shifts = tables.gaussian_tables()
    groups = HYPER_GROUPS if architecture.max_step > 1 else 1
    # Learned densities are those of hyper-latents, or else of latents.
    steps = rates.hyper_step / ONE if architecture.hyper else rates.width / (1 << STEP_FRACTION)
    found = [_density_tables(network, float(steps[g * len(rates) // groups])) for g in range(groups)]
    tensors["tables.cumulative"] = np.concatenate([cumulative, *(table for table, _, _ in found)])
    tensors["tables.shifts"] = np.concatenate([shifts, *(shift for _, shift, _ in found)])
    tensors["tables.centres"] = np.stack([centres for _, _, centres in found])
    return tensors


def _rates(network: Network) -> Rates:
    max_step = network.architecture.max_step
    levels = LEVELS if max_step > 1 else 1
    place = np.arange(levels) / (levels - 1) if levels > 1 else np.ones(1)
    step = max_step ** (1 - place)
    middles = step.reshape(-1, max(1, levels // HYPER_GROUPS))
    middles = np.repeat(np.exp(np.log(middles).mean(1)), middles.shape[1])
    hyper_step = network.hyper_steps(torch.from_numpy(middles).float()).double().numpy()
    one = 1 << STEP_FRACTION
    width = step * UNIT
    return Rates(
        np.rint(width * one), np.rint(one / width), np.rint(np.log2(step) * ONE), fixed(place), fixed(hyper_step)
    )


def _density_tables(network: Network, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    prior = network.prior.double()
    edges = torch.from_numpy((_DENSITY_NUMBERS - 0.5) * step)
    logits = prior.logits(edges.expand(prior.channels, -1)).numpy()
    prior.float()
    return tables.density_tables(logits, int(_DENSITY_NUMBERS[0]))


@lru_cache(maxsize=16)
def multiplications(architecture: Architecture) -> tuple[float, float]:
    """Multiplications a pixel of encoding and of decoding, counted in the layers; not those of the entropy coder."""
    side = 256
    counts = {"encode": 0, "decode": 0}
    with torch.device("meta"):
        network = Network(replace(architecture, offset="none"))  # which has no layers with pixels

        def count(which: str):
            def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                if isinstance(layer, nn.ConvTranspose2d):
                    counts[which] += layer.weight.numel() * math.prod(inputs[0].shape[2:])
                elif isinstance(layer, nn.Conv2d):
                    counts[which] += layer.weight.numel() * math.prod(output.shape[2:])

            return hook

        for name, part in network.named_children():
            which = "encode" if name in ("analysis", "hyper_analysis") else "decode"
            for layer in part.modules():
                layer.register_forward_hook(count(which))
        network(torch.zeros(1, 3, side, side), torch.ones(1), None)
    # An encoder evaluates the entropy model as well, to know the means that it subtracts.
    return counts["encode"] / side**2, counts["decode"] / side**2
