"""The codecs, and the contract that each of them keeps.

A codec turns pixels into a payload and back. The container, the picture's file, its alpha channel and its metadata are
not its business; nor does anything outside this package look into a codec beyond this contract.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from aquatint.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from aquatint.codecs.options import Options
    from aquatint.codecs.target import Target
    from aquatint.container import Header

# The modules of the codecs that this version can run.
_MODULES = {
    "overfitted": "aquatint.codecs.overfitted",
    "hyperprior": "aquatint.codecs.hyperprior",
    "extreme": "aquatint.codecs.extreme",
    "transport": "aquatint.codecs.transport",
}

# Those whose `decode` also takes `generator` and `realism`, see `aquatint.decode`.
WITH_GENERATORS = ("hyperprior",)

# Those that know the options `labels` and `preserve`.
WITH_LABELS = ("extreme",)


@dataclass(frozen=True)
class Progress:
    """How far an encode has come.

    Attributes:
        step, steps: work done and work in all.
        bpp: present estimate of the rate in bits per pixel.
        psnr: present estimate of the peak signal-to-noise ratio in dB.
        seconds, seconds_left: time since the start, and a guess of the time to come.
    """

    step: int
    steps: int
    bpp: float
    psnr: float
    seconds: float
    seconds_left: float


@dataclass(frozen=True)
class Report:
    """What an encode has measured about its payload.

    Attributes:
        measure_psnr: what `psnr` calls: decoding may be most of an encoder's time, and not everybody wants to know.
        estimated_bits: what the objective thought the payload costs.
        multiplications_per_pixel: cost of decoding.
        steps: optimisation steps taken (0 for codecs that are not fitted).
        lagrangian: the final weight of a bit per pixel against the distortion.
    """

    measure_psnr: Callable[[], float]
    estimated_bits: float
    multiplications_per_pixel: float
    steps: int
    lagrangian: float

    @cached_property
    def psnr(self) -> float:
        """Of the decoded picture (as a decoder rounds it) against the encoder's input, in dB; inf if they are equal."""
        return self.measure_psnr()


class Codec(Protocol):
    """What `load(name)` returns: a module (or an object) with these functions."""

    def model_hash(self, model: str | None) -> bytes:
        """The hash of the trained model that `encode` would use, for the file's header; zeros if the codec has none.

        `model` is a name, a path or the id of a repository, or None for the codec's default.
        """
        ...

    def encode(
        self,
        pixels: np.ndarray,
        target: Target,
        options: Options,
        *,
        depth: int,
        grayscale: bool,
        overhead: int,
    ) -> tuple[bytes, Report]:
        """Encodes pixels, float32 of shape (H, W, 3) in [0, 1], into a payload.

        `depth` and `grayscale` say how a decoder will round them, and so what is measured. `overhead` is what the
        container will add around the payload, in bytes; targets of size and bpp include it.
        """
        ...

    def decode(self, payload: bytes, header: Header, *, threads: int) -> np.ndarray:
        """Decodes a payload to uint8, or uint16 if header.depth is 16, of shape (H, W, 3), or (H, W) if grayscale."""
        ...

    def describe(self, payload: bytes, header: Header) -> dict[str, object]:
        """What `aquatint info` prints about a payload, without decoding it; has at least multiplications_per_pixel."""
        ...


def load(name: str) -> Codec:
    """The codec called `name`.

    Raises:
        UsageError: there is no such codec, or this version cannot run it.
    """
    if name not in _MODULES:
        raise UsageError(f"codec {name!r} is not available; choose one of {', '.join(_MODULES)}")
    return importlib.import_module(_MODULES[name])  # type: ignore[return-value]
