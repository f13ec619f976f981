"""`aquatint sample`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aquatint.cli import files
from aquatint.cli.extras import needs
from aquatint.cli.terminal import for_each

if TYPE_CHECKING:
    import numpy as np


def sample(
    model: Annotated[str, typer.Argument(metavar="MODEL", show_default=False)],
    target: Annotated[Path, typer.Argument(metavar="OUT.png", show_default=False)],
    count: Annotated[int, typer.Option("-n", "--count", help="Pictures, side by side in a grid.", min=1, max=256)] = 1,
    width: Annotated[
        int | None, typer.Option(help="Columns of a picture [default: 256, or the sampler's].", show_default=False)
    ] = None,
    height: Annotated[
        int | None, typer.Option(help="Rows of a picture [default: 256, or the sampler's].", show_default=False)
    ] = None,
    smoothness: Annotated[
        float, typer.Option(help="Of transport: how far noise is alike, in blocks of 16 pixels.")
    ] = 1.0,
    codes: Annotated[str, typer.Option(help="Of extreme: uniform, or a trained sampler.")] = "uniform",
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
) -> None:
    """Make pictures of noise with a model of transport or extreme: what codes look like when none is meant."""
    if target.suffix != ".png":
        raise typer.BadParameter(f"the picture is written as PNG, not {target.suffix or 'without an extension'}")
    with needs("torch"):
        from aquatint.codecs import models
        from aquatint.codecs.extreme import sampling as extreme
        from aquatint.codecs.transport import sampling as transport

    def work(model: str) -> None:
        from aquatint import image

        files.check(str(target), overwrite=True)
        size = None if width is None and height is None else (height or 256, width or 256)
        if models.kind(models.find(model)) == "extreme":
            pictures = extreme.sample(model, size, count=count, codes=codes, seed=seed)
        else:
            rows, columns = size or (256, 256)
            seeds = range(seed, seed + count)
            pictures = [transport.sample(model, rows, columns, smoothness=smoothness, seed=each) for each in seeds]
        files.save(str(target), image.from_array(_grid(pictures)).write)

    for_each([model], work, name=lambda model: model)


def _grid(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures of one size in rows that are about as many as columns; places that are left over are black."""
    import numpy as np

    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    height, width, channels = pictures[0].shape
    grid = np.zeros((rows, columns, height, width, channels), np.uint8)
    for k, picture in enumerate(pictures):
        grid[divmod(k, columns)] = picture
    return grid.swapaxes(1, 2).reshape(rows * height, columns * width, channels)
