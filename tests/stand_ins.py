"""Codecs that do what tests need, for worker processes to import."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aquatint.errors import DependencyError
from aquatint.evaluation.coders import Coded
from aquatint.evaluation.search import OutOfReachError


@dataclass(frozen=True)
class Coarse:
    """Keeps every nth pixel, as many as the rate allows, pads the file to that rate, and counts its encodes.

    Attributes:
        name: of the codec.
        log: a file that gets a byte for every encode.
        noise: added to what is decoded.
        version: of the codec.
    """

    name: str = "coarse"
    log: str = os.devnull
    noise: int = 0
    version: str = "1"

    extension = ".bin"

    def describe(self) -> Mapping[str, object]:
        return {"version": self.version, "settings": {"noise": self.noise}}

    def encode(self, pixels: np.ndarray, bpp: float, *, threads: int) -> Coded:
        with Path(self.log).open("ab") as file:
            file.write(b".")
        height, width, _ = pixels.shape
        wanted = round(bpp * height * width / 8)
        head = np.array([height, width], "<u2").tobytes()
        for step in range(1, max(height, width) + 1):
            data = head + step.to_bytes(2, "little") + pixels[::step, ::step].tobytes()
            if len(data) <= wanted:
                break
        return Coded(data.ljust(wanted, b"."), 0.01)

    def decode(self, data: bytes, *, threads: int) -> np.ndarray:
        height, width, step = np.frombuffer(data[:6], "<u2").tolist()
        rows, columns = -(-height // step), -(-width // step)
        kept = np.frombuffer(data[6 : 6 + 3 * rows * columns], np.uint8).reshape(rows, columns, 3)
        samples = kept.repeat(step, axis=0).repeat(step, axis=1)[:height, :width].astype(int)
        noise = np.random.default_rng(0).integers(-self.noise, self.noise + 1, samples.shape)
        return np.clip(samples + noise, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Broken(Coarse):
    """Fails in a way of its own at the rates up to 1."""

    way: str = "raise"

    def encode(self, pixels: np.ndarray, bpp: float, *, threads: int) -> Coded:
        if bpp <= 1:
            if self.way == "crash":
                os._exit(7)
            if self.way == "kill":
                os.kill(os.getpid(), 9)
            if self.way == "reach":
                raise OutOfReachError("no such file")
            if self.way == "memory":
                raise MemoryError
            if self.way == "disk":
                raise OSError(28, "No space left on device", "somewhere")
            raise ZeroDivisionError("by nothing")
        return super().encode(pixels, bpp, threads=threads)


@dataclass(frozen=True)
class Absent(Coarse):
    """Is not installed."""

    def describe(self) -> Mapping[str, object]:
        raise DependencyError("it needs a package: pip install absent")
