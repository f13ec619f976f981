"""Pictures from noise: the optimal map takes noise to codes, and the decoder makes pixels of them.

Without a picture, codes are drawn so that each is as likely as any other, and between codes the map is linear as far as
no jump of it lies between them (`aquatint.transport.extension`).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch.nn import functional

from aquatint.codecs import models
from aquatint.codecs.hyperprior.decoder import grid
from aquatint.codecs.samples import samples
from aquatint.codecs.transport.decoder import synthesised
from aquatint.codecs.transport.model import Model, load
from aquatint.container import MAX_PIXELS
from aquatint.errors import LimitError, UsageError
from aquatint.transport.extension import Extension, extension
from aquatint.transport.semidiscrete import cube, solve

_TOLERANCE = 0.05


def sample(model: str, height: int, width: int, *, smoothness: float = 1.0, seed: int = 0) -> np.ndarray:
    """A picture of noise.

    Arguments:
        model: name or path of a model of the transport codec.
        height, width: of the picture, in pixels.
        smoothness: standard deviation of the filter over the noise, in latents, 0 to 64: neighbours have noise alike.
        seed: of the noise.

    Returns:
        uint8 of shape (height, width, 3).

    Raises:
        UsageError, LimitError: an argument is out of range.
        ModelError: there is no such model, or it is of another codec.
    """
    if not (1 <= height <= 65535 and 1 <= width <= 65535):
        raise UsageError(f"a picture has 1 to 65535 rows and columns, not {height} and {width}")
    if height * width > MAX_PIXELS:
        raise LimitError(f"a picture of {height}x{width} pixels exceeds the limit of {MAX_PIXELS}")
    if not 0 <= smoothness <= 64:
        raise UsageError(f"smoothness must be from 0 to 64, not {smoothness}")
    loaded = load(models.find(model))
    rows, columns = grid(height, width)
    noise = smooth_noise(loaded.architecture.dimensions, rows, columns, smoothness, seed)
    latents = _mapped(loaded)(noise.reshape(len(noise), -1).T).T.reshape(noise.shape)
    return samples(synthesised(loaded, latents.astype(np.float32), height, width), 8, False)


def smooth_noise(channels: int, rows: int, columns: int, smoothness: float, seed: int) -> np.ndarray:
    """Noise that is alike in neighbours, and uniform on [-1/2, 1/2] in every place, float32 of shape (C, h, w)."""
    reach = int(np.ceil(3 * smoothness))
    chance = torch.Generator().manual_seed(seed)
    noise = torch.randn(channels, 1, rows + 2 * reach, columns + 2 * reach, generator=chance)
    if reach:
        kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / smoothness) ** 2)
        kernel /= kernel.square().sum().sqrt()  # the variance stays 1
        noise = functional.conv2d(functional.conv2d(noise, kernel[None, None, None]), kernel[None, None, :, None])
    # What is left of a Gaussian is uniform through its own distribution.
    return (torch.special.ndtr(noise[:, 0].double()) - 0.5).float().numpy()


@lru_cache(maxsize=4)
def _map(hash_: bytes, codes: bytes, dimensions: int) -> Extension:
    values = np.frombuffer(codes, np.float32).reshape(-1, dimensions)
    solution = solve(values, cube(dimensions), tolerance=_TOLERANCE)
    return extension(values, solution.heights, cube(dimensions))


def _mapped(model: Model) -> Extension:
    """The map to a model's first codes, which takes seconds to solve: once for each model."""
    return _map(model.hash, model.codes[0].tobytes(), model.architecture.dimensions)
