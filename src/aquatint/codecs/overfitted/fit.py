"""The fit: gradient descent on latents and networks of one picture, at a Lagrangian or towards a number of bits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np

from aquatint.codecs import Progress
from aquatint.codecs.overfitted import schedule
from aquatint.codecs.overfitted.engine import Distortion, Engine
from aquatint.codecs.overfitted.rate_model import LAGRANGIANS

TUNING_SHARE = 0.05  # of the steps: networks alone, on rounded latents
# Rate control: every so often the latents are rounded and their bits counted; d log(lagrangian) = GAIN * d progress *
# log(expected bits / wanted). Bits fall with about the 0.6th power of the Lagrangian, so that an error decays within
# a ninth of the fit; but it takes them some tens of steps, which limits the gain a step. At the end they stay behind.
GAIN = 15.0
GAIN_PER_STEP = 0.04
CONTROL_EVERY = 0.02  # of the fit
CONTROL_UNTIL = 0.93
# Bits of the rounded latents during a fit relative to those at its end, by progress, at about 0.3 bits per pixel: means
# over photographs and numbers of steps, from which single fits differ by a tenth early and by a hundredth late. At
# other rates the logarithm of the ratio goes with bpp^-0.5. Control must start early: once the soft rounding has
# hardened, latents no longer leave their integers.
BITS_ON_THE_WAY = {
    **{0.08: 1.9, 0.1: 1.78, 0.15: 1.62, 0.2: 1.5, 0.25: 1.41, 0.3: 1.34, 0.4: 1.23},
    **{0.5: 1.155, 0.6: 1.11, 0.7: 1.08, 0.8: 1.045, 0.9: 1.012, 1.0: 1.0},
}
BITS_ON_THE_WAY_BPP = 0.3
EXPONENTS = 0.4, 1.5  # of the ratio, for 0.13 to 1.9 bits per pixel
WARM_UP = 0.3  # of the fit: the mean squared error first, which is faster and finds the large shapes as well
REPORT_EVERY = 10  # steps between two calls of the progress callback


@dataclass
class Reporter:
    """Tells a progress callback about steps, with the time that is left.

    Attributes:
        callback: called every few steps; None for silence.
        steps: steps in all stages together.
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
) -> float:
    """Moves latents and networks together for a number of steps.

    Args:
        engine: holds the picture, the latents and the networks; changed in place.
        steps: number of steps, at least 1.
        lagrangian: weight of a bit per pixel against the mean squared error; a first guess if `wanted_bits` is given.
        wanted_bits: bits of the latents to arrive at by moving the Lagrangian, or None to keep it.
        seed: of the quantisation noise.
        reporter: is told about every step.
        distortion: takes the place of the mean squared error after the first WARM_UP of the fit.

    Returns:
        The Lagrangian at the end.
    """
    control_every = max(1, round(CONTROL_EVERY * steps))
    for i in range(steps):
        progress = i / steps
        if wanted_bits and i % control_every == 0 and min(BITS_ON_THE_WAY) <= progress <= CONTROL_UNTIL:
            bits_now = max(sum(engine.evaluate()[1]), 1.0)
            ratio = np.interp(progress, list(BITS_ON_THE_WAY), list(BITS_ON_THE_WAY.values()))
            exponent = math.sqrt(BITS_ON_THE_WAY_BPP * reporter.pixels / wanted_bits)
            expected = bits_now / ratio ** min(max(exponent, EXPONENTS[0]), EXPONENTS[1])
            gain = min(GAIN / steps, GAIN_PER_STEP)
            lagrangian *= (expected / wanted_bits) ** (gain * control_every)
            lagrangian = min(max(lagrangian, LAGRANGIANS[0]), LAGRANGIANS[1])
        setting = schedule.fitting(i, steps)
        now = distortion if progress >= WARM_UP else None
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
