"""Decoding a payload of the extreme codec (docs/FORMAT.md, section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from aquatint.codecs import models
from aquatint.codecs.extreme import maps
from aquatint.codecs.extreme.architecture import STRIDE
from aquatint.codecs.extreme.coding import code
from aquatint.codecs.extreme.model import Model, load
from aquatint.codecs.extreme.network import Labels
from aquatint.codecs.extreme.regions import grid, label_grid
from aquatint.codecs.hyperprior.decoder import torch_threads
from aquatint.codecs.samples import samples
from aquatint.codecs.turns import Reader
from aquatint.container import Header
from aquatint.errors import CorruptStreamError, MissingModelError, TruncatedError

STATIC = 0x80  # of the first byte: symbols have the frequencies of their channels


@dataclass(frozen=True)
class Content:
    """What a payload holds.

    Attributes:
        symbols: numbers from -2 to 2 of shape (C', h, w).
        mask: what of them is coded, bool of shape (h, w).
        labels: the coded labels, of shape (H / s, W / s) rounded up; None for generative compression.
    """

    symbols: np.ndarray
    mask: np.ndarray
    labels: np.ndarray | None


def decode(payload: bytes, header: Header, *, threads: int) -> np.ndarray:
    """Decodes a payload, see `aquatint.codecs.Codec.decode`."""
    model = models.of_header(header.model_hash, load)
    content = read(model, payload, header.height, header.width)
    with torch_threads(threads):
        pixels = synthesised(model, content, header.height, header.width)
    return samples(pixels, header.depth, header.grayscale)


def describe(payload: bytes, header: Header) -> dict[str, object]:
    """The model, the channels and what is preserved, see `aquatint.codecs.Codec.describe`."""
    channels = payload[0] & ~STATIC if payload else None
    try:
        file = models.find_hash(header.model_hash)
    except MissingModelError:
        return {"model": "not installed", "channels": channels, "multiplications_per_pixel": None}
    model = load(file)
    channels, static = _opened(payload, model)
    found: dict[str, object] = {
        "model": file.name,
        "channels": channels,
        "symbols": "frequencies" if static else "context model",
    }
    if model.architecture.selective:
        content = read(model, payload, header.height, header.width)
        found["preserved"] = float(content.mask.mean())
    return found | {"multiplications_per_pixel": model.multiplications_per_pixel}


def read(model: Model, payload: bytes, height: int, width: int) -> Content:
    """The content of a payload for a picture of that size.

    Raises:
        TruncatedError, CorruptStreamError: the payload is not one of this model and size.
    """
    channels, static = _opened(payload, model)
    architecture = model.architecture
    turn = Reader(payload[1:])
    labels, mask = None, np.ones(grid(architecture, height, width), bool)
    if architecture.selective:
        labels = maps.read(turn, len(architecture.classes), label_grid(architecture, height, width))
        mask = maps.read(turn, 2, mask.shape) == 1  # type: ignore[arg-type]
    symbols = code(model, channels, mask, turn, static=static)
    turn.finish()
    return Content(symbols, mask, labels)


def synthesised(model: Model, content: Content, height: int, width: int) -> np.ndarray:
    """Pixels of a content, float32 of shape (H, W, 3), not clipped."""
    network, (channels, rows, columns) = model.network, content.symbols.shape
    symbols = torch.zeros(1, model.architecture.channels[-1], rows, columns)
    symbols[0, :channels] = torch.from_numpy(content.symbols)
    with torch.inference_mode():
        labels = None if content.labels is None else known_labels(model, content.labels, height, width)
        mask = torch.from_numpy(content.mask.astype(np.float32))[None, None]
        pixels = network.pixels(symbols.to(memory_format=torch.channels_last), labels, mask)
    return pixels[0, :, :height, :width].permute(1, 2, 0).contiguous().numpy()


def known_labels(model: Model, labels: np.ndarray, height: int, width: int) -> Labels:
    """What the networks see of coded labels; the last row and column are repeated as those of the picture are."""
    places = STRIDE // model.architecture.label_stride
    rows, columns = (-(-side // STRIDE) * places for side in (height, width))
    padded = np.pad(labels, ((0, rows - labels.shape[0]), (0, columns - labels.shape[1])), mode="edge")
    return model.network.labels(torch.from_numpy(padded)[None])


def _opened(payload: bytes, model: Model) -> tuple[int, bool]:
    if not payload:
        raise TruncatedError("the payload is empty; its first byte is the number of channels")
    channels = payload[0] & ~STATIC
    if channels not in model.architecture.channels:
        raise CorruptStreamError(f"the payload has {channels} channels; the model has {model.architecture.channels}")
    return channels, bool(payload[0] & STATIC)
