"""The fit: gradient descent on latents and networks of one picture, at a Lagrangian or towards a number of bits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np

from aquatint.codecs import Progress
from aquatint.codecs.overfitted import schedule
from aquatint.codecs.overfitted.engine import Distortion, Engine
from aquatint.codecs.overfitted.rate_model import LAGRANGIANS

TUNING_SHARE = 0.05  # of the steps: networks alone, on rounded latents
# Rate control: every so often the latents are rounded and their bits counted. Bits follow the Lagrangian late, so what
# they say is about the one that they have felt so far. From there SLOPE leads to the one that should give the wanted
# bits, and the Lagrangian goes a part of the way.
SLOPE = -0.6  # typical d log(bits) / d log(lagrangian)
LAG = 30.0  # steps in which bits follow
CONTROL_SHARE = 0.4  # of the way, each time
CONTROL_EVERY = 0.02  # of the fit
CONTROL_UNTIL = 0.93
WARM_UP = 0.3  # of the fit: the mean squared error first, which is faster and finds the large shapes as well
# Of the fit, in which the finest octave is separated. Once the proxy has hardened no patches form any more.
SEPARATED = 0.5
REPORT_EVERY = 10  # steps between two calls of the progress callback


@dataclass(frozen=True)
class BitsOnTheWay:
    """How many bits rounded latents have during a fit, relative to those at its end.

    Means over photographs and numbers of steps, from which single fits differ by a tenth early and by a hundredth late.

    Attributes:
        ratios: by progress, from where control starts. It must start early: once the soft rounding has hardened,
            latents no longer leave their integers.
        bpp: at which they hold; at other rates their logarithm goes with bpp^-0.5,
        exponents: but at the least, and at the most, with this factor.
    """

    ratios: Mapping[float, float]
    bpp: float
    exponents: tuple[float, float]

    def ratio(self, progress: float, bpp: float) -> float:
        """The ratio for a fit that shall end at a rate of the latents."""
        exponent = min(max(math.sqrt(self.bpp / bpp), self.exponents[0]), self.exponents[1])
        return float(np.interp(progress, list(self.ratios), list(self.ratios.values()))) ** exponent


WHOLE = BitsOnTheWay(
    {
        **{0.08: 2.0, 0.1: 1.87, 0.15: 1.67, 0.2: 1.55, 0.25: 1.46, 0.3: 1.385, 0.4: 1.27},
        **{0.5: 1.175, 0.6: 1.115, 0.7: 1.075, 0.8: 1.04, 0.9: 1.012, 1.0: 1.0},
    },
    bpp=0.3,
    exponents=(0.4, 1.55),
)
WITHOUT_FINEST = BitsOnTheWay(
    {
        **{0.08: 1.94, 0.1: 1.79, 0.15: 1.59, 0.2: 1.5, 0.25: 1.425, 0.3: 1.36, 0.4: 1.23},
        **{0.5: 1.13, 0.6: 1.075, 0.7: 1.045, 0.8: 1.02, 0.9: 1.0, 1.0: 1.0},
    },
    bpp=0.08,
    exponents=(0.3, 2.2),
)


@dataclass
class Reporter:
    """Tells a progress callback about steps, with the time that is left.

    Attributes:
        callback: called every few steps; None for silence.
        steps: steps in all fits that have begun.
        pixels: of the picture, to turn bits into bits per pixel.
    """

    callback: Callable[[Progress], None] | None
    steps: int
    pixels: int
    done: int = 0

    def __post_init__(self) -> None:
        self.start = time.perf_counter()

    def step(self, error: SupportsFloat, bits: SupportsFloat) -> None:
        """Counts one step.

        Args:
            error, bits: of the step, read only when they are reported, since a GPU may be at work; nan is not known.
        """
        self.done += 1
        if self.callback and (self.done % REPORT_EVERY == 0 or self.done == self.steps):
            seconds = time.perf_counter() - self.start
            left = seconds / self.done * (self.steps - self.done)
            psnr = -10 * math.log10(max(float(error), 1e-12))
            self.callback(Progress(self.done, self.steps, float(bits) / self.pixels, psnr, seconds, max(left, 0.0)))


def fit(
    engine: Engine,
    steps: int,
    lagrangian: float,
    wanted_bits: float | None,
    seed: int,
    reporter: Reporter,
    distortion: Distortion | None = None,
    on_the_way: BitsOnTheWay = WHOLE,
    separation: np.ndarray | None = None,
) -> float:
    """Moves latents and networks together for a number of steps, with moments that begin anew.

    Args:
        engine: holds the picture, the latents and the networks; changed in place.
        steps: number of steps, at least 1.
        lagrangian: weight of a bit per pixel against the mean squared error; a first guess if `wanted_bits` is given.
        wanted_bits: bits of the latents to arrive at by moving the Lagrangian, or None to keep it.
        seed: of the quantisation noise.
        reporter: is told about every step.
        distortion: takes the place of the mean squared error after the first WARM_UP of the fit.
        on_the_way: what is known of the bits on the way to the end.
        separation: for `Engine.separate_finest` during the first SEPARATED of the fit.

    Returns:
        The Lagrangian at the end.
    """
    engine.reset_optimiser(*schedule.decays(steps))
    engine.separate_finest(separation)
    control_every = max(1, round(CONTROL_EVERY * steps))
    felt = math.log(lagrangian)
    for i in range(steps):
        progress = i / steps
        if wanted_bits and i % control_every == 0 and min(on_the_way.ratios) <= progress <= CONTROL_UNTIL:
            bits_now = max(sum(engine.evaluate()[1]), 1.0)
            expected = bits_now / on_the_way.ratio(progress, wanted_bits / reporter.pixels)
            aimed = felt + math.log(wanted_bits / expected) / SLOPE
            lagrangian *= math.exp(CONTROL_SHARE * (aimed - math.log(lagrangian)))
            lagrangian = min(max(lagrangian, LAGRANGIANS[0]), LAGRANGIANS[1])
        felt += (math.log(lagrangian) - felt) / LAG
        setting = schedule.fitting(i, steps)
        now = distortion if progress >= WARM_UP else None
        if i == math.ceil(SEPARATED * steps):
            engine.separate_finest(None)
        value, bits = engine.step(
            setting.temperature, setting.noise, lagrangian, setting.latent_rate, setting.network_rate, seed + i, now
        )
        reporter.step(math.nan if now else value, bits)
    return lagrangian


def tune(
    engine: Engine, steps: int, lagrangian: float, reporter: Reporter, distortion: Distortion | None = None
) -> None:
    """Moves the networks alone, on latents that are already rounded.

    Args: as for `fit`.
    """
    for i in range(steps):
        setting = schedule.tuning(i / steps)
        value, bits = engine.step(0.0, 0.0, lagrangian, 0.0, setting.network_rate, 0, distortion)
        reporter.step(math.nan if distortion else value, bits)
