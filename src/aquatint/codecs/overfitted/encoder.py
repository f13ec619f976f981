"""Encoding: fit, round, tune the networks, quantise them, and write the stream, towards a target."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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

# What is accepted of a rate that was asked for, and what is aimed for below a size that may not be exceeded.
BPP_ACCEPTED = 0.985, 1.015
SIZE_ACCEPTED = 0.955, 1.0
SIZE_AIM = 0.98
# If the rate is missed all the same, the second half of the fit is repeated with another Lagrangian; so often in all.
REPEATED_FROM = 0.7
MAX_ATTEMPTS = 8
# d log(bits) / d log(lagrangian): the typical one, and what is believed of a measured one.
TYPICAL_SLOPE = -0.6
SLOPES = -1.2, -0.2
LATENT_SHARE = 0.1  # of the bits: what the latents get at the least, whatever the networks take


@dataclass(frozen=True)
class Aim:
    """What the payload should come to.

    Attributes:
        lagrangian: to use, or to start from if `bits` is given.
        bits: of the payload to fit towards, or None if the Lagrangian decides.
        least, most: bits that are accepted.
    """

    lagrangian: float
    bits: float | None = None
    least: float = 0.0
    most: float = math.inf


def aim_of(target: Target, pixels: int, overhead: int) -> Aim:
    """The aim of a payload that a target for the whole file means.

    Raises:
        UsageError: the rest of the file alone takes more than the target allows.
    """
    if target.lagrangian is not None:
        return Aim(target.lagrangian)
    if target.quality is not None:
        return Aim(presets.lagrangian_of_quality(target.quality))
    total, other = target.bits(pixels) or 0.0, 8 * overhead
    low, high = SIZE_ACCEPTED if target.size is not None else BPP_ACCEPTED
    bits = (total if target.size is None else SIZE_AIM * total) - other
    if bits <= 0:
        raise UsageError(f"a file of {total / 8:.0f} bytes is too small: all but the payload takes {overhead}")
    return Aim(presets.lagrangian_of_bpp(bits / pixels), bits, low * total - other, high * total - other)


def set_latents(engine: Engine, latents: Sequence[np.ndarray]) -> None:
    """Puts latents, finest grid first, into the engine."""
    for k, grid in enumerate(latents):
        engine.set_latents(k, grid.astype(np.float32))


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
    wanted = None
    if aim.bits is not None:
        networks = presets.TYPICAL_PARAMETER_BITS * architecture.parameter_count
        wanted = max(aim.bits - networks, LATENT_SHARE * aim.bits)
    lagrangian, start = aim.lagrangian, 0.0
    tried: list[tuple[float, float]] = []
    while True:
        fitting = round((1 - start) * (steps - tuning))
        reporter.steps = reporter.done + fitting + tuning
        lagrangian = fit(engine, fitting, start, lagrangian, wanted, seed, reporter)
        latents = [engine.latents(k) for k in range(architecture.grids)]
        final = finish(engine, architecture, latents, tuning, lagrangian, reporter)
        payload = stream.write(final)
        bits = 8 * len(payload)
        tried.append((lagrangian, bits))
        if aim.bits is None or aim.least <= bits <= aim.most or len(tried) == MAX_ATTEMPTS:
            break
        lagrangian, start, wanted = next_lagrangian(tried, aim.bits), REPEATED_FROM, None
        set_latents(engine, latents)
    if target.size is not None and bits > aim.most:
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


def next_lagrangian(tried: Sequence[tuple[float, float]], wanted_bits: float) -> float:
    """The Lagrangian to try next, by the secant method on logarithms.

    Args:
        tried: Lagrangians and the bits they gave, in order.
        wanted_bits: what is aimed for.
    """
    (last, bits), slope = tried[-1], TYPICAL_SLOPE
    if len(tried) > 1 and tried[-2][0] != last:
        slope = math.log(bits / tried[-2][1]) / math.log(last / tried[-2][0])
    slope = min(max(slope, SLOPES[0]), SLOPES[1])
    lagrangian = last * (wanted_bits / bits) ** (1 / slope)
    return min(max(lagrangian, LAGRANGIANS[0]), LAGRANGIANS[1])


def finish(
    engine: Engine,
    architecture: Architecture,
    latents: list[np.ndarray],
    tuning: int,
    lagrangian: float,
    reporter: Reporter,
) -> Stream:
    """Rounds fitted latents, tunes the networks on them and quantises these."""
    rounded = round_latents(latents)
    set_latents(engine, rounded)
    tune(engine, tuning, lagrangian, reporter)
    integers, exponents = quantise(engine, architecture, lagrangian, latents[0].size)
    return Stream(architecture, integers, exponents, rounded)


def estimated_bits(engine: Engine, final: Stream) -> float:
    """Bits of a payload as the fit sees them: floating-point networks and ideal codes."""
    parameters = (np.concatenate([final.parameters[name].ravel() for name in names]) for names in GROUPS.values())
    return sum(engine.evaluate()[1]) + sum(map(laplace_bits, parameters)) + 8 * stream.OVERHEAD_BYTES
