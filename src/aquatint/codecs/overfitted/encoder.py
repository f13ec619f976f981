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
from aquatint.codecs.overfitted.fit import TUNING_SHARE, Reporter, fit, tune
from aquatint.codecs.overfitted.initialise import initial_parameters, join, split
from aquatint.codecs.overfitted.quantise import EXPONENTS, choose_step, laplace_bits, restore_parameters, round_latents
from aquatint.codecs.overfitted.rate_model import (
    LAGRANGIANS,
    block_energies,
    expected_bpp,
    lagrangian_for,
)
from aquatint.codecs.overfitted.stream import GROUPS, Stream
from aquatint.codecs.target import Target
from aquatint.errors import UsageError

# What is accepted of a rate that was asked for, and what is aimed for below a size that may not be exceeded.
BPP_ACCEPTED = 0.975, 1.025
SIZE_ACCEPTED = 0.955, 1.0
SIZE_AIM = 0.98
# If the rate is missed all the same, the end of the fit is repeated with another Lagrangian, or all of it after a large
# miss: latents that the soft rounding has hardened no longer follow. So often in all:
NEAR_MISS = 1.12
REPEATED_FROM = 0.8
CONTROLLABLE_STEPS = 400  # from which the end alone is worth repeating, and control during a fit comes out as meant
MAX_TRIALS = 10
TYPICAL_SLOPE = -0.6  # d log(bits) / d log(lagrangian)
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


def aim_of(target: Target, pixels: int, overhead: int, energies: np.ndarray) -> Aim:
    """The aim of a payload that a target for the whole file means.

    Args:
        target: for the whole file.
        pixels: of the picture.
        overhead: bytes of the file around the payload.
        energies: `block_energies` of the picture, from which a first Lagrangian is guessed.

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
    return Aim(lagrangian_for(energies, bits / pixels), bits, low * total - other, high * total - other)


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
    energies = block_energies(pixels)
    aim = aim_of(target, height * width, overhead, energies)
    expected_bits = aim.bits or height * width * expected_bpp(energies, aim.lagrangian)
    name, architecture = presets.architecture(effort, height, width, expected_bits)
    engine = create_engine(np.moveaxis(pixels, 2, 0), architecture, device=device, threads=threads)
    engine.parameters = initial_parameters(name, architecture, aim.lagrangian)
    steps = presets.steps(effort)
    tuning = max(1, round(TUNING_SHARE * steps))
    reporter = Reporter(progress, steps, height * width)
    wanted = None
    if aim.bits is not None:
        networks = presets.TYPICAL_PARAMETER_BITS * architecture.parameter_count
        wanted = max(aim.bits - networks, LATENT_SHARE * aim.bits)
    first_wanted = wanted
    lagrangian, start = aim.lagrangian, 0.0
    trials: list[Trial] = []
    alike = 0  # trials at the end that began in the same way
    while True:
        fitting = round((1 - start) * (steps - tuning))
        reporter.steps = reporter.done + fitting + tuning
        lagrangian = fit(engine, fitting, start, lagrangian, wanted, seed, reporter)
        latents = [engine.latents(k) for k in range(architecture.grids)]
        final = finish(engine, architecture, latents, tuning, lagrangian, reporter)
        trials.append(Trial(lagrangian, stream.write(final), estimated_bits(engine, final)))
        bits, alike = trials[-1].bits, alike + 1
        if aim.bits is None or aim.least <= bits <= aim.most or len(trials) == MAX_TRIALS:
            break
        is_near = 1 / NEAR_MISS < bits / aim.bits < NEAR_MISS and steps >= CONTROLLABLE_STEPS
        if is_near != (start > 0):
            alike = 1
        lagrangian = next_lagrangian(trials[-alike:], aim.bits)
        if is_near:
            start, wanted = REPEATED_FROM, None
            set_latents(engine, latents)
        else:
            start, wanted = 0.0, first_wanted if steps >= CONTROLLABLE_STEPS else None
            engine.parameters = initial_parameters(name, architecture, lagrangian)
            set_latents(engine, [np.zeros_like(grid) for grid in latents])
            engine.reset_optimiser()
    best = trials[-1]
    if aim.bits is not None:
        best = min(trials, key=lambda trial: (trial.bits > aim.most, abs(trial.bits - (aim.bits or 0))))
        if target.size is not None and best.bits > aim.most:
            least = overhead + min(len(trial.payload) for trial in trials)
            raise UsageError(f"{target.size} bytes are too few for this picture: the smallest file found has {least}")
    decoded = native.decode(best.payload, height, width, depth, grayscale, threads).astype(np.float32) / (2**depth - 1)
    error = float(np.mean(np.square(decoded - (pixels[..., 0] if grayscale else pixels)), dtype=np.float64))
    return best.payload, Report(
        psnr=10 * math.log10(1 / error) if error else math.inf,
        estimated_bits=best.estimated_bits,
        multiplications_per_pixel=architecture.multiplications_per_pixel,
        steps=reporter.done,
        lagrangian=best.lagrangian,
    )


@dataclass(frozen=True)
class Trial:
    """A finished fit: its Lagrangian, its payload, and the bits that the objective saw in it."""

    lagrangian: float
    payload: bytes
    estimated_bits: float

    @property
    def bits(self) -> int:
        """Bits of the payload."""
        return 8 * len(self.payload)


def next_lagrangian(trials: Sequence[Trial], wanted_bits: float) -> float:
    """The Lagrangian to try next: by interpolation between a miss on either side, else by the typical slope."""
    over = max((t for t in trials if t.bits > wanted_bits), key=lambda t: t.lagrangian, default=None)
    under = min((t for t in trials if t.bits <= wanted_bits), key=lambda t: t.lagrangian, default=None)
    if over and under and over.lagrangian < under.lagrangian:
        share = math.log(over.bits / wanted_bits) / math.log(over.bits / under.bits)
        share = min(max(share, 0.1), 0.9)  # or one side might stay for ever
        return over.lagrangian * (under.lagrangian / over.lagrangian) ** share
    last = trials[-1]
    lagrangian = last.lagrangian * (wanted_bits / last.bits) ** (1 / TYPICAL_SLOPE)
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
