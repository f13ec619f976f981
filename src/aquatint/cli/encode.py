"""`aquatint encode`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from aquatint.cli import files
from aquatint.cli.terminal import for_each, printable, progress_bar, say, say_json
from aquatint.errors import AquatintError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from aquatint.api import Encoded


def encode(
    paths: Annotated[list[str], typer.Argument(metavar="IN... [OUT]", show_default=False)],
    quality: Annotated[
        float | None, typer.Option("-q", "--quality", help="Quality, 1 (smallest file) to 100 [default: 50].")
    ] = None,
    bpp: Annotated[float | None, typer.Option(help="Bits per pixel of the whole file, met within 3 %.")] = None,
    size: Annotated[int | None, typer.Option(help="Bytes of the whole file, never exceeded.")] = None,
    lagrangian: Annotated[float | None, typer.Option(help="Weight of a bit per pixel against the error.")] = None,
    effort: Annotated[
        int, typer.Option("-e", "--effort", min=1, max=10, help="1 (fastest) to 10 (smallest file).")
    ] = 5,
    threads: Annotated[int, typer.Option("-j", "--threads", min=0, help="Processor threads, 0 for all.")] = 0,
    device: Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda or cuda:N.")] = "auto",
    codec: Annotated[str, typer.Option(help="The codec: overfitted, hyperprior, extreme or transport.")] = "overfitted",
    model: Annotated[
        str | None, typer.Option(help="A trained model: its name, path or id on the Hugging Face hub.")
    ] = None,
    tune: Annotated[
        Literal["psnr", "wd", "wd-vgg"] | None,
        typer.Option(help="What to optimise: squared error, or Wasserstein distortion, without or with VGG."),
    ] = None,
    sigma_map: Annotated[
        str | None,
        typer.Option(
            metavar="saliency|self-similar|FILE",
            help="Where texture is free: derived, or a picture that is black for not at all and white for most.",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(metavar="auto|FILE", help="Classes of pixels for selective compression: found, or a picture."),
    ] = None,
    preserve: Annotated[
        list[str] | None,
        typer.Option(
            metavar="all|none|classes=A,B|box=X,Y,W,H|mask=FILE",
            help="What is coded; the rest is synthesised from labels. May be given several times.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the encoder's random choices.")] = 0,
    strip: Annotated[bool, typer.Option("--strip", help="Drop EXIF and XMP.")] = False,
    no_overwrite: Annotated[bool, typer.Option("--no-overwrite", help="Fail if an output exists.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a file on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
) -> None:
    """Encode photographs into .aqt files.

    IN is a picture of any format that Pillow reads, OUT a file that ends in .aqt, or a folder; "-" is standard input or
    output. Without OUT the file is written beside the picture. Give at most one of --quality, --bpp, --size and
    --lagrangian.
    """
    jobs = files.plan(paths, ".aqt")
    for job in jobs:
        # With two photographs and no folder the second would be lost.
        if job.named and os.path.splitext(job.target)[1].lower() != ".aqt" and not files.is_stream(job.target):
            raise typer.BadParameter(f"the output {job.target!r} does not end in .aqt; several inputs need a folder")
    if json and jobs[0].target == files.STANDARD:
        raise typer.BadParameter("--json and the file cannot both go to standard output")

    from aquatint import codecs
    from aquatint.codecs.options import Options
    from aquatint.codecs.target import Target

    try:
        target = Target.of(quality, bpp, size, lagrangian)
        codecs.load(codec).model_hash(model)
    except UsageError as error:
        raise typer.BadParameter(str(error)) from None
    except AquatintError as error:  # a model that is missing
        say(f"aquatint: error: {error}")
        raise typer.Exit(1) from None

    from aquatint import api, image
    from aquatint.perception import sigma

    freedom: np.ndarray | str | None = sigma_map

    def read_map(path: str) -> None:
        nonlocal freedom
        freedom = image.read(files.read(path)).pixels.mean(axis=2)

    for_each([sigma_map] if sigma_map and sigma_map not in sigma.DERIVED else [], read_map, name=str)

    classes: np.ndarray | str | None = labels
    masks: dict[str, np.ndarray] = {}

    def read_labels(path: str) -> None:
        nonlocal classes
        classes = image.read_classes(files.read(path))

    def read_mask(path: str) -> None:
        masks[f"mask={path}"] = image.read_classes(files.read(path))

    for_each([labels] if labels and labels != "auto" else [], read_labels, name=str)
    for_each([each[5:] for each in preserve or () if each.startswith("mask=")], read_mask, name=str)
    regions = None if preserve is None else [masks.get(each, each) for each in preserve]

    def work(job: files.Job) -> None:
        files.check(job.target, overwrite=not no_overwrite)
        picture = image.read(files.read(job.source))
        with progress_bar(job.source, quiet=quiet) as progress:
            encoded = api.compress(
                picture,
                target,
                Options(
                    model=model,
                    tune=tune,
                    sigma_map=freedom,
                    labels=classes,
                    preserve=regions,
                    effort=effort,
                    threads=threads,
                    device=device,
                    seed=seed,
                    progress=progress,
                ),
                codec=codec,
                strip=strip,
            )
        files.check(job.target, overwrite=not no_overwrite)
        files.save_bytes(job.target, encoded.data)
        if json:
            say_json(_facts(job, encoded) | {"effort": effort})
        elif not quiet:
            say(
                f"{printable(job.target, standard='<stdout>')}: {len(encoded.data)} bytes, {encoded.bpp:.3f} bpp, "
                f"{encoded.report.psnr:.2f} dB, {encoded.seconds:.1f} s"
            )

    for_each(jobs, work, name=lambda job: job.source)


def _facts(job: files.Job, encoded: Encoded) -> dict[str, object]:
    from aquatint import container

    header, chunks = container.read(encoded.data)
    report = encoded.report
    around = len(encoded.data) - len(chunks[container.Chunk.PAYLOAD])
    return {
        "input": job.source,
        "output": job.target,
        "codec": header.codec,
        "width": header.width,
        "height": header.height,
        "bytes": len(encoded.data),
        "bpp": encoded.bpp,
        "psnr": report.psnr,
        "seconds": encoded.seconds,
        "multiplications_per_pixel": report.multiplications_per_pixel,
        "estimated_bytes": round(around + report.estimated_bits / 8),
        "steps": report.steps,
        "lagrangian": report.lagrangian,
    }
