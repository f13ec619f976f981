"""The extreme codec: few symbols of five levels and a generator that paints what they leave open, below 0.1 bpp.

Generative compression (GC) of the whole picture, or selective compression (SC), which codes chosen regions and
synthesises the rest from a map of labels: Agustsson et al. 2019 (arXiv 1804.02958). The stream is section 5 of
docs/FORMAT.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aquatint.codecs.extreme.decoder import decode, describe
    from aquatint.codecs.extreme.encoder import encode, model_hash

__all__ = ["decode", "describe", "encode", "model_hash"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:  # only now: training needs the networks without the coder
        if name in ("decode", "describe"):
            from aquatint.codecs.extreme import decoder as home
        else:
            from aquatint.codecs.extreme import encoder as home
    except ModuleNotFoundError as error:
        from aquatint.errors import DependencyError

        if (error.name or "").startswith("aquatint"):
            raise
        raise DependencyError(f"this codec needs {error.name}: pip install 'aquatint[torch]'") from None
    return getattr(home, name)
