"""What keeps codes in use, and what transport is worth: the ablation of the transport codec.

    AQUATINT_WEIGHTS=WEIGHTS PYTHONPATH=src python benchmarks/codebooks.py PHOTO... --data TRAINING... --out OUT

All start from one autoencoder that was trained with noise. Codes are learned with transport that is relaxed (OT) or
held (balanced), with nothing (VQ), with revival of unused codes, or stay on a lattice (FSQ); then the decoders of OT
and VQ are trained against a discriminator (OT + GAN, GAN). OUT/table.md has, for each seed and number of stages, bits a
pixel of whole files and what the photographs become; OUT/codes.md how the codes of fixed-length indices are used, on
the photographs and on some of the training pictures; OUT/samples.md how patches of pictures made of noise lie among
those of the photographs. A command that was stopped goes on when it is given again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from runs import comparison, export, train
from tables import Table

from aquatint import Options, Target, compress, container, decode, image
from aquatint.codecs import models
from aquatint.codecs.hyperprior.decoder import grid
from aquatint.codecs.transport.decoder import read
from aquatint.codecs.transport.model import Model, load
from aquatint.codecs.transport.sampling import sample
from aquatint.evaluation.metrics.registry import SetFeatures, compare_sets, measure, set_features
from aquatint.training.data import find_photographs

UPKEEPS = {"OT": "annealed", "balanced": "balanced", "VQ": "none", "VQ, revival": "revival", "FSQ": "lattice"}
ADVERSARIAL = {"OT + GAN": "OT", "GAN": "VQ"}
METRICS = "psnr", "ms-ssim", "lpips-squeeze"
SET_METRICS = "fid-mobilenet", "precision-mobilenet", "recall-mobilenet", "density-mobilenet", "coverage-mobilenet"
TRAINING_PICTURES = 24  # at least so many, in which the use of codes is counted
SAMPLES = 24
SAMPLE_SIZE = 512, 768  # rows and columns, as Kodak's photographs have


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


def numbers(path: Path, pictures: Sequence[np.ndarray], originals: SetFeatures, quality: float) -> list[float]:
    """Bits a pixel, then the metrics' means, then the metrics of sets."""
    coded = [
        compress(image.from_array(p), Target(quality=quality), Options(model=str(path)), codec="transport")
        for p in pictures
    ]
    decoded = [decode(each.data).to_array() for each in coded]
    found = [measure(picture, other, METRICS) for picture, other in zip(pictures, decoded, strict=True)]
    bits = 8 * sum(len(each.data) for each in coded) / sum(picture[..., 0].size for picture in pictures)
    return [bits, *(float(np.mean([each[name] for each in found])) for name in METRICS), *of_sets(originals, decoded)]


def of_sets(originals: SetFeatures, pictures: Sequence[np.ndarray]) -> list[float]:
    compared = compare_sets(originals, set_features(pictures, SET_METRICS), SET_METRICS)
    return [estimate.mean for estimate in compared.values()]


def sampled(path: Path, originals: SetFeatures) -> list[float]:
    """The metrics of sets for pictures made of noise."""
    return of_sets(originals, [sample(str(path), *SAMPLE_SIZE, seed=seed) for seed in range(SAMPLES)])


def usage(model: Model, path: Path, pictures: Sequence[np.ndarray]) -> str:
    """For every stage the codes that no place of the pictures has, perplexity over their number, and by how much the
    masses of cells miss equal ones, as a relative root mean square."""
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
        error = counts.std() / counts.mean()
        cells.append(f"{(counts == 0).sum()}, {perplexity:.2f}, {error:.2f}")
    return "; ".join(cells)


def main() -> None:
    parser = comparison(__doc__)
    parser.add_argument("--first-steps", type=int, default=750, help="of the autoencoder, and of its stage with noise")
    parser.add_argument("--steps", type=int, default=2000, help="of codes")
    parser.add_argument("--gan-steps", type=int, default=1000)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    prepare(options)
    pictures = [image.read(path).to_array() for path in options.photographs]
    originals = set_features(pictures, SET_METRICS)
    learned = find_photographs(options.data)
    training = [image.read(each.open()).to_array() for each in learned[:: max(1, len(learned) // TRAINING_PICTURES)]]
    coded = Table(options.out / "table.md", "", "seed", "stages", "bpp", *METRICS, *SET_METRICS)
    codes = Table(options.out / "codes.md", "", "seed", "photographs", "training pictures")
    samples = Table(options.out / "samples.md", "", "seed", *SET_METRICS)
    for name in (*UPKEEPS, *ADVERSARIAL):
        for seed in options.seeds:
            path = model_path(options.out, name, seed)
            model = load(models.find(str(path)))
            last = model.architecture.stages - 1
            for k in range(last + 1):
                coded.add(name, seed, k + 1, *numbers(path, pictures, originals, 1 + 99 * k / last))
            if name in UPKEEPS:  # a discriminator moves no codes
                codes.add(name, seed, usage(model, path, pictures), usage(model, path, training))
            samples.add(name, seed, *sampled(path, originals))


if __name__ == "__main__":
    main()
