"""`aquatint decode`."""

from __future__ import annotations

import os
import time
from typing import Annotated

import typer

from aquatint.cli import files
from aquatint.cli.terminal import for_each, printable, say, say_json


def decode(
    paths: Annotated[list[str], typer.Argument(metavar="IN... [OUT]", show_default=False)],
    threads: Annotated[int, typer.Option("-j", "--threads", min=0, help="Processor threads, 0 for all.")] = 0,
    max_pixels: Annotated[
        int | None, typer.Option(min=1, help="Refuse pictures of more pixels [default: 67108864].")
    ] = None,
    generator: Annotated[
        str | None,
        typer.Option(help="What paints the picture of a trained model: mse (its own), hific, illm, or a file."),
    ] = None,
    realism: Annotated[
        float, typer.Option(min=0, max=1, help="From 0, the model's own picture, to 1, the generator's.")
    ] = 1.0,
    no_overwrite: Annotated[bool, typer.Option("--no-overwrite", help="Fail if an output exists.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a file on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
) -> None:
    """Decode .aqt files into pictures.

    OUT is a picture file whose extension says its format, or a folder; "-" is standard input or output. Without OUT a
    PNG file is written beside the input. A file that exists is replaced only if it is named as OUT.
    """
    jobs = files.plan(paths, ".png")
    if jobs[0].target.lower().endswith(".aqt"):
        raise typer.BadParameter(f"the output {jobs[0].target!r} is no picture file; several inputs need a folder")
    if json and jobs[0].target == files.STANDARD:
        raise typer.BadParameter("--json and the picture cannot both go to standard output")

    if realism != 1 and generator is None:
        raise typer.BadParameter("--realism needs a --generator")

    # Or numpy starts a thread for every core, which takes longer than decoding a photograph and is of no use here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from aquatint import api, container

    limit = container.MAX_PIXELS if max_pixels is None else max_pixels

    def work(job: files.Job) -> None:
        # A derived name is often that of the photograph which was encoded.
        files.check(job.target, overwrite=job.named and not no_overwrite)
        start = time.perf_counter()
        picture = api.decode(
            files.read(job.source), threads=threads, max_pixels=limit, generator=generator, realism=realism
        )
        files.save(job.target, picture.write)
        seconds = time.perf_counter() - start
        if json:
            say_json(
                {
                    "input": job.source,
                    "output": job.target,
                    "width": picture.width,
                    "height": picture.height,
                    "seconds": seconds,
                }
            )
        elif not quiet:
            say(f"{printable(job.target, standard='<stdout>')}: {picture.width}x{picture.height}, {seconds:.2f} s")

    for_each(jobs, work, name=lambda job: job.source)
