"""Decoding: the native module does all of it."""

from __future__ import annotations

import numpy as np

from aquatint import native
from aquatint.codecs.overfitted import stream
from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.container import NO_MODEL, Header
from aquatint.errors import UsageError


def model_hash(model: str | None) -> bytes:
    """No model is needed, see `aquatint.codecs.Codec.model_hash`.

    Raises:
        UsageError: one is named.
    """
    if model is not None:
        raise UsageError(f"the overfitted codec has no trained models, so {model!r} cannot be used")
    return NO_MODEL


def decode(payload: bytes, header: Header, *, threads: int) -> np.ndarray:
    """Decodes a payload, see `aquatint.codecs.Codec.decode`."""
    return native.decode(payload, header.height, header.width, header.depth, header.grayscale, threads)


def describe(payload: bytes, header: Header) -> dict[str, object]:
    """The decoder that a payload brings, see `aquatint.codecs.Codec.describe`."""
    sizes, *_ = native.decode_parameters(payload)
    architecture = Architecture(*sizes)
    return {**vars(architecture), "multiplications_per_pixel": stream.multiplications_per_pixel(payload)}
