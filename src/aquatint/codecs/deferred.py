"""Functions of a codec that are imported when they are first asked for: training needs networks without the coder."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from aquatint.errors import DependencyError

_HOMES = {"decode": "decoder", "describe": "decoder", "encode": "encoder", "model_hash": "encoder"}


def functions_of(package: str) -> Callable[[str], object]:
    """The `__getattr__` of a codec's package that has its functions in the modules `encoder` and `decoder`.

    What it returns raises DependencyError if a package is missing that the module needs.
    """

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            home = importlib.import_module(f"{package}.{_HOMES[name]}")
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("aquatint"):
                raise
            raise DependencyError(f"this codec needs {error.name}: pip install 'aquatint[torch]'") from None
        return getattr(home, name)

    return __getattr__
