"""What keeps codes in use, and what transport is worth: the ablation of the transport codec.

    AQUATINT_WEIGHTS=WEIGHTS PYTHONPATH=src python benchmarks/codebooks.py PHOTO... --data TRAINING... --out OUT

All start from one autoencoder that was trained with noise. Codes are learned with transport that is relaxed (OT) or
held (balanced), with nothing (VQ), with revival of unused codes, or stay on a lattice (FSQ); then the decoders of OT
and VQ are trained against a discriminator (OT + GAN, GAN). OUT/table.md has, for each seed and number of stages, bits a
pixel of whole files and what the photographs become; OUT/codes.md how the codes of fixed-length indices are used. A
command that was stopped goes on when it is given again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from runs import comparison, export, train

from aquatint import Options, Target, compress, container, decode, image
from aquatint.codecs import models
from aquatint.codecs.hyperprior.decoder import grid
from aquatint.codecs.transport.decoder import read
from aquatint.codecs.transport.model import Model, load
from aquatint.evaluation.metrics.registry import measure, measure_sets

UPKEEPS = {"OT": "annealed", "balanced": "balanced", "VQ": "none", "VQ, revival": "revival", "FSQ": "lattice"}
ADVERSARIAL = {"OT + GAN": "OT", "GAN": "VQ"}
METRICS = "psnr", "ms-ssim", "lpips-squeeze"
SET_METRIC = "fid-mobilenet"


def prepare(options: argparse.Namespace) -> None:
    """Trains what all share, then all variants, as many at a time as there may be."""

    def variant(name: str, seed: int) -> None:
        start = ("--from", noise, "--upkeep", UPKEEPS[name], "--seed", seed)
        run = train(options, "transport", f"{name}-{seed}", options.steps, *start)
        export(run, model_path(options.out, name, seed))
        for adversarial in (key for key, base in ADVERSARIAL.items() if base == name):
            start = ("--from", run, "--seed", seed)
            judged = train(options, "transport-gan", f"{adversarial}-{seed}", options.gan_steps, *start)
            export(judged, model_path(options.out, adversarial, seed))

    autoencoder = train(options, "transport-autoencoder", "autoencoder", options.first_steps)
    noise = train(options, "transport-noise", "noise", options.first_steps, "--from", autoencoder)
    with ThreadPoolExecutor(options.workers) as pool:
        for done in [pool.submit(variant, name, seed) for seed in options.seeds for name in UPKEEPS]:
            done.result()


def model_path(out: Path, name: str, seed: int) -> Path:
    return out / "models" / f"{name}-{seed}.safetensors"


def numbers(path: Path, pictures: Sequence[np.ndarray], quality: float) -> list[float]:
    """Bits a pixel, then the metrics' means, then the distance of sets."""
    coded = [
        compress(image.from_array(p), Target(quality=quality), Options(model=str(path)), codec="transport")
        for p in pictures
    ]
    decoded = [decode(each.data).to_array() for each in coded]
    found = [measure(picture, other, METRICS) for picture, other in zip(pictures, decoded, strict=True)]
    (distance,) = measure_sets(pictures, decoded, [SET_METRIC]).values()
    bits = 8 * sum(len(each.data) for each in coded) / sum(picture[..., 0].size for picture in pictures)
    return [bits, *(float(np.mean([each[name] for each in found])) for name in METRICS), distance.mean]


def usage(model: Model, path: Path, pictures: Sequence[np.ndarray]) -> list[str]:
    """For every stage the codes that no place of the photographs has, and perplexity over their number."""
    settings = Options(model=str(path), effort=1)
    found = []
    for picture in pictures:
        data = compress(image.from_array(picture), Target(quality=100), settings, codec="transport").data
        header, chunks = container.read(data)
        payload = chunks[container.Chunk.PAYLOAD]
        found.append(read(model, payload, grid(header.height, header.width)).reshape(model.architecture.stages, -1))
    cells = []
    for indices in np.concatenate(found, axis=1):
        counts = np.bincount(indices, minlength=model.architecture.codes)
        shares = counts[counts > 0] / counts.sum()
        perplexity = np.exp(-(shares * np.log(shares)).sum()) / len(counts)
        cells.append(f"{(counts == 0).sum()}, {perplexity:.2f}")
    return cells


def main() -> None:
    parser = comparison(__doc__)
    parser.add_argument("--first-steps", type=int, default=750, help="of the autoencoder, and of its stage with noise")
    parser.add_argument("--steps", type=int, default=2000, help="of codes")
    parser.add_argument("--gan-steps", type=int, default=1000)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    prepare(options)
    pictures = [image.read(path).to_array() for path in options.photographs]
    columns = ("bpp", *METRICS, SET_METRIC)
    table = [f"| | seed | stages | {' | '.join(columns)} |", "|---" * (3 + len(columns)) + "|"]
    codes = ["| | seed | unused codes, perplexity over their number: stage by stage |", "|---|---|---|"]
    for name in (*UPKEEPS, *ADVERSARIAL):
        for seed in options.seeds:
            path = model_path(options.out, name, seed)
            model = load(models.find(str(path)))
            last = model.architecture.stages - 1
            for k in range(last + 1):
                cells = [f"{number:.4g}" for number in numbers(path, pictures, 1 + 99 * k / last)]
                table.append(f"| {name} | {seed} | {k + 1} | " + " | ".join(cells) + " |")
                print(table[-1], flush=True)
            codes.append(f"| {name} | {seed} | " + "; ".join(usage(model, path, pictures)) + " |")
            print(codes[-1], flush=True)
            (options.out / "table.md").write_text("\n".join(table) + "\n")
            (options.out / "codes.md").write_text("\n".join(codes) + "\n")


if __name__ == "__main__":
    main()
