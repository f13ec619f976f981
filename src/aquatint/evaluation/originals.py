"""The pictures of a run: what every codec gets of them, and by which name and content they are known."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aquatint import image
from aquatint.errors import AquatintError, UsageError

EXTENSIONS = {".png", ".webp", ".jpg", ".jpeg", ".tif", ".tiff", ".ppm", ".bmp"}  # what is taken of a folder


@dataclass(frozen=True)
class Picture:
    """A picture, or why there is none.

    Attributes:
        name: unique in a run.
        path: as it was given.
        digest: of pixels and size, 16 hexadecimal digits; empty if it cannot be read.
        height, width: in pixels.
        error: why it cannot be read.
    """

    name: str
    path: str
    digest: str = ""
    height: int = 0
    width: int = 0
    error: str | None = None

    @property
    def pixels(self) -> int:
        """How many there are."""
        return self.height * self.width


def find(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Files that are named, and the pictures in folders that are named, sorted.

    Raises:
        UsageError: there are none.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found += sorted(file for file in path.iterdir() if file.suffix.lower() in EXTENSIONS)
        else:
            found.append(path)
    if not found:
        raise UsageError("there are no pictures to evaluate")
    return list(dict.fromkeys(found))


def take(paths: Sequence[Path], folder: Path) -> list[Picture]:
    """Reads pictures and keeps the pixels that all codecs get, 8-bit sRGB without alpha, as `folder`/DIGEST.png.

    A picture that cannot be read is in the list all the same, with its error.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names: set[str] = set()
    pictures = []
    for path in paths:
        name = path.stem
        while name in names:
            name += "+"
        names.add(name)
        try:
            pixels = rgb8(image.read(path))
        except (AquatintError, OSError) as error:
            pictures.append(Picture(name, str(path), error=str(error)))
            continue
        key = digest(pixels)
        save_png(pixels, folder / f"{key}.png")
        pictures.append(Picture(name, str(path), key, *pixels.shape[:2]))
    return pictures


def rgb8(picture: image.Image) -> np.ndarray:
    """A picture's colours as uint8 of shape (H, W, 3)."""
    return np.floor(picture.pixels * 255 + np.float32(0.5)).astype(np.uint8)


def digest(pixels: np.ndarray) -> str:
    """What two pictures share only if their pixels are equal."""
    return hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]


def load_png(path: Path) -> np.ndarray:
    """uint8 of shape (H, W, 3)."""
    return rgb8(image.read(path))


def save_png(pixels: np.ndarray, path: Path) -> None:
    """Writes uint8 of shape (H, W, 3), whole or not at all."""
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    write(path, out.getvalue())


def write(path: Path, data: bytes) -> None:
    """Writes a file that appears when it is complete, or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
