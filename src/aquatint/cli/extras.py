"""Parts that need packages of an extra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from aquatint.cli.terminal import say


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Imports in its body that fail end the command with the words that install what is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("aquatint"):
            raise
        say(f"aquatint: error: this needs {error.name}: pip install 'aquatint[{extra}]'")
        raise typer.Exit(1) from None
