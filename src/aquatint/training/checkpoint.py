"""Checkpoints: everything that a training needs to go on as if it had never stopped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from aquatint.errors import ModelError

LAST, BEST = "last.pt", "best.pt"
_VERSION = 1


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint as a whole: who reads the path finds the old one or the new one.

    Raises:
        OSError: the disk is full or the path cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            torch.save({"version": _VERSION, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    """What `save` was given. Nothing in the file is executed.

    Arguments:
        path: of a checkpoint, or of a run's folder, whose best checkpoint is read.

    Raises:
        ModelError: there is no checkpoint, or it is damaged or of another version.
    """
    if path.is_dir():
        path = path / (BEST if (path / BEST).exists() else LAST)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"there is no checkpoint {path}") from None
    except Exception as error:  # torch raises anything when a file is damaged
        raise ModelError(f"{path} is no checkpoint: {str(error).splitlines()[0] if str(error) else error!r}") from None
    if not isinstance(state, dict) or state.get("version") != _VERSION:
        raise ModelError(f"{path} is no checkpoint of version {_VERSION}")
    return state
