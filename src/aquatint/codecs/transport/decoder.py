"""Decoding a payload of the transport codec (docs/FORMAT.md, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from aquatint.codecs import models
from aquatint.codecs.hyperprior.decoder import grid, torch_threads
from aquatint.codecs.samples import samples
from aquatint.codecs.transport import scale
from aquatint.codecs.transport.coding import Reader, sum_of_codes, unpacked, visit
from aquatint.codecs.transport.model import Model, load
from aquatint.codecs.turns import Reader as TurnReader
from aquatint.container import Header
from aquatint.errors import CorruptStreamError, MissingModelError, TruncatedError

FIXED = 0x80  # of the first byte: indices have a fixed length
HALF = 0x40  # of the first byte: the picture is coded at half its size


@dataclass(frozen=True)
class _Layout:
    """What the first byte of a payload says."""

    stages: int
    fixed: bool
    half: bool


def decode(payload: bytes, header: Header, *, threads: int) -> np.ndarray:
    """Decodes a payload, see `aquatint.codecs.Codec.decode`."""
    model = models.of_header(header.model_hash, load)
    half = _opened(payload, model).half
    indices = read(model, payload, latent_size(header.height, header.width, half=half))
    with torch_threads(threads):
        pixels = picture(model, sum_of_codes(model, indices), header.height, header.width, half=half)
    return samples(pixels, header.depth, header.grayscale)


def describe(payload: bytes, header: Header) -> dict[str, object]:
    """The model, the stages and the kind of indices of a payload, see `aquatint.codecs.Codec.describe`."""
    stages = payload[0] & ~(FIXED | HALF) if payload else None
    try:
        file = models.find_hash(header.model_hash)
    except MissingModelError:
        return {"model": "not installed", "stages": stages, "multiplications_per_pixel": None}
    model = load(file)
    layout = _opened(payload, model)
    return {
        "model": file.name,
        "stages": layout.stages,
        "indices": "fixed length" if layout.fixed else "context model",
        "size": "half" if layout.half else "whole",
        "multiplications_per_pixel": model.multiplications_per_pixel / (4 if layout.half else 1),
    }


def read(model: Model, payload: bytes, size: tuple[int, int]) -> np.ndarray:
    """Indices of a payload, of shape (stages, h, w).

    Raises:
        TruncatedError, CorruptStreamError: the payload is not one of this model and size.
    """
    layout = _opened(payload, model)
    stages = layout.stages
    if layout.fixed:
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


def picture(model: Model, latents: np.ndarray, height: int, width: int, *, half: bool) -> np.ndarray:
    """Pixels of decoded latents, those of the picture or of one at half its size; float32 of shape (H, W, 3)."""
    if half:
        return scale.doubled(synthesised(model, latents, scale.half(height), scale.half(width)), height, width)
    return synthesised(model, latents, height, width)


def latent_size(height: int, width: int, *, half: bool) -> tuple[int, int]:
    """Rows and columns of latent vectors."""
    return grid(scale.half(height), scale.half(width)) if half else grid(height, width)


def _opened(payload: bytes, model: Model) -> _Layout:
    if not payload:
        raise TruncatedError("the payload is empty; its first byte is the number of stages")
    stages = payload[0] & ~(FIXED | HALF)
    if not 1 <= stages <= model.architecture.stages:
        raise CorruptStreamError(f"the payload has {stages} stages; the model has 1 to {model.architecture.stages}")
    return _Layout(stages, bool(payload[0] & FIXED), bool(payload[0] & HALF))
