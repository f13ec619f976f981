"""What each part of the variable rate brings, against networks of one rate (Kamisli et al. 2024, section 4).

    python -m aquatint.training.ablation --data PHOTOS --out runs/ablation

Trains a network at the highest rate, others from nothing at lower rates, and post-trains the first one in all variants.
It goes on where it was stopped; the table is `ablation.md` in the folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor

from aquatint.codecs.hyperprior.architecture import Architecture
from aquatint.codecs.hyperprior.network import Network
from aquatint.evaluation.curves import Curve, CurveError, bd_rate
from aquatint.training import loop
from aquatint.training.data import Batch, Photograph, find_photographs
from aquatint.training.hyperprior import HyperpriorTask
from aquatint.training.recipes import RATE_DISTORTION, Posttrain, RateDistortion
from aquatint.training.run import trained

CPU = torch.device("cpu")
BASE = replace(RATE_DISTORTION["compact"], architecture="compact-plain", rates="single", steps=4000)
POST = Posttrain(max_step=14.0, steps=500, batch=4, crop=160, learning_rate=5e-4, warmup=50, precision="bfloat16")
# What differs from a plain post-training, one more a line; then other choices for a part of the whole.
NOTHING = {"offset": "none", "hyper_step": False, "conditioned": False}
VARIANTS: dict[str, Mapping[str, object]] = {
    "multi-objective": NOTHING,
    "+ offsets": {**NOTHING, "offset": "mlp"},
    "+ hyper-latent steps": {**NOTHING, "offset": "mlp", "hyper_step": True},
    "+ gains": {},
    "all, centroids for offsets": {"offset": "centroid"},
    "all, plain MGDA": {"normalise": "none"},
    "all, random steps for MGDA": {"rates": "random"},
}


@dataclass(frozen=True)
class Options:
    """How much is trained."""

    data: tuple[Path, ...]
    """Folders, tar files or lists (.txt) of photographs."""
    out: Path
    """Folder of all runs."""
    base: RateDistortion = BASE
    """Of the network at the highest rate, and but for their step of the others of one rate."""
    post: Posttrain = POST
    """Of the variants."""
    threads: int = 0
    """Processor threads, 0 for all."""


def run(options: Options) -> str:
    """Trains what is missing; returns the table."""
    if options.threads:
        torch.set_num_threads(options.threads)
    photographs = find_photographs(options.data)
    post = replace(options.post, largest_lambda=options.base.largest_lambda)
    base = _trained(HyperpriorTask(options.base, CPU), options.base, photographs, options.out / "base")
    untrained = HyperpriorTask(replace(post, **NOTHING), CPU, base)
    batch = loop.held_out(photographs, options.base, CPU)
    curves = {"one network, other steps": _curve(untrained, untrained.network, batch)}
    for number, (name, changes) in enumerate(VARIANTS.items()):
        recipe = replace(post, **changes)
        task = HyperpriorTask(recipe, CPU, base)
        network = _network(_trained(task, recipe, photographs, options.out / f"variant{number}"))
        curves[name] = _curve(task, network, batch)
    separate = []
    for step in untrained.validation_steps():
        recipe = replace(options.base, step=step)
        task = HyperpriorTask(recipe, CPU)
        folder = options.out / ("base" if step == 1 else f"separate{step:.3g}")
        separate.append(task.validate(_network(_trained(task, recipe, photographs, folder)), batch))
    anchor = Curve(np.array([found["bpp0"] for found in separate]), np.array([found["psnr0"] for found in separate]))
    table = _table(anchor, curves)
    (options.out / "ablation.md").write_text(table)
    points = {name: {"bpp": list(curve.bpp), "psnr": list(curve.values)} for name, curve in curves.items()}
    points["separate networks"] = {"bpp": list(anchor.bpp), "psnr": list(anchor.values)}
    (options.out / "ablation.json").write_text(json.dumps(points, indent=2) + "\n")
    return table


Trained = tuple[Architecture, Mapping[str, Tensor]]


def _trained(task: HyperpriorTask, recipe: RateDistortion, photographs: Sequence[Photograph], folder: Path) -> Trained:
    loop.train(task, recipe, photographs, folder, device=CPU)
    return trained(folder)


def _network(state: Trained) -> Network:
    architecture, weights = state
    network = Network(architecture)
    network.load_state_dict(weights)
    return network.eval()


def _curve(task: HyperpriorTask, network: torch.nn.Module, batch: Batch) -> Curve:
    found = task.validate(network, batch)
    numbers = range(len(task.validation_steps()))
    return Curve(np.array([found[f"bpp{k}"] for k in numbers]), np.array([found[f"psnr{k}"] for k in numbers]))


def _table(anchor: Curve, curves: Mapping[str, Curve]) -> str:
    """Differences of the rate at equal error, over all points and over the lower and the upper half."""
    middle = len(anchor.bpp) // 2
    parts = (slice(None), slice(0, middle + 1), slice(middle, None))
    lines = ["| | all rates | lower half | upper half |", "|---|---|---|---|"]
    for name, curve in curves.items():
        lines.append(f"| {name} | " + " | ".join(_difference(anchor, curve, part) for part in parts) + " |")
    return "\n".join(lines) + "\n"


def _difference(anchor: Curve, curve: Curve, part: slice) -> str:
    separate, test = (Curve(each.bpp[part], each.values[part]) for each in (anchor, curve))
    try:
        return f"{bd_rate(separate, test):+.1f} %"
    except CurveError:  # networks that are hardly trained may lose quality at higher rates
        return "none"


def main() -> None:
    print(run(tyro.cli(Options, description=__doc__)), end="")


if __name__ == "__main__":
    main()
