"""What tuning for Wasserstein distortion gives: objectives, common randomness and sigma maps, one by one.

    python benchmarks/tuning.py PHOTO... [--crop 256] [--lagrangians 0.03 0.01 0.0035] [--effort 3] [--out out/tuning]
                                [--variants psnr wd ...]

Every variant encodes every photograph at a few Lagrangians. Printed for each: bits at equal quality relative to the
first variant, in percent, by each metric, the mean over the photographs; and seconds of processor time an encode. All
points go to a CSV file in the folder of `--out`, variant by variant.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

import aquatint
from aquatint.codecs.overfitted.engine import Distortion
from aquatint.codecs.overfitted.objective import TUNES, Objective
from aquatint.evaluation.curves import Curve, CurveError, bd_rate
from aquatint.evaluation.metrics import measure
from aquatint.perception.lpips import create_lpips

METRICS = "lpips-squeeze", "wd-vgg19", "wd", "psnr"


@dataclass(frozen=True)
class LpipsObjective(Objective):
    """LPIPS on SqueezeNet in the place of Wasserstein distortion."""

    def distortion(
        self, planes: np.ndarray, sigma_map: np.ndarray | str | None, *, device: str, threads: int
    ) -> Distortion:
        lpips, target = create_lpips("squeeze"), torch.tensor(planes)[None]

        def distortion(picture: np.ndarray) -> tuple[float, np.ndarray]:
            image = torch.tensor(picture)[None].requires_grad_()
            squared_error = (image - target).square().mean()
            value = self.weight * lpips(image, target).sum() + self.pixel_weight * squared_error
            (gradient,) = torch.autograd.grad(value, image)
            return float(value.detach()), gradient[0].numpy()

        return distortion


@dataclass(frozen=True)
class Variant:
    """An objective, None for the squared error, and its sigma map."""

    objective: Objective | None
    sigma_map: str | None = None


WD, WD_VGG = TUNES["wd"], TUNES["wd-vgg"]
assert WD is not None
# The weight of LPIPS gives about the bits of `wd` at a Lagrangian.
LPIPS = LpipsObjective(weight=0.004, pixel_weight=0.53, noise=2)
VARIANTS = {
    "psnr": Variant(None),
    "psnr+noise": Variant(replace(WD, weight=0.0, pixel_weight=1.0)),
    "lpips": Variant(replace(LPIPS, noise=0)),
    "lpips+noise": Variant(LPIPS),
    "wd-0": Variant(replace(WD, noise=0)),
    "wd-1": Variant(replace(WD, noise=1)),
    "wd": Variant(WD),
    "wd-3": Variant(replace(WD, noise=3)),
    "wd+saliency": Variant(WD, "saliency"),
    "wd+self-similar": Variant(WD, "self-similar"),
    "wd-vgg": Variant(WD_VGG),
}


def encode(pixels: np.ndarray, variant: Variant, lagrangian: float, effort: int) -> tuple[float, np.ndarray]:
    """Bits per pixel and the decoded picture."""
    usual, tune = TUNES["wd"], "wd" if variant.objective else "psnr"
    try:
        TUNES["wd"] = variant.objective
        data = aquatint.encode(
            pixels, lagrangian=lagrangian, effort=effort, tune=tune, sigma_map=variant.sigma_map, threads=1
        )
    finally:
        TUNES["wd"] = usual
    return 8 * len(data) / pixels[..., 0].size, np.asarray(aquatint.decode(data))


def points_of(
    name: str, photographs: Sequence[np.ndarray], lagrangians: Sequence[float], effort: int
) -> list[dict[str, float | str]]:
    """One row for every photograph and Lagrangian."""
    rows: list[dict[str, float | str]] = []
    for k, pixels in enumerate(photographs):
        for lagrangian in lagrangians:
            start = time.process_time()
            bpp, picture = encode(pixels, VARIANTS[name], lagrangian, effort)
            seconds = time.process_time() - start
            values = measure(pixels, picture, METRICS)
            rows.append(
                {"variant": name, "lagrangian": lagrangian, "photograph": k, "bpp": bpp, "seconds": seconds, **values}
            )
    return rows


def bits_at_equal(
    metric: str, anchor: Sequence[dict[str, float | str]], rows: Sequence[dict[str, float | str]]
) -> float:
    """Percent, the mean over photographs whose curves share some quality; NaN if none do."""
    changes = []
    for k in sorted({row["photograph"] for row in rows}):
        curves = []
        for side in (anchor, rows):
            own = sorted((row for row in side if row["photograph"] == k), key=lambda row: float(row["bpp"]))
            rates, values = (np.array([float(row[key]) for row in own]) for key in ("bpp", metric))
            curves.append(Curve(rates, values, higher_is_better=metric == "psnr"))
        try:
            changes.append(bd_rate(*curves))
        except CurveError:
            continue
    return float(np.mean(changes)) if changes else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, nargs="+")
    parser.add_argument("--crop", type=int, default=256, help="side of the square in the middle that is taken")
    parser.add_argument("--lagrangians", type=float, nargs="+", default=[0.03, 0.01, 0.0035])
    parser.add_argument("--effort", type=int, default=3)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--out", type=Path, default=Path("out/tuning"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    photographs = []
    for path in arguments.photographs:
        pixels = aquatint.read(path).to_array()
        top, left = (max(side - arguments.crop, 0) // 2 for side in pixels.shape[:2])
        photographs.append(np.ascontiguousarray(pixels[top:, left:][: arguments.crop, : arguments.crop]))
    print(f"{'':16}" + "".join(f"{f'{metric}, %':>18}" for metric in METRICS) + f"{'seconds':>9}")
    everything: list[dict[str, float | str]] = []
    anchor: list[dict[str, float | str]] = []
    for name in arguments.variants:
        rows = points_of(name, photographs, arguments.lagrangians, arguments.effort)
        anchor = anchor or rows
        everything += rows
        changes = "".join(f"{bits_at_equal(metric, anchor, rows):>+18.1f}" for metric in METRICS)
        print(f"{name:16}{changes}{np.mean([float(row['seconds']) for row in rows]):9.1f}", flush=True)
        with (arguments.out / "points.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, everything[0])
            writer.writeheader()
            writer.writerows(everything)


if __name__ == "__main__":
    main()
