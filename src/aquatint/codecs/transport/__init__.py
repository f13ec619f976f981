"""The transport codec: vectors with codes from semi-discrete optimal transport, for the lowest rates.

The potential of an optimal-transport map decides in training which code a vector gets, so that all codes are used; the
stream has only their indices. It is section 4 of docs/FORMAT.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aquatint.codecs.transport.decoder import decode, describe
    from aquatint.codecs.transport.encoder import encode, model_hash

__all__ = ["decode", "describe", "encode", "model_hash"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:  # only now: training needs the networks without the coder
        if name in ("decode", "describe"):
            from aquatint.codecs.transport import decoder as home
        else:
            from aquatint.codecs.transport import encoder as home
    except ModuleNotFoundError as error:
        from aquatint.errors import DependencyError

        if (error.name or "").startswith("aquatint"):
            raise
        raise DependencyError(f"this codec needs {error.name}: pip install 'aquatint[torch]'") from None
    return getattr(home, name)
