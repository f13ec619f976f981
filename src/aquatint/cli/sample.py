"""`aquatint sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aquatint.cli import files
from aquatint.cli.extras import needs
from aquatint.cli.terminal import for_each


def sample(
    model: Annotated[str, typer.Argument(metavar="MODEL", show_default=False)],
    target: Annotated[Path, typer.Argument(metavar="OUT.png", show_default=False)],
    width: Annotated[int, typer.Option(help="Columns of the picture.")] = 256,
    height: Annotated[int, typer.Option(help="Rows of the picture.")] = 256,
    smoothness: Annotated[float, typer.Option(help="How far noise is alike, in blocks of 16 pixels.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
) -> None:
    """Make a picture of noise with a model of the transport codec: what its codes look like when none is meant."""
    if target.suffix != ".png":
        raise typer.BadParameter(f"the picture is written as PNG, not {target.suffix or 'without an extension'}")
    with needs("torch"):
        from aquatint.codecs.transport import sampling

    def work(model: str) -> None:
        from aquatint import image

        files.check(str(target), overwrite=True)
        pixels = sampling.sample(model, height, width, smoothness=smoothness, seed=seed)
        files.save(str(target), image.from_array(pixels).write)

    for_each([model], work, name=lambda model: model)
