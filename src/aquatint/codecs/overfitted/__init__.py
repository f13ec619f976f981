"""The overfitted codec: a latent pyramid and two tiny networks, fitted to each picture and all of it sent.

After C3 (Kim et al. 2023, arXiv 2312.02753) and Cool-Chic (Ladune et al. 2023, arXiv 2212.05458); the stream is
section 2 of docs/FORMAT.md. Decoding needs numpy and the native module alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aquatint.codecs.overfitted.decoder import decode, describe, model_hash

if TYPE_CHECKING:
    from aquatint.codecs.overfitted.encoder import encode

__all__ = ["decode", "describe", "encode", "model_hash"]


def __getattr__(name: str) -> object:
    if name == "encode":  # only when it is used: decoding must start quickly
        from aquatint.codecs.overfitted.encoder import encode

        return encode
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
