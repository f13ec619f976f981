"""The hyperprior codec: trained transforms and entropy models, one model for all rates.

Transforms and entropy models are those of Ballé et al. 2018 (arXiv 1802.01436), Minnen et al. 2018 (arXiv 1809.02736)
and Minnen & Singh 2020 (arXiv 2007.08739), the variable rate that of Kamisli et al. 2024 (arXiv 2402.18930); the stream
is section 3 of docs/FORMAT.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aquatint.codecs.deferred import functions_of

if TYPE_CHECKING:
    from aquatint.codecs.hyperprior.decoder import decode, describe
    from aquatint.codecs.hyperprior.encoder import encode, model_hash

__all__ = ["decode", "describe", "encode", "model_hash"]

__getattr__ = functions_of(__name__)
