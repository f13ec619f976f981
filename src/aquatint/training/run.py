"""`aquatint train`: from a recipe's name and its options to a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import torch
import tyro
from torch import Tensor

from aquatint.codecs.extreme.architecture import Extreme
from aquatint.codecs.hyperprior.architecture import Architecture
from aquatint.codecs.transport.architecture import Transport
from aquatint.errors import ModelError, UsageError
from aquatint.training import checkpoint, loop
from aquatint.training.adversarial.extreme import ExtremeTask
from aquatint.training.adversarial.generative import GenerativeTask
from aquatint.training.adversarial.labeling import LabelerTask
from aquatint.training.adversarial.sampler import SamplerTask
from aquatint.training.adversarial.transport import AdversarialTask
from aquatint.training.data import find_photographs
from aquatint.training.distributed import default_device, processes
from aquatint.training.hyperprior import HyperpriorTask
from aquatint.training.recipes import (
    RECIPES,
    ExtremeRecipe,
    ExtremeSampler,
    Generative,
    Labels,
    RateDistortion,
    Recipe,
    TargetRate,
    TransportAdversarial,
    TransportStage,
)
from aquatint.training.target_rate import TargetRateTask
from aquatint.training.task import Task
from aquatint.training.transport import TransportTask

AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


@dataclass(frozen=True)
class Options:
    """Where a run finds and leaves its things."""

    data: tuple[Path, ...]
    """Folders, tar files or lists (.txt) of photographs."""
    out: Path
    """Folder of the run; a run that is there goes on."""
    base: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Checkpoint, or folder of a run, whose weights are the start."""
    labels: Path | None = None
    """Folder of maps of labels, PNG files named as the photographs, for recipes that learn from them."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int = 0
    """Processor threads of each process, 0 for all."""
    workers: int = 0
    """Processes that decode photographs, for each process; 0 to decode between steps."""
    quiet: bool = False
    """Show no live line."""


@dataclass(frozen=True)
class _Command(Generic[AnyRecipe]):
    options: tyro.conf.OmitArgPrefixes[Options]
    recipe: tyro.conf.OmitArgPrefixes[AnyRecipe]


def main(name: str, arguments: Sequence[str]) -> None:
    """Runs a recipe.

    Arguments:
        name: of the recipe.
        arguments: options as on the command line: those of `Options`, and any number of the recipe.

    Raises:
        UsageError: there is no such recipe.
        SystemExit: the options are wrong (2), or help was asked for (0).
    """
    if name not in RECIPES:
        raise UsageError(f"recipe {name!r} is not one of {', '.join(RECIPES)}")
    options, recipe = _parsed(name, RECIPES[name], arguments)
    photographs = find_photographs(options.data, options.labels)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = default_device(options.device)
    with processes(device) as group:
        loop.train(
            _task(recipe, device, options.base),
            recipe,
            photographs,
            options.out,
            device=device,
            processes=group,
            workers=options.workers,
            quiet=options.quiet,
        )


def _task(recipe: Recipe, device: torch.device, base: Path | None) -> Task:
    """What a recipe trains, from the checkpoint `base` if it is not None."""
    if isinstance(recipe, RateDistortion):
        return HyperpriorTask(recipe, device, None if base is None else trained(base))
    if isinstance(recipe, TargetRate):
        return TargetRateTask(recipe, device, None if base is None else trained(base))
    if isinstance(recipe, Generative):
        return GenerativeTask(recipe, device, base)
    if isinstance(recipe, Labels | ExtremeSampler):
        if base is not None:
            raise UsageError("this recipe trains from nothing: --from has no meaning for it")
        return LabelerTask(recipe, device) if isinstance(recipe, Labels) else SamplerTask(recipe, device)
    if isinstance(recipe, ExtremeRecipe):
        return ExtremeTask(recipe, device, None if base is None else trained_extreme(base))
    if isinstance(recipe, TransportAdversarial):
        if base is None:
            raise UsageError("this recipe starts from a trained network: name its run with --from")
        return AdversarialTask(recipe, device, trained_transport(base))
    if isinstance(recipe, TransportStage):
        return TransportTask(recipe, device, None if base is None else trained_transport(base))
    raise TypeError(f"there is no task for {type(recipe).__name__}")


def _parsed(name: str, recipe: Recipe, arguments: Sequence[str]) -> tuple[Options, Recipe]:
    missing = Options(data=tyro.MISSING, out=tyro.MISSING)  # type: ignore[arg-type]
    command = tyro.cli(
        _Command[type(recipe)],  # type: ignore[misc]
        prog=f"aquatint train {name}",
        description=type(recipe).__doc__,
        args=arguments,
        default=_Command(missing, recipe),
    )
    return command.options, command.recipe


def trained(path: Path) -> tuple[Architecture, Mapping[str, Tensor]]:
    """The architecture and the mean weights of a checkpoint of the hyperprior family.

    Raises:
        ModelError: it is of something else, or no checkpoint at all.
    """
    state = _state(path, "hyperprior")
    return Architecture.from_json(state["task"]["architecture"]), state["mean"]


def trained_transport(path: Path) -> tuple[Transport, Mapping[str, Tensor]]:
    """The architecture and the mean weights of a checkpoint of the transport codec.

    Raises:
        ModelError: it is of something else, or no checkpoint at all.
    """
    state = _state(path, "transport")
    return Transport.from_json(state["task"]["architecture"]), state["mean"]


def trained_extreme(path: Path) -> tuple[Extreme, Mapping[str, Tensor]]:
    """The architecture and the mean weights of a checkpoint of the extreme codec.

    Raises:
        ModelError: it is of something else, or no checkpoint at all.
    """
    state = _state(path, "extreme")
    return Extreme.from_json(state["task"]["architecture"]), state["mean"]


def _state(path: Path, kind: str) -> dict[str, Any]:
    state = checkpoint.load(path)
    if state["task"].get("kind") != kind:
        raise ModelError(f"{path} is a checkpoint of kind {state['task'].get('kind')!r}, not {kind!r}")
    return state
