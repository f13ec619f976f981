"""What a discriminator is worth at equal steps: none, of patches (HiFiC) and of labels (MS-ILLM).

    AQUATINT_WEIGHTS=WEIGHTS PYTHONPATH=src python benchmarks/discriminators.py PHOTO... --data TRAINING... --out OUT

For every seed one generator is trained without a discriminator, from the model's own synthesis. Three go on from it for
as many steps each, and paint the same files. OUT/table.md has what each makes of them, at every rate, with 95 %
intervals for distances of sets; and how many bits each needs at equal quality, compared with HiFiC's. A command that
was stopped goes on when it is given again.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runs import aquatint, comparison, export, train
from tables import Table

RECIPES = "perceptual", "hific", "illm"
ANCHOR = "hyperprior+hific"
METRICS = "psnr", "lpips-squeeze"
SETS = "fid-mobilenet", "kid-mobilenet"


def prepare(options: argparse.Namespace) -> None:
    """Trains the labeler and all generators, as many at a time as there may be."""
    encoder = ("--encoder", options.encoder)

    def generator(recipe: str, seed: int, base: Path, *more: object) -> None:
        # The weight of the squared error in the adversarial recipes, for all three.
        own = (*encoder, "--seed", seed, "--from", base, "--mse", 20, *more)
        run = train(options, recipe, f"{recipe}-{seed}", options.steps, *own)
        export(run, options.out / f"models-{seed}" / f"{Path(options.encoder).stem}-{recipe}.safetensors")

    with ThreadPoolExecutor(options.workers) as pool:
        # The labeler is first in the queue, and those that need it are last.
        labeler = pool.submit(train, options, "labeler-small", "labeler", options.labeler_steps)
        bases = [
            pool.submit(train, options, "perceptual", f"base-{seed}", options.first_steps, *encoder, "--seed", seed)
            for seed in options.seeds
        ]
        started = list(zip(options.seeds, bases, strict=True))
        waiting = [
            pool.submit(generator, recipe, seed, base.result())
            for seed, base in started
            for recipe in ("perceptual", "hific")
        ]
        labels = ("--labeler", labeler.result())
        waiting += [pool.submit(generator, "illm", seed, base.result(), *labels) for seed, base in started]
        for each in waiting:
            each.result()


def evaluate(options: argparse.Namespace, seed: int) -> Path:
    """The results of a seed's generators."""
    out = options.out / f"results-{seed}"
    codecs = ",".join(["hyperprior", *(f"hyperprior+{recipe}" for recipe in RECIPES)])
    rates, metrics = ",".join(map(str, options.rates)), ",".join([*METRICS, *SETS])
    settings = ("--codecs", codecs, "--rates", rates, "--metrics", metrics, "--anchor", ANCHOR)
    parallel = ("--workers", options.workers, "--quiet")
    aquatint(
        "evaluate", *options.photographs, "--out", out, *settings, *parallel, models=options.out / f"models-{seed}"
    )
    return out


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def lines(results: Path, seed: int) -> Iterable[Sequence[object]]:
    """A line for every rate and codec, then one for every codec with its bits against the anchor's."""
    pictures = [row for row in rows(results / "results.csv") if row["status"] == "ok"]
    for found in rows(results / "sets.csv"):
        own = [row for row in pictures if (row["codec"], row["target_bpp"]) == (found["codec"], found["target_bpp"])]
        means = [sum(float(row[metric]) for row in own) / len(own) for metric in METRICS]
        distances = [[float(found[name + end]) for end in ("", "_low", "_high")] for name in SETS]
        cells = ["{:.4g} ({:.4g} to {:.4g})".format(*each) for each in distances]
        yield seed, float(found["bpp"]), found["codec"], *means, *cells
    differences = rows(results / "differences.csv")
    for codec in dict.fromkeys(row["codec"] for row in differences):
        rates = {row["metric"]: row["bd_rate"] for row in differences if row["codec"] == codec}
        cells = [f"{float(rates[name]):+.1f} %" if rates.get(name) else "-" for name in METRICS + SETS]
        yield seed, "bits", codec, *cells


def main() -> None:
    parser = comparison(__doc__)
    parser.add_argument("--encoder", default="compact")
    parser.add_argument("--first-steps", type=int, default=1500, help="without a discriminator")
    parser.add_argument("--steps", type=int, default=1500, help="of each of the three")
    parser.add_argument("--labeler-steps", type=int, default=900)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.2, 0.4, 0.8])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    prepare(options)
    table = Table(options.out / "table.md", "seed", "bpp", "", *METRICS, *SETS)
    for seed in options.seeds:
        for line in lines(evaluate(options, seed), seed):
            table.add(*line)


if __name__ == "__main__":
    main()
