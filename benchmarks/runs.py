"""Commands of the project as benchmarks run them, several at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def aquatint(*arguments: object, models: Path | None = None) -> None:
    """Runs a command.

    Arguments:
        arguments: of the command line.
        models: folder of trained models, if it is not the user's.

    Raises:
        subprocess.CalledProcessError: the command failed; it has said why.
    """
    environment = os.environ if models is None else {**os.environ, "AQUATINT_MODELS": str(models)}
    subprocess.run([sys.executable, "-m", "aquatint", *map(str, arguments)], check=True, env=environment)


def export(run: Path, target: Path) -> None:
    """Writes a run's model for a measurement."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aquatint("export", run, target, "--licence", "for measuring only", "--data", "see the command")
