"""The overfitted codec: a latent pyramid and two tiny networks, fitted to each picture and all of it sent.

After C3 (Kim et al. 2023, arXiv 2312.02753) and Cool-Chic (Ladune et al. 2023, arXiv 2212.05458); the stream is
section 2 of docs/FORMAT.md. Decoding needs numpy and the native module alone.
"""

from __future__ import annotations

from aquatint.codecs.overfitted.decode import decode, describe
from aquatint.codecs.overfitted.encode import encode

__all__ = ["decode", "describe", "encode"]
