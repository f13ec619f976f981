"""Decoding a payload of the hyperprior codec (docs/FORMAT.md, section 3)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from aquatint import native
from aquatint.codecs import models
from aquatint.codecs.hyperprior.architecture import HYPER_STRIDE, LATENT_STRIDE
from aquatint.codecs.hyperprior.coding import Passes, Reader, scale_logarithm
from aquatint.codecs.hyperprior.generators import OWN, synthesis_for
from aquatint.codecs.hyperprior.integers import ONE
from aquatint.codecs.hyperprior.model import Model, load
from aquatint.codecs.hyperprior.network import painted
from aquatint.codecs.hyperprior.offsets import reconstruct
from aquatint.codecs.hyperprior.transforms import UNIT, Transform
from aquatint.codecs.samples import samples
from aquatint.container import Header
from aquatint.errors import CorruptStreamError, MissingModelError, TruncatedError


def decode(payload: bytes, header: Header, *, threads: int, generator: str = OWN, realism: float = 1.0) -> np.ndarray:
    """Decodes a payload, see `aquatint.codecs.Codec.decode`; with a generator, see `generators.synthesis_for`."""
    model = models.of_header(header.model_hash, load)
    synthesis = synthesis_for(model, generator, realism)
    level, stream = _opened(payload, model)
    latents = _read(model, level, stream, grid(header.height, header.width))
    with torch_threads(threads):
        pixels = synthesised(model, level, latents, header.height, header.width, synthesis)
    return samples(pixels, header.depth, header.grayscale)


def describe(payload: bytes, header: Header) -> dict[str, object]:
    """The model and the level of rate of a payload, see `aquatint.codecs.Codec.describe`."""
    try:
        file = models.find_hash(header.model_hash)
    except MissingModelError:
        return {"model": "not installed", "level": payload[0] if payload else None, "multiplications_per_pixel": None}
    model = load(file)
    level, _ = _opened(payload, model)
    return {
        "model": file.name,
        "level": level,
        "step": model.step(level),
        "multiplications_per_pixel": model.multiplications_per_pixel,
    }


def grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the latents of a picture."""
    return -(-height // LATENT_STRIDE), -(-width // LATENT_STRIDE)


def hyper_grid(size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the hyper-latents of latents."""
    return -(-size[0] // HYPER_STRIDE), -(-size[1] // HYPER_STRIDE)


def synthesised(
    model: Model, level: int, latents: np.ndarray, height: int, width: int, synthesis: Transform | None = None
) -> np.ndarray:
    """Pixels of decoded latents by a synthesis, the model's own if it is None: float32 (H, W, 3), not clipped."""
    step = torch.tensor([model.step(level)], dtype=torch.float32)
    with torch.inference_mode():
        y = torch.from_numpy(latents[None].astype(np.float32)).to(memory_format=torch.channels_last)
        pixels = painted(synthesis or model.network.synthesis, y, model.network.rate(step))
    return pixels[0, :, :height, :width].permute(1, 2, 0).contiguous().numpy()


def dequantised(model: Model, level: int, passes: Passes) -> np.ndarray:
    """Latents of residuals, moved towards the centroids of their bins: float32 of shape (M, h, w)."""
    step = torch.tensor([model.step(level)], dtype=torch.float32)
    with torch.inference_mode():
        residuals = reconstruct(
            torch.from_numpy(passes.residuals.astype(np.float32))[None],
            torch.from_numpy(scale_logarithm(passes.rows))[None],
            step,
            model.network.offset,
        )[0]
    width = model.step(level) * UNIT
    return (residuals.numpy() + passes.means.astype(np.float32) / ONE) * np.float32(width)


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Lets PyTorch use that many threads, 0 for as many as it would."""
    before = torch.get_num_threads()
    try:
        if threads:
            torch.set_num_threads(threads)
        yield
    finally:
        torch.set_num_threads(before)


def _opened(payload: bytes, model: Model) -> tuple[int, native.NumberReader]:
    if not payload:
        raise TruncatedError("the payload is empty; its first byte is the level of rate")
    level = payload[0]
    if level >= len(model.rates):
        raise CorruptStreamError(f"the level of rate is {level}; the model has {len(model.rates)}")
    return level, native.NumberReader(model.tables, payload[1:])


def _read(model: Model, level: int, stream: native.NumberReader, size: tuple[int, int]) -> np.ndarray:
    """Latents of a stream."""
    shape = size if not model.architecture.hyper else hyper_grid(size)
    rows = np.repeat(model.density_rows(level), shape[0] * shape[1])
    centres = model.centres[model.rates.hyper_group(level)][:, None, None]
    numbers = stream.read(rows).reshape(-1, *shape) + centres
    if not model.architecture.hyper:
        stream.finish()
        return numbers.astype(np.float32) * np.float32(model.step(level) * UNIT)
    passes = Passes(model, level, numbers, size, Reader(stream))
    stream.finish()
    return dequantised(model, level, passes)
