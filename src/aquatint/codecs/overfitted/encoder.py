"""Encoding: fit, round, tune the networks, quantise them, and write the stream, towards a target."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aquatint import native
from aquatint.codecs import Report
from aquatint.codecs.options import Options
from aquatint.codecs.overfitted import presets, stream
from aquatint.codecs.overfitted.analysis import first_latents
from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.codecs.overfitted.engine import Distortion, Engine, create_engine
from aquatint.codecs.overfitted.fit import TUNING_SHARE, WHOLE, WITHOUT_FINEST, Reporter, fit, tune
from aquatint.codecs.overfitted.initialise import ORIGIN_LAGRANGIANS, join, origin_for, origin_parameters, split
from aquatint.codecs.overfitted.objective import objective_called
from aquatint.codecs.overfitted.octaves import smoothness, without_local_means
from aquatint.codecs.overfitted.quantise import EXPONENTS, choose_step, coded_bits, restore_parameters, round_latents
from aquatint.codecs.overfitted.rate_model import (
    LAGRANGIANS,
    block_energies,
    expected_bpp,
    finest_share,
    lagrangian_for,
    slope,
)
from aquatint.codecs.overfitted.stream import GROUPS, Stream, origin_of
from aquatint.codecs.samples import psnr
from aquatint.codecs.target import Target
from aquatint.errors import UsageError

# What is accepted of a rate that was asked for, and what is aimed for below a size that may not be exceeded.
BPP_ACCEPTED = 0.972, 1.028
SIZE_ACCEPTED = 0.955, 1.0
SIZE_AIM = 0.98
MAX_TRIALS = 8  # fits at most, if the rate is missed all the same
CONTROL_STEPS = 500  # what a fit needs at the least to follow its bits
CONTROL_START = 1.5  # of the Lagrangian that is guessed: bits are easier to give back than to take away
# Steps: the fewer a fit has, the more bits it takes at a Lagrangian, and the larger one it needs; less so without the
# finest grid.
SHORTNESS, SKIPPING_SHORTNESS = 500.0, 25.0
CLOSEST = 1.005  # ratio of two Lagrangians, up to which their fits should have the same bits
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
    engine: Engine, architecture: Architecture, origin: int, lagrangian: float, pixels: int
) -> tuple[dict[str, np.ndarray], tuple[int, ...]]:
    """Quantises the engine's parameters, group after group, each with the step that costs least.

    The cost is that of the squared error, whatever the fit minimised: steps this fine differ little in texture.

    Returns:
        The integers of all arrays by name, and the groups' step exponents. The engine is left with their values.
    """
    arrays = split(engine.parameters, architecture)
    origins = origin_of(architecture, origin)

    def cost(values: Mapping[str, np.ndarray]) -> float:
        engine.parameters = join({**arrays, **values}, architecture)
        value, bits = engine.evaluate()
        return float(value) + lagrangian * float(sum(bits)) / pixels

    integers: dict[str, np.ndarray] = {}
    exponents = []
    for names, candidates in zip(GROUPS.values(), EXPONENTS, strict=True):
        group = {name: arrays[name] for name in names}
        if all(array.size == 0 for array in group.values()):
            candidates = range(1)
        chosen, exponent = choose_step(group, origins, candidates, cost, lagrangian / pixels)
        integers |= chosen
        arrays |= restore_parameters(chosen, exponent)
        exponents.append(exponent)
    engine.parameters = join(arrays, architecture)
    return integers, tuple(exponents)


def encode(
    pixels: np.ndarray,
    target: Target,
    options: Options,
    *,
    depth: int,
    grayscale: bool,
    overhead: int,
) -> tuple[bytes, Report]:
    """Encodes a picture, see `aquatint.codecs.Codec.encode`."""
    height, width, _ = pixels.shape
    objective = objective_called(options.tune or "psnr", options.sigma_map)
    energies = block_energies(pixels)
    aim = aim_of(target, height * width, overhead, energies)
    expected_bits = aim.bits or height * width * expected_bpp(energies, aim.lagrangian)
    architecture = presets.architecture(options.effort, height, width, expected_bits)
    planes = np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
    skipped_bpp = presets.SKIPPED_BPP
    if objective is not None:
        skipped_bpp = objective.skipped_bpp
        architecture = replace(architecture, noise=min(objective.noise, architecture.grids))
    # For all fits of a search: at the Lagrangian where it changes, bits jump.
    share = finest_share(energies, aim.lagrangian)
    expected = expected_bits / (height * width)
    skip_finest = presets.skips_finest(architecture, aim.lagrangian, expected, share, skipped_bpp)
    finest = int(skip_finest)
    distortion, separation = None, None
    if objective is not None:
        distortion = objective.distortion(
            planes, options.sigma_map, skip_finest=skip_finest, device=options.device, threads=options.threads
        )
        if finest + 1 < architecture.grids:  # not with the squared error alone, which gains by patches
            separation = smoothness(planes, architecture.grid_shapes(height, width)[finest])
    engine = create_engine(
        planes, architecture, skip_finest=skip_finest, device=options.device, threads=options.threads
    )
    steps = presets.steps(options.effort)
    reporter = Reporter(options.progress, 0, height * width)
    job = Job(
        planes, energies, engine, architecture, skip_finest, steps, options.seed, reporter, distortion, separation
    )
    trials = search(job, aim)
    best = min(trials, key=lambda trial: (trial.bits > aim.most, abs(trial.bits - (aim.bits or trial.bits))))
    if target.size is not None and best.bits > aim.most:
        least = overhead + min(len(trial.payload) for trial in trials)
        raise UsageError(f"{target.size} bytes are too few for this picture: the smallest file found has {least}")
    decoded = native.decode(best.payload, height, width, depth, grayscale, options.threads)
    decoded = decoded.astype(np.float32) / (2**depth - 1)
    error = float(np.mean(np.square(decoded - (pixels[..., 0] if grayscale else pixels)), dtype=np.float64))
    return best.payload, Report(
        measure_psnr=lambda: psnr(error),  # known already: nothing next to the time of a fit
        estimated_bits=best.estimated_bits,
        multiplications_per_pixel=stream.multiplications_per_pixel(best.payload),
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


@dataclass(frozen=True)
class Job:
    """What all fits of a picture share."""

    planes: np.ndarray
    energies: np.ndarray
    engine: Engine
    architecture: Architecture
    skip_finest: bool
    steps: int
    seed: int
    reporter: Reporter
    distortion: Distortion | None
    separation: np.ndarray | None

    def run(self, lagrangian: float, wanted_bits: float | None) -> Trial:
        """Fits from the beginning: latents and networks, then the networks on rounded latents, which are quantised.

        Args: as for `fit`.
        """
        self.reporter.steps += self.steps
        engine, architecture = self.engine, self.architecture
        origin = origin_for(lagrangian, self.skip_finest)
        engine.parameters = origin_parameters(architecture, origin)
        engine.set_origin(engine.parameters)
        latents = first_latents(self.planes, architecture, lagrangian, self.skip_finest)
        if self.separation is not None:
            finest = int(self.skip_finest)
            latents[finest] = without_local_means(latents[finest], self.separation)
        set_latents(engine, latents)
        tuning = max(1, round(TUNING_SHARE * self.steps))
        lagrangian = fit(
            engine,
            self.steps - tuning,
            lagrangian,
            wanted_bits,
            self.seed,
            self.reporter,
            self.distortion,
            WITHOUT_FINEST if self.skip_finest else WHOLE,
            self.separation,
        )
        rounded = round_latents([engine.latents(k) for k in range(architecture.grids)])
        set_latents(engine, rounded)
        tune(engine, tuning, lagrangian, self.reporter, self.distortion)
        integers, exponents = quantise(engine, architecture, origin, lagrangian, rounded[0].size)
        final = Stream(architecture, integers, exponents, rounded, origin)
        return Trial(lagrangian, stream.write(final), estimated_bits(engine, final))


def search(job: Job, aim: Aim) -> list[Trial]:
    """Fits until the payload has the bits that are wanted, or MAX_TRIALS times; each fit begins anew."""
    if aim.bits is None:
        return [job.run(aim.lagrangian, None)]
    trials: list[Trial] = []
    attempts = controlled(job, aim, aim.bits) if job.steps >= CONTROL_STEPS else interpolated(job, aim, aim.bits)
    for trial in itertools.islice(attempts, MAX_TRIALS):
        trials.append(trial)
        if aim.least <= trial.bits <= aim.most:
            break
    return trials


def controlled(job: Job, aim: Aim, bits: float) -> Iterator[Trial]:
    """Fits that move the Lagrangian, all from the same one; what one misses the next one is asked for on top."""
    networks = presets.TYPICAL_PARAMETER_BITS * job.architecture.parameter_count
    first, asked = min(CONTROL_START * aim.lagrangian, LAGRANGIANS[1]), bits
    while True:
        trial = job.run(first, max(asked - networks, LATENT_SHARE * asked))
        yield trial
        asked *= bits / trial.bits


def interpolated(job: Job, aim: Aim, bits: float) -> Iterator[Trial]:
    """Fits that keep their Lagrangian: too short to follow their bits."""
    shortness = SKIPPING_SHORTNESS if job.skip_finest else SHORTNESS
    first = aim.lagrangian * (1 + shortness / job.steps)
    if aim.lagrangian < ORIGIN_LAGRANGIANS[-1]:
        first = min(first, ORIGIN_LAGRANGIANS[-1])  # beyond it fits begin, and end, with less for the bits
    trials = [job.run(min(first, LAGRANGIANS[1]), None)]
    while True:
        yield trials[-1]
        following = next_lagrangian(trials, bits, slope(job.energies, trials[-1].lagrangian))
        if following == trials[-1].lagrangian:  # at the end of the range
            return
        trials.append(job.run(following, None))


def next_lagrangian(trials: Sequence[Trial], bits: float, expected_slope: float) -> float:
    """Where a fit should have a number of bits: between the two fits that enclose it, by logarithms.

    If none do, a slope d log(bits) / d log(lagrangian) leads on from the last one: the one that is expected, or shown.
    Where bits are a matter of chance the two can be next to each other: then the earlier one counts no more.
    """
    above = [trial for trial in trials if trial.bits > bits]
    below = [trial for trial in trials if trial.bits <= bits]
    if above and below:
        low, high = max(above, key=lambda trial: trial.lagrangian), min(below, key=lambda trial: trial.lagrangian)
        if 1 / CLOSEST < high.lagrangian / low.lagrangian < CLOSEST:
            earlier = next(trial for trial in trials if trial in (low, high))
            return next_lagrangian([trial for trial in trials if trial is not earlier], bits, expected_slope)
        share = math.log(low.bits / bits) / math.log(low.bits / high.bits)
        # A step to within a tenth of either end could repeat that fit.
        share = min(max(share, 0.1), 0.9)
        lagrangian = low.lagrangian * (high.lagrangian / low.lagrangian) ** share
    else:
        last, exponent = trials[-1], expected_slope
        if len(trials) > 1:  # what the last two have shown, as far as one may believe it
            before = trials[-2]
            shown = math.log(last.bits / before.bits) / math.log(last.lagrangian / before.lagrangian)
            exponent *= min(max(shown / expected_slope, 0.5), 1.5)
        lagrangian = last.lagrangian * (bits / last.bits) ** (1 / exponent)
    return min(max(lagrangian, LAGRANGIANS[0]), LAGRANGIANS[1])


def estimated_bits(engine: Engine, final: Stream) -> float:
    """Bits of a payload as the fit sees them: floating-point networks and ideal codes."""
    origin = origin_of(final.architecture, final.origin)
    networks = sum(
        coded_bits({name: final.parameters[name] for name in names}, origin, exponent)
        for names, exponent in zip(GROUPS.values(), final.exponents, strict=True)
    )
    return sum(engine.evaluate()[1]) + networks + 8 * stream.OVERHEAD_BYTES
