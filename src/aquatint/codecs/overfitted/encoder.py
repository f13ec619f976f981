"""Encoding: fit, round, tune the networks, quantise them, and write the stream, towards a target."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from aquatint import native
from aquatint.codecs import Progress, Report
from aquatint.codecs.overfitted import presets, stream
from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.codecs.overfitted.engine import Engine, create_engine
from aquatint.codecs.overfitted.fit import LAGRANGIANS, TUNING_SHARE, Reporter, fit, tune
from aquatint.codecs.overfitted.initialise import initial_parameters, join, split
from aquatint.codecs.overfitted.quantise import EXPONENTS, choose_step, laplace_bits, restore_parameters, round_latents
from aquatint.codecs.overfitted.stream import GROUPS, Stream
from aquatint.codecs.target import Target
from aquatint.errors import UsageError

# The last correction of the rate moves the dead zone of the rounding, with everything else fixed.
DEAD_ZONES = -0.5, 0.5
BISECTIONS = 12
# How near a rate is near enough: relative to bpp, and as the part of a size that is used.
BPP_TOLERANCE = 0.005
SIZE_USED = 0.98
# If the rate is missed all the same, the fit is taken up again from the middle; so often in all.
MAX_ATTEMPTS = 4
LATENT_SHARE = 0.1  # of the bits: what the latents get at the least, whatever the networks take


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
        raise UsageError(
            f"a file of {total / 8:.0f} bytes has no room: header, alpha and metadata take {overhead} bytes"
        )
    return Aim(presets.lagrangian_of_bpp(bits / pixels), bits, target.size is not None)


def latent_bits(engine: Engine, latents: list[np.ndarray]) -> float:
    """Puts latents into the engine and returns their bits under its entropy network."""
    for k, grid in enumerate(latents):
        engine.set_latents(k, grid.astype(np.float32))
    return float(sum(engine.evaluate()[1]))


def dead_zone_for(size: Callable[[float], float], wanted: float, start: float = 0.0) -> float:
    """The least dead zone whose size is at most `wanted`, by bisection: size falls as the dead zone grows."""
    low, high = DEAD_ZONES
    middle = start
    for _ in range(BISECTIONS):
        if size(middle) > wanted:
            low = middle
        else:
            high = middle
        middle = (low + high) / 2
    return high


def quantise(
    engine: Engine, architecture: Architecture, lagrangian: float, pixels: int
) -> tuple[dict[str, np.ndarray], tuple[int, ...]]:
    """Quantises the engine's parameters, group after group, each with the step that costs least.

    Returns:
        The integers of all arrays by name, and the groups' step exponents. The engine is left with their values.
    """
    arrays = split(engine.parameters, architecture)

    def cost(values: Mapping[str, np.ndarray]) -> float:
        engine.parameters = join({**arrays, **values}, architecture)
        error, bits = engine.evaluate()
        return float(error) + lagrangian * float(sum(bits)) / pixels

    integers: dict[str, np.ndarray] = {}
    exponents = []
    for names, candidates in zip(GROUPS.values(), EXPONENTS, strict=True):
        group = {name: arrays[name] for name in names}
        if all(array.size == 0 for array in group.values()):
            candidates = range(1)
        chosen, exponent = choose_step(group, candidates, cost, lagrangian / pixels)
        integers |= chosen
        arrays |= restore_parameters(chosen, exponent)
        exponents.append(exponent)
    engine.parameters = join(arrays, architecture)
    return integers, tuple(exponents)


def near(size: float, aim: Aim) -> bool:
    """Whether a payload of `size` bits meets its aim."""
    if aim.bits is None:
        return True
    if aim.strict:
        return SIZE_USED * aim.bits <= size <= aim.bits
    return abs(size / aim.bits - 1) <= BPP_TOLERANCE


def meet(draft: Stream, latents: list[np.ndarray], aim: Aim) -> tuple[Stream, bytes]:
    """Moves the dead zone of the rounding until the payload meets its aim as well as it can, and writes it."""
    payload = stream.write(draft)
    if aim.bits is None or near(8 * len(payload), aim):
        return draft, payload

    def rounded(dead_zone: float) -> Stream:
        return replace(draft, latents=round_latents(latents, dead_zone))

    dead_zone = dead_zone_for(lambda zone: 8 * len(stream.write(rounded(zone))), aim.bits)
    return rounded(dead_zone), stream.write(rounded(dead_zone))


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
    name, architecture = presets.architecture(effort, height, width, aim.lagrangian)
    engine = create_engine(np.moveaxis(pixels, 2, 0), architecture, device=device, threads=threads)
    engine.parameters = initial_parameters(name, architecture, aim.lagrangian)
    steps = presets.steps(effort)
    tuning = max(1, round(TUNING_SHARE * steps))
    reporter = Reporter(progress, steps, height * width)
    lagrangian, start, attempts = aim.lagrangian, 0.0, 0
    other_bits = presets.TYPICAL_PARAMETER_BITS * architecture.parameter_count
    while True:
        fitting = round((1 - start) * (steps - tuning))
        reporter.steps = reporter.done + fitting + tuning
        wanted = None if aim.bits is None else max(aim.bits - other_bits, LATENT_SHARE * aim.bits)
        lagrangian = fit(engine, fitting, start, lagrangian, wanted, seed, reporter)
        latents = [engine.latents(k) for k in range(architecture.grids)]
        draft = finish(engine, architecture, latents, wanted, tuning, lagrangian, reporter)
        final, payload = meet(draft, latents, aim)
        attempts += 1
        if near(8 * len(payload), aim) or attempts == MAX_ATTEMPTS or lagrangian <= LAGRANGIANS[0]:
            break
        start = 0.5
        other_bits = 8 * len(payload) - sum(stream.measure(final).grids)
        for k, grid in enumerate(latents):
            engine.set_latents(k, grid)
    if aim.strict and 8 * len(payload) > (aim.bits or 0):
        raise UsageError(
            f"{target.size} bytes are too few for this picture: the smallest file found has {overhead + len(payload)}"
        )
    decoded = native.decode(payload, height, width, depth, grayscale, threads).astype(np.float32) / (2**depth - 1)
    error = float(np.mean(np.square(decoded - (pixels[..., 0] if grayscale else pixels)), dtype=np.float64))
    return payload, Report(
        psnr=10 * math.log10(1 / error) if error else math.inf,
        estimated_bits=estimated_bits(engine, final),
        multiplications_per_pixel=architecture.multiplications_per_pixel,
        steps=reporter.done,
        lagrangian=lagrangian,
    )


def finish(
    engine: Engine,
    architecture: Architecture,
    latents: list[np.ndarray],
    wanted_bits: float | None,
    tuning: int,
    lagrangian: float,
    reporter: Reporter,
) -> Stream:
    """Rounds fitted latents, to so many bits if they are given, tunes the networks on them and quantises these."""
    dead_zone = 0.0
    if wanted_bits is not None:
        dead_zone = dead_zone_for(lambda zone: latent_bits(engine, round_latents(latents, zone)), wanted_bits)
    rounded = round_latents(latents, dead_zone)
    latent_bits(engine, rounded)
    tune(engine, tuning, lagrangian, reporter)
    integers, exponents = quantise(engine, architecture, lagrangian, latents[0].size)
    return Stream(architecture, integers, exponents, rounded)


def estimated_bits(engine: Engine, final: Stream) -> float:
    """Bits of a payload as the fit sees them: floating-point networks and ideal codes."""
    parameters = sum(
        laplace_bits(np.concatenate([final.parameters[name].ravel() for name in names])) for names in GROUPS.values()
    )
    return latent_bits(engine, list(final.latents)) + parameters + 8 * stream.OVERHEAD_BYTES
