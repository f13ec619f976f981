"""The extreme codec: few symbols of five levels and a generator that paints what they leave open, below 0.1 bpp.

Generative compression (GC) of the whole picture, or selective compression (SC), which codes chosen regions and
synthesises the rest from a map of labels: Agustsson et al. 2019 (arXiv 1804.02958). The stream is section 5 of
docs/FORMAT.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aquatint.codecs.deferred import functions_of

if TYPE_CHECKING:
    from aquatint.codecs.extreme.decoder import decode, describe
    from aquatint.codecs.extreme.encoder import encode, model_hash

__all__ = ["decode", "describe", "encode", "model_hash"]

__getattr__ = functions_of(__name__)
