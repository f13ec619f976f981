"""What a training tells: JSON Lines, TensorBoard if it is installed, sample pictures, and a live line."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PILImage
from torch import Tensor

LOG = "log.jsonl"
_MOST_ROWS = 6


class Log:
    """The log of one run; only the first process has one.

    Arguments:
        folder: of the run, which exists.
        step: from which the run goes on; later lines of an earlier attempt are dropped.
        steps: of the whole run.
        quiet: show no live line.
    """

    def __init__(self, folder: Path, step: int, steps: int, *, quiet: bool) -> None:
        self.folder = folder
        path = folder / LOG
        kept = [line for line in _lines(path) if json.loads(line)["step"] <= step]
        self._file = path.open("w", buffering=1)
        self._file.writelines(line + "\n" for line in kept)
        self._board = _board(folder, step)
        self._first, self._start = step, time.monotonic()
        self._live = None if quiet or not sys.stderr.isatty() else _Live(step, steps)

    def write(self, step: int, kind: str, numbers: Mapping[str, float]) -> None:
        """Adds one line; kind is "train" or "validation"."""
        seconds = time.monotonic() - self._start
        line = {"step": step, "kind": kind, **numbers, "seconds_per_step": seconds / max(1, step - self._first)}
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in line.items()
        }
        self._file.write(json.dumps(finite) + "\n")
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)
        if self._live is not None:
            self._live.update(step, kind, numbers)

    def pictures(self, step: int, columns: Sequence[Tensor]) -> None:
        """Writes a grid of pictures, a column for each batch of shape (B, 3, S, S)."""
        folder = self.folder / "samples"
        folder.mkdir(exist_ok=True)
        rows = torch.cat([batch[:_MOST_ROWS].float().cpu() for batch in columns], 3)
        grid = torch.cat(list(rows), 1).clamp(0, 1).permute(1, 2, 0).numpy()
        PILImage.fromarray(np.rint(grid * 255).astype(np.uint8)).save(folder / f"{step:07}.webp", quality=90)

    def close(self) -> None:
        """Ends the live line and closes the files."""
        if self._live is not None:
            self._live.close()
        if self._board is not None:
            self._board.close()
        self._file.close()


def _lines(path: Path) -> list[str]:
    """The whole lines of a log; the last one may have been cut off."""
    if not path.exists():
        return []
    return [line for line in path.read_text().splitlines() if line.startswith("{") and line.endswith("}")]


def _board(folder: Path, step: int) -> Any:
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter  # type: ignore[attr-defined]

    return SummaryWriter(str(folder / "tensorboard"), purge_step=step)


class _Live:
    """A progress bar with the last numbers, on standard error."""

    def __init__(self, step: int, steps: int) -> None:
        from rich import progress
        from rich.console import Console

        self._bar = progress.Progress(
            progress.TextColumn("{task.completed}/{task.total}"),
            progress.BarColumn(),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[numbers]}", markup=False),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("", total=steps, completed=step, numbers="")
        self._validation = ""
        self._bar.start()

    def update(self, step: int, kind: str, numbers: Mapping[str, float]) -> None:
        if kind == "validation":
            self._validation = f" | validated {next(iter(numbers.values())):.4f}"
            shown = ""
        else:
            shown = " ".join(f"{name} {value:.3f}" for name, value in list(numbers.items())[:4])
        self._bar.update(self._task, completed=step, numbers=shown + self._validation)

    def close(self) -> None:
        self._bar.stop()
