"""The training loop, the same for all codecs."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aquatint.errors import ModelError, TrainingError, UsageError
from aquatint.training import checkpoint
from aquatint.training.data import Batch, Crops, Photograph, batches
from aquatint.training.distributed import Processes
from aquatint.training.log import Log
from aquatint.training.recipes import Recipe
from aquatint.training.task import Task


def learning_rate(step: int, recipe: Recipe) -> float:
    """The learning rate of a step: a linear start, a constant, and a linear fall to 0 at the recipe's last step.

    Unlike a cosine it does not depend on the last step before the fall begins, so that a run can be made longer.
    """
    rising = (step + 1) / max(1, recipe.warmup)
    falling = (recipe.steps - step) / max(1, recipe.decay * recipe.steps)
    return recipe.learning_rate * min(1, rising, falling)


def train(
    task: Task,
    recipe: Recipe,
    photographs: Sequence[Photograph],
    folder: Path,
    *,
    device: torch.device,
    processes: Processes | None = None,
    workers: int = 0,
    quiet: bool = False,
) -> None:
    """Trains until the recipe's last step; goes on where the folder's last checkpoint is, if it has one.

    Arguments:
        task: what to train.
        recipe: how; the same as that of the checkpoint, but for `steps` and what is logged when.
        photographs: for training and validation.
        folder: for checkpoints, logs and sample pictures; made if it does not exist.
        device: where the task's networks are.
        processes: that share each step; this one alone if None.
        workers: processes that decode photographs.
        quiet: show no live line.

    Raises:
        TrainingError: a loss or gradient is not a number; the last checkpoint is kept.
        UsageError: the checkpoint in the folder is of another recipe, or the batch cannot be shared.
        ImageError: the photographs are too small or cannot be read.
    """
    processes = processes or Processes()
    if recipe.batch % processes.count:
        raise UsageError(f"a batch of {recipe.batch} crops cannot be shared by {processes.count} processes")
    run = _Run(task, recipe, device, processes)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / checkpoint.LAST).exists():
        run.load(checkpoint.load(folder / checkpoint.LAST))
    training, _ = _split(photographs, recipe)
    validation = held_out(photographs, recipe, device) if processes.first else None
    log = Log(folder, run.step, recipe.steps, quiet=quiet) if processes.first else None
    try:
        for batch in batches(
            training, run.step, recipe.steps, rank=processes.rank, processes=processes.count, workers=workers
        ):
            numbers = run.advance(batch.to(device))
            if log is None or validation is None:
                continue
            if run.step % recipe.log_every == 0:
                log.write(run.step, "train", numbers)
            if run.step % recipe.checkpoint_every == 0 or run.step == recipe.steps:
                _checkpoint(run, validation, folder, log)
    finally:
        if log is not None:
            log.close()


def held_out(photographs: Sequence[Photograph], recipe: Recipe, device: torch.device) -> Batch:
    """The crops that are validated: of photographs that are not trained on."""
    _, kept = _split(photographs, recipe)
    crops = Crops(kept, recipe.crop, recipe.validation_crops, recipe.seed, flip=False)
    return next(batches(crops, 0, 1)).to(device)


def _checkpoint(run: _Run, validation: Batch, folder: Path, log: Log) -> None:
    run.mean.eval()
    found = run.task.validate(run.mean, validation)
    log.write(run.step, "validation", found)
    log.pictures(run.step, run.task.samples(run.mean, validation))
    loss = found.get("loss", math.inf)
    better = loss < run.best
    run.best = min(run.best, loss)
    checkpoint.save(folder / checkpoint.LAST, run.state())
    if better:
        checkpoint.save(folder / checkpoint.BEST, run.state())


class _Run:
    """What changes from step to step."""

    def __init__(self, task: Task, recipe: Recipe, device: torch.device, processes: Processes) -> None:
        self.task, self.recipe, self.device, self.processes = task, recipe, device, processes
        self.step, self.best = 0, math.inf
        self.mean = copy.deepcopy(task.network).requires_grad_(False)
        self.optimisers = {
            name: torch.optim.Adam(module.parameters(), recipe.learning_rate, recipe.decays, fused=True)
            for name, module in task.phases.items()
        }

    def advance(self, batch: Batch) -> dict[str, float]:
        """One step of the optimiser; returns numbers for the log."""
        rate = learning_rate(self.step, self.recipe)
        numbers: dict[str, Tensor] = {}
        for name, module in self.task.phases.items():
            optimiser = self.optimisers[name]
            optimiser.zero_grad(set_to_none=True)
            found = self.task.backward(name, batch, self.processes)
            gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
            self.processes.average([*gradients, *found.values()])
            norm = nn.utils.get_total_norm(gradients)
            if not math.isfinite(norm) or not math.isfinite(found["loss"]):
                raise TrainingError(self._what_is_wrong(name, module, float(found["loss"])))
            nn.utils.clip_grads_with_norm_(module.parameters(), self.recipe.clip, norm)
            for group in optimiser.param_groups:
                group["lr"] = rate * self.recipe.pace(name)
            optimiser.step()
            prefix = "" if len(self.task.phases) == 1 else f"{name}_"
            numbers |= {prefix + key: value for key, value in found.items()} | {f"{prefix}gradient": norm}
        self.step += 1
        self._average()
        return {key: float(value) for key, value in numbers.items()} | {"learning_rate": rate}

    def _average(self) -> None:
        """Moves the running mean; in the first steps it is that of fewer steps."""
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, value in zip(self.mean.parameters(), self.task.network.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
            for mean, value in zip(self.mean.buffers(), self.task.network.buffers(), strict=True):
                mean.copy_(value)

    def _what_is_wrong(self, phase: str, module: nn.Module, loss: float) -> str:
        where = [
            name
            for name, parameter in module.named_parameters()
            if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all())
        ]
        gradients = f"; gradients of {where[0]} and {len(where) - 1} more are not numbers" if where else ""
        return (
            f"training stopped at step {self.step}: the loss of phase {phase} is {loss}{gradients}. "
            "The last checkpoint is as it was; go on from it with a lower learning rate"
        )

    def state(self) -> dict[str, Any]:
        return {
            "task": self.task.describe(),
            "recipe": {"class": type(self.recipe).__name__, **asdict(self.recipe)},
            "step": self.step,
            "best": self.best,
            "mean": self.mean.state_dict(),
            "phases": {name: module.state_dict() for name, module in self.task.phases.items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        free = {"steps", "log_every", "checkpoint_every"}
        now = {"class": type(self.recipe).__name__, **asdict(self.recipe)}
        for key in now.keys() | state["recipe"].keys():
            before, after = state["recipe"].get(key), now.get(key)
            if key not in free and before != after:
                raise UsageError(f"the checkpoint's recipe has {key} = {before}, this one {after}: use another folder")
        if state["task"] != self.task.describe():
            raise UsageError("the checkpoint is of another network: use another folder")
        try:
            self.mean.load_state_dict(state["mean"])
            for name, module in self.task.phases.items():
                module.load_state_dict(state["phases"][name])
                self.optimisers[name].load_state_dict(state["optimisers"][name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise ModelError(f"the checkpoint does not fit the network: {error}") from None
        self.step, self.best = state["step"], state["best"]


def _split(photographs: Sequence[Photograph], recipe: Recipe) -> tuple[Crops, Sequence[Photograph]]:
    """Training crops, and the photographs that are held out; with few photographs they are the same."""
    kept = [photograph for index, photograph in enumerate(photographs) if index % recipe.holdout]
    crops = Crops(kept or photographs, recipe.crop, recipe.batch, recipe.seed, smallest_scale=recipe.smallest_scale)
    return crops, photographs[:: recipe.holdout]
