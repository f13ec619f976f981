"""What tuning for Wasserstein distortion gives: objectives, common randomness and sigma maps, one by one.

    python benchmarks/tuning.py PHOTO... [--lagrangians 0.06 0.02 0.007] [--effort 3] [--vgg] [--out out/tuning]

Every variant encodes every photograph at a few Lagrangians. Printed for each: bits at equal quality relative to the
squared error, in percent, by metrics that no variant but `wd-vgg` was tuned for (mean over the photographs; for the
distance between sets of patches, of all photographs together), the mean PSNR difference at equal bits, and seconds of
processor time an encode. AVIF is a variant too. All points go to a CSV file in the folder of `--out`.
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

import aquatint
from aquatint.codecs.overfitted.objective import TUNES
from aquatint.evaluation.curves import Curve, CurveError, bd_metric, bd_rate
from aquatint.evaluation.metrics import measure, measure_sets
from aquatint.evaluation.peers import PEERS, Pillow

METRICS = "lpips-squeeze", "wd-vgg19"
SET_METRIC = "fid-mobilenet"
AVIF = "avif-psnr"
AVIF_PLACES = 0.05, 0.12, 0.2, 0.3, 0.42  # of its qualities: about 0.05 to 0.8 bits per pixel


@dataclass(frozen=True)
class Variant:
    """An objective with its common randomness and its sigma map."""

    name: str
    tune: str
    noise: int | None = None
    sigma_map: str | None = None


VARIANTS = [
    Variant("psnr", "psnr"),
    Variant("wd", "wd"),
    Variant("wd, no common randomness", "wd", noise=0),
    Variant("wd, saliency", "wd", sigma_map="saliency"),
    Variant("wd, self-similar", "wd", sigma_map="self-similar"),
]


def encode(pixels: np.ndarray, variant: Variant, lagrangian: float, effort: int) -> tuple[float, np.ndarray]:
    """Bits per pixel and the decoded picture."""
    usual = TUNES[variant.tune]
    try:
        if usual is not None and variant.noise is not None:
            TUNES[variant.tune] = replace(usual, noise=variant.noise)
        data = aquatint.encode(
            pixels, lagrangian=lagrangian, effort=effort, tune=variant.tune, sigma_map=variant.sigma_map
        )
    finally:
        TUNES[variant.tune] = usual
    return 8 * len(data) / pixels[..., 0].size, np.asarray(aquatint.decode(data))


def encode_avif(pixels: np.ndarray, place: float) -> tuple[float, np.ndarray]:
    """The same of AVIF."""
    peer = PEERS[AVIF]
    assert isinstance(peer, Pillow)
    data = peer.encode_at(pixels, peer.qualities[round(place * (len(peer.qualities) - 1))], threads=1)
    return 8 * len(data) / pixels[..., 0].size, peer.decode(data, threads=1)


def points_of(
    name: str, photographs: Sequence[np.ndarray], variant: Variant | None, settings: Sequence[float], effort: int
) -> list[dict[str, float | str]]:
    """One row for every setting and photograph."""
    rows: list[dict[str, float | str]] = []
    for setting in settings:
        decoded, own = [], []
        for k, pixels in enumerate(photographs):
            start = time.process_time()
            bpp, picture = encode(pixels, variant, setting, effort) if variant else encode_avif(pixels, setting)
            seconds = time.process_time() - start
            values = measure(pixels, picture, ["psnr", *METRICS])
            own.append({"variant": name, "setting": setting, "photograph": k, "bpp": bpp, "seconds": seconds, **values})
            decoded.append(picture)
        distance = measure_sets(photographs, decoded, [SET_METRIC])[SET_METRIC]
        rows += [{**row, SET_METRIC: distance} for row in own]
    return rows


def curve(rows: Sequence[dict[str, float | str]], metric: str) -> Curve:
    """A metric against bits, the means over photographs at every setting."""
    settings = sorted({row["setting"] for row in rows})
    means = [
        [np.mean([float(row[key]) for row in rows if row["setting"] == setting]) for setting in settings]
        for key in ("bpp", metric)
    ]
    return Curve(np.array(means[0]), np.array(means[1]), higher_is_better=metric == "psnr")


def bits_at_equal(
    metric: str, anchor: Sequence[dict[str, float | str]], rows: Sequence[dict[str, float | str]]
) -> float:
    """Percent, of each photograph and then their mean, or of the whole set; NaN where curves share no quality."""
    photographs = sorted({row["photograph"] for row in rows}) if metric != SET_METRIC else [None]
    changes = []
    for k in photographs:
        pair = ([row for row in side if k is None or row["photograph"] == k] for side in (anchor, rows))
        try:
            changes.append(bd_rate(*(curve(side, metric) for side in pair)))
        except CurveError:
            changes.append(math.nan)
    return float(np.mean(changes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, nargs="+")
    parser.add_argument("--lagrangians", type=float, nargs="+", default=[0.06, 0.02, 0.007])
    parser.add_argument("--effort", type=int, default=3)
    parser.add_argument("--vgg", action="store_true", help="wd-vgg too: on a CPU hours rather than minutes")
    parser.add_argument("--out", type=Path, default=Path("out/tuning"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    photographs = [aquatint.read(path).to_array() for path in arguments.photographs]
    variants = {v.name: v for v in [*VARIANTS, *([Variant("wd-vgg", "wd-vgg")] if arguments.vgg else [])]}
    titles = "".join(f"{f'{metric}, %':>18}" for metric in (*METRICS, SET_METRIC))
    print(f"{'':26}{titles}{'PSNR, dB':>10}{'seconds':>9}")
    everything: list[dict[str, float | str]] = []
    anchor: list[dict[str, float | str]] = []
    for name in (*variants, AVIF):
        settings = arguments.lagrangians if name in variants else AVIF_PLACES
        rows = points_of(name, photographs, variants.get(name), settings, arguments.effort)
        anchor = anchor or rows
        everything += rows
        changes = "".join(f"{bits_at_equal(metric, anchor, rows):>+18.1f}" for metric in (*METRICS, SET_METRIC))
        psnr = bd_metric(curve(anchor, "psnr"), curve(rows, "psnr"))
        print(f"{name:26}{changes}{psnr:>+10.2f}{np.mean([row['seconds'] for row in rows]):9.1f}", flush=True)
        with (arguments.out / "points.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, everything[0])
            writer.writeheader()
            writer.writerows(everything)


if __name__ == "__main__":
    main()
