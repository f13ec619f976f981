"""Pictures from noise: symbols that a sampler makes, or symbols at random, through a model's generator."""

from __future__ import annotations

import numpy as np
import torch

from aquatint.codecs import models
from aquatint.codecs.extreme import sampler
from aquatint.codecs.extreme.decoder import Content, synthesised
from aquatint.codecs.extreme.model import Model, load
from aquatint.codecs.extreme.quantiser import LARGEST
from aquatint.codecs.extreme.regions import grid
from aquatint.codecs.samples import samples
from aquatint.container import MAX_PIXELS, MAX_SIDE
from aquatint.errors import LimitError, UsageError

UNIFORM = "uniform"
MOST = 256  # pictures


def sample(
    model: str, size: tuple[int, int] | None, *, count: int = 1, codes: str = UNIFORM, seed: int = 0
) -> list[np.ndarray]:
    """Pictures of noise.

    Arguments:
        model: name or path of a model of generative compression.
        size: rows and columns of a picture in pixels; None for 256x256, or for what the sampler makes.
        count: of pictures, 1 to 256.
        codes: "uniform" for symbols at random, each level alike; or name or path of a sampler for this model.
        seed: of the noise.

    Returns:
        Pictures uint8 of shape (H, W, 3).

    Raises:
        UsageError, LimitError: an argument is out of range, or the model is of selective compression.
        ModelError: there is no such model or sampler, or it belongs to another one.
    """
    loaded = load(models.find(model))
    if loaded.architecture.selective:
        raise UsageError("pictures of noise are for models of generative compression; this one needs labels")
    if not 1 <= count <= MOST:
        raise UsageError(f"there may be 1 to {MOST} pictures, not {count}")
    chance = torch.Generator().manual_seed(seed)
    if codes == UNIFORM:
        height, width = size or (256, 256)
        if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
            raise UsageError(f"a picture has 1 to {MAX_SIDE} rows and columns, not {height} and {width}")
        if count * height * width > MAX_PIXELS:
            raise LimitError(f"{count} pictures of {height}x{width} pixels exceed the limit of {MAX_PIXELS}")
        shape = (count, loaded.architecture.channels[-1], *grid(loaded.architecture, height, width))
        symbols = torch.randint(-LARGEST, LARGEST + 1, shape, generator=chance).numpy()
    else:
        symbols = _sampled(loaded, codes, count, chance)
        height, width = (side * loaded.architecture.stride for side in symbols.shape[2:])
        if size not in (None, (height, width)):
            raise UsageError(f"the sampler {codes} makes pictures of {width}x{height} pixels, no others")
    everything = np.ones(symbols.shape[2:], bool)
    contents = [Content(each.astype(np.int32), everything, None) for each in symbols]
    return [samples(synthesised(loaded, content, height, width), 8, False) for content in contents]


def _sampled(model: Model, codes: str, count: int, chance: torch.Generator) -> np.ndarray:
    """Symbols of a sampler, the nearest levels to what it makes."""
    network = sampler.load(models.find(codes), model.hash)
    if network.shape.channels != model.architecture.channels[-1]:
        raise UsageError(f"the sampler has {network.shape.channels} channels, the model {model.architecture.channels}")
    with torch.inference_mode():
        return network(torch.randn(count, sampler.NOISE, generator=chance)).round().numpy()
