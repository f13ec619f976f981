"""Pictures as metrics compare them: opaque, 8 bits a sample, from picture files, `.aqt` files and folders of either."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image as PILImage

from aquatint import api, image
from aquatint.container import MAGIC
from aquatint.errors import ImageError, UsageError


def load(source: str | os.PathLike[str] | IO[bytes]) -> np.ndarray:
    """The samples of a picture or an .aqt file, uint8 (H, W, 3); those of 16 bits are rounded to 8.

    Arguments:
        source: a path, or a binary file that can be rewound.

    Raises:
        ImageError, LimitError, FileFormatError: see `image.read` and `api.decode`.
        ImageError: the picture has an alpha channel, which no metric here can judge.
        OSError: the file cannot be opened or read.
    """
    if isinstance(source, str | os.PathLike):
        with Path(source).open("rb") as file:
            return _load(file, os.fspath(source))
    return _load(source, getattr(source, "name", "the stream"))


def _load(file: IO[bytes], name: str) -> np.ndarray:
    start = file.read(len(MAGIC))
    file.seek(0)
    picture = api.decode(file) if start == MAGIC else image.read(file)
    if picture.alpha is not None:
        raise ImageError(f"{name}: the picture has an alpha channel; metrics compare opaque pictures")
    samples = picture.to_array()
    if picture.depth == 16:
        samples = image.to_8_bits(samples)
    return np.repeat(samples[..., None], 3, axis=2) if picture.grayscale else samples


class Folder:
    """The pictures of a folder, by name without extension; iterating loads them in the order of their names.

    Arguments:
        path: the folder. Files with other extensions than those of pictures, and hidden ones, are left out.

    Raises:
        UsageError: there is no picture, or two have the same name but for their extensions.
        OSError: the folder cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        PILImage.init()
        extensions = PILImage.registered_extensions().keys() | {".aqt"}
        self.files: dict[str, Path] = {}
        for file in sorted(Path(path).iterdir()):
            if file.suffix.lower() not in extensions or file.name.startswith(".") or not file.is_file():
                continue
            other = self.files.setdefault(file.stem, file)
            if other is not file:
                raise UsageError(f"{os.fspath(path)}: {other.name} and {file.name} have the same name")
        if not self.files:
            raise UsageError(f"{os.fspath(path)}: there is no picture in this folder")

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(load, self.files.values())

    def __len__(self) -> int:
        return len(self.files)


def pairs(reference: str | os.PathLike[str], distorted: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """The files of two folders whose names without extensions are the same.

    Raises:
        UsageError: a picture of either folder has no partner, or see `Folder`.
        OSError: a folder cannot be read.
    """
    first, second = Folder(reference).files, Folder(distorted).files
    if alone := sorted(first.keys() ^ second.keys()):
        lacking = distorted if alone[0] in first else reference
        more = f", nor {len(alone) - 1} others their partner" if len(alone) > 1 else ""
        raise UsageError(f"{os.fspath(lacking)}: there is no picture named {alone[0]!r}{more}")
    return [(str(file), str(second[name])) for name, file in first.items()]
