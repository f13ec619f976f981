"""Encoding: fit, round, tune the networks, quantise them, and write the stream, towards a target."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aquatint.codecs import Progress, Report
from aquatint.codecs.overfitted import presets
from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.codecs.overfitted.engine import Engine, create_engine
from aquatint.codecs.overfitted.fit import TUNING_SHARE, Reporter, fit, tune
from aquatint.codecs.overfitted.initialise import initial_parameters
from aquatint.codecs.overfitted.quantise import choose_steps, round_latents
from aquatint.codecs.overfitted.stream import Stream
from aquatint.codecs.target import Target
from aquatint.errors import UsageError

# Bits that a network parameter takes on typical photographs, to set them aside before the fit.
TYPICAL_PARAMETER_BITS = 5.0
DEAD_ZONES = -0.3, 0.45  # what the last correction of the rate may use
BISECTIONS = 10
MORE_FITS = 4  # times that a missed rate is fitted further
MORE_STEPS = 0.2  # of the steps each time
SIZE_AIM = 0.99  # of a size target: below it to stay below it


@dataclass(frozen=True)
class Aim:
    """What the payload should come to.

    Attributes:
        lagrangian: to use, or to start from if `bits` is given.
        bits: of the payload, or None if the Lagrangian decides.
        strict: the bits may not be exceeded.
    """

    lagrangian: float
    bits: float | None
    strict: bool


def aim_of(target: Target, pixels: int, overhead: int) -> Aim:
    """The aim of a payload that a target for the whole file means.

    Raises:
        UsageError: the rest of the file alone takes more than the target allows.
    """
    if target.lagrangian is not None:
        return Aim(target.lagrangian, None, False)
    if target.quality is not None:
        return Aim(presets.lagrangian_of_quality(target.quality), None, False)
    total = target.bits(pixels)
    assert total is not None
    bits = total - 8 * overhead
    if bits <= 0:
        raise UsageError(f"a file of {total / 8:.0f} bytes has no room: header, alpha and metadata take {overhead} bytes")
    return Aim(presets.lagrangian_of_bpp(bits / pixels), bits, target.size is not None)


class Session:
    """One encode: the engine with its picture, and how a stream is made from what it holds.

    Attributes:
        engine: fitted in place.
        architecture: of the decoder.
        aim: rate or Lagrangian.
        lagrangian: the present one.
    """

    def __init__(self, engine: Engine, architecture: Architecture, aim: Aim, shape: tuple[int, int]) -> None:
        self.engine, self.architecture, self.aim, self.shape = engine, architecture, aim, shape
        self.lagrangian = aim.lagrangian
