"""Encoding: fit, round, tune the networks, quantise them, and write the stream, towards a target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from aquatint import native
from aquatint.codecs import Progress, Report
from aquatint.codecs.overfitted import presets, stream
from aquatint.codecs.overfitted.engine import Engine, create_engine
from aquatint.codecs.overfitted.fit import TUNING_SHARE, Reporter, fit, tune
from aquatint.codecs.overfitted.initialise import initial_parameters, join, split
from aquatint.codecs.overfitted.quantise import EXPONENTS, choose_step, round_latents
from aquatint.codecs.overfitted.stream import Stream
from aquatint.codecs.target import Target
from aquatint.errors import UsageError

# The last correction of the rate moves the dead zone of the rounding, with everything else fixed.
DEAD_ZONES = -0.5, 0.5
BISECTIONS = 12
# How near a rate is near enough: relative to bpp, and as the part of a size that is used.
BPP_TOLERANCE = 0.01
SIZE_USED = 0.97, 1.0
SIZE_AIM = 0.985
# If the rate is missed all the same, the second half of the fit is repeated, at most so many times.
REPEATS = 3


@dataclass(frozen=True)
class Aim:
    """What the payload should come to.

    Attributes:
        lagrangian: to use, or to start from if `bits` is given.
        bits: of the payload, or None if the Lagrangian decides.
        strict: the bits may not be exceeded.
    """

    lagrangian: float
    bits: float | None = None
    strict: bool = False


def aim_of(target: Target, pixels: int, overhead: int) -> Aim:
    """The aim of a payload that a target for the whole file means.

    Raises:
        UsageError: the rest of the file alone takes more than the target allows.
    """
    if target.lagrangian is not None:
        return Aim(target.lagrangian)
    if target.quality is not None:
        return Aim(presets.lagrangian_of_quality(target.quality))
    total = target.bits(pixels)
    assert total is not None
    bits = total - 8 * overhead
    if bits <= 0:
        raise UsageError(f"a file of {total / 8:.0f} bytes has no room: header, alpha and metadata take {overhead} bytes")
    return Aim(presets.lagrangian_of_bpp(bits / pixels), bits, target.size is not None)


def encode(
    pixels: np.ndarray,
    target: Target,
    *,
    depth: int,
    grayscale: bool,
    overhead: int,
    effort: int,
    threads: int,
    device: str,
    seed: int,
    progress: Callable[[Progress], None] | None,
) -> tuple[bytes, Report]:
    """Encodes a picture, see `aquatint.codecs.Codec.encode`."""
    height, width, _ = pixels.shape
    aim = aim_of(target, height * width, overhead)
    steps = presets.steps(effort)
    architecture = presets.architecture(effort, height, width, aim.lagrangian)
    engine = create_engine(np.moveaxis(pixels, 2, 0), architecture, device=device, threads=threads)
    engine.parameters = initial_parameters(architecture, seed)
    reporter = Reporter(progress, steps, height * width)
    tuning = max(1, round(TUNING_SHARE * steps))
    lagrangian, start = aim.lagrangian, 0.0
    side_bits = presets.TYPICAL_PARAMETER_BITS * architecture.parameter_count
    while True:
        wanted = None if aim.bits is None else max(aim.bits - side_bits, 0.1 * aim.bits)
        lagrangian = fit(engine, steps - tuning, lagrangian, wanted, seed, reporter, start)
        latents = [engine.latents(k) for k in range(architecture.grids)]
        set_latents(engine, round_latents(latents, fitting_dead_zone(engine, latents, wanted)))
        tune(engine, tuning, lagrangian, reporter)
        draft = quantise(engine, architecture, lagrangian, height * width)
        payload, final = meet(draft, latents, aim)
        ...
