"""Commands of the project as benchmarks run them, several at a time."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from aquatint.evaluation.pool import processors


def comparison(description: str | None) -> argparse.ArgumentParser:
    """The options that all comparisons of trained models have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--workers", type=int, default=2)
    return parser


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


def train(options: argparse.Namespace, recipe: str, run: str, steps: int, *more: object) -> Path:
    """Trains into a folder of `--out`, with a share of the processor; returns the folder."""
    folder, threads = options.out / run, max(1, processors() // options.workers)
    common = ("--data", *options.data, "--threads", threads, "--quiet")
    aquatint("train", recipe, "--out", folder, "--steps", steps, *common, *more)
    return folder


def export(run: Path, target: Path) -> None:
    """Writes a run's model for a measurement."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aquatint("export", run, target, "--licence", "for measuring only", "--data", "see the command")
