"""Finding the setting of a codec that gives a wanted rate."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from aquatint.errors import AquatintError
from aquatint.evaluation.coders import Coded

REACH = 1.2  # a rate that is missed by a larger factor is out of reach


class OutOfReachError(AquatintError):
    """No setting of a codec comes near the rate that was asked for."""


@dataclass(frozen=True)
class Found:
    """The setting whose file comes nearest to the bits that were wanted.

    Attributes:
        setting: as handed to the encoder.
        data: the file.
        trials: files that were made to find it.
    """

    setting: float
    data: bytes
    trials: int


def search(encode: Callable[[float], bytes], settings: Sequence[float], bits: float) -> Found:
    """Bisects for the setting whose file has, by ratio, the least distance from the bits that are wanted.

    Arguments:
        encode: makes a file at a setting.
        settings: in order of growing files. Small exceptions to that order cost little precision.
        bits: of the whole file.
    """
    files: dict[int, bytes] = {}

    def size(index: int) -> int:
        if index not in files:
            files[index] = encode(settings[index])
        return 8 * len(files[index])

    low, high = 0, len(settings) - 1  # invariant: the first file that is large enough is one of these, or there is none
    while low < high:
        middle = (low + high) // 2
        if size(middle) < bits:
            low = middle + 1
        else:
            high = middle
    size(low)
    best = min(files, key=lambda index: abs(math.log(size(index) / bits)))
    return Found(settings[best], files[best], len(files))


def check_reach(bits: float, wanted: float) -> None:
    """Refuses a file whose size has little to do with what was wanted.

    Raises:
        OutOfReachError: the ratio is beyond `REACH`.
    """
    if not 1 / REACH <= bits / wanted <= REACH:
        raise OutOfReachError(f"{wanted / 8:.0f} bytes are out of reach: the nearest file has {bits / 8:.0f}")


class Searched(ABC):
    """A codec that knows qualities but no rates.

    Attributes:
        qualities: all settings, in order of growing files.
    """

    qualities: Sequence[float]

    @abstractmethod
    def encode_at(self, pixels: np.ndarray, quality: float, threads: int) -> bytes:
        """Encodes uint8 of shape (H, W, 3) at one of the qualities."""

    def encode(self, pixels: np.ndarray, bpp: float, *, threads: int) -> Coded:
        """See `Coder.encode`."""
        seconds: dict[float, float] = {}

        def make(quality: float) -> bytes:
            start = time.perf_counter()
            data = self.encode_at(pixels, quality, threads)
            seconds[quality] = time.perf_counter() - start
            return data

        found = search(make, self.qualities, bpp * pixels.shape[0] * pixels.shape[1])
        return Coded(found.data, seconds[found.setting], found.setting, found.trials)
