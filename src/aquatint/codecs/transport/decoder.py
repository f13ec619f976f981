"""Decoding a payload of the transport codec (docs/FORMAT.md, section 4)."""

from __future__ import annotations

import numpy as np
import torch

from aquatint.codecs import models
from aquatint.codecs.hyperprior.decoder import grid, torch_threads
from aquatint.codecs.samples import samples
from aquatint.codecs.transport.coding import Reader, sum_of_codes, unpacked, visit
from aquatint.codecs.transport.model import Model, load
from aquatint.codecs.turns import Reader as TurnReader
from aquatint.container import Header
from aquatint.errors import CorruptStreamError, MissingModelError, TruncatedError

FIXED = 0x80  # of the first byte: indices have a fixed length


def decode(payload: bytes, header: Header, *, threads: int) -> np.ndarray:
    """Decodes a payload, see `aquatint.codecs.Codec.decode`."""
    model = models.of_header(header.model_hash, load)
    indices = read(model, payload, grid(header.height, header.width))
    with torch_threads(threads):
        pixels = synthesised(model, sum_of_codes(model, indices), header.height, header.width)
    return samples(pixels, header.depth, header.grayscale)


def describe(payload: bytes, header: Header) -> dict[str, object]:
    """The model, the stages and the kind of indices of a payload, see `aquatint.codecs.Codec.describe`."""
    stages = payload[0] & ~FIXED if payload else None
    try:
        file = models.find_hash(header.model_hash)
    except MissingModelError:
        return {"model": "not installed", "stages": stages, "multiplications_per_pixel": None}
    model = load(file)
    stages, fixed = _opened(payload, model)
    return {
        "model": file.name,
        "stages": stages,
        "indices": "fixed length" if fixed else "context model",
        "multiplications_per_pixel": model.multiplications_per_pixel,
    }


def read(model: Model, payload: bytes, size: tuple[int, int]) -> np.ndarray:
    """Indices of a payload, of shape (stages, h, w).

    Raises:
        TruncatedError, CorruptStreamError: the payload is not one of this model and size.
    """
    stages, fixed = _opened(payload, model)
    if fixed:
        return unpacked(payload[1:], (stages, *size), model.architecture.bits)
    if len(payload) < 2:
        raise TruncatedError("the payload has one byte; the second one says how many places the last stage has")
    turns = TurnReader(payload[2:])
    indices = visit(model, stages, size, Reader(model.architecture.bits, stages, payload[1], turns))
    turns.finish()
    return indices


def synthesised(model: Model, latents: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels of decoded latents, float32 of shape (H, W, 3), not clipped."""
    with torch.inference_mode():
        y = torch.from_numpy(np.ascontiguousarray(latents))[None].to(memory_format=torch.channels_last)
        pixels = model.network.pixels(y)
    return pixels[0, :, :height, :width].permute(1, 2, 0).contiguous().numpy()


def _opened(payload: bytes, model: Model) -> tuple[int, bool]:
    if not payload:
        raise TruncatedError("the payload is empty; its first byte is the number of stages")
    stages = payload[0] & ~FIXED
    if not 1 <= stages <= model.architecture.stages:
        raise CorruptStreamError(f"the payload has {stages} stages; the model has 1 to {model.architecture.stages}")
    return stages, bool(payload[0] & FIXED)
