"""The transport codec: vectors with codes from semi-discrete optimal transport, for the lowest rates.

The potential of an optimal-transport map decides in training which code a vector gets, so that all codes are used; the
stream has only their indices. It is section 4 of docs/FORMAT.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aquatint.codecs.deferred import functions_of

if TYPE_CHECKING:
    from aquatint.codecs.transport.decoder import decode, describe
    from aquatint.codecs.transport.encoder import encode, model_hash

__all__ = ["decode", "describe", "encode", "model_hash"]

__getattr__ = functions_of(__name__)
