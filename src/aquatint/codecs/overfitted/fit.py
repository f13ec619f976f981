"""The fit: gradient descent on latents and networks of one picture, at a Lagrangian or towards a number of bits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aquatint.codecs import Progress
from aquatint.codecs.overfitted import schedule
from aquatint.codecs.overfitted.engine import Engine

TUNING_SHARE = 0.05  # of the steps: networks alone, on rounded latents
# Rate control: d log(lagrangian) = GAIN * d progress * log(expected bits / wanted). Bits fall with about the 0.6th
# power of the Lagrangian, so that an error decays within a tenth of the fit.
GAIN = 12.0
# The noisy bits during a fit relative to those of the rounded latents at its end: ratio by progress, as measured.
BITS_ON_THE_WAY = {0.3: 1.5, 0.4: 1.28, 0.5: 1.12, 0.6: 1.03, 0.7: 0.95, 0.8: 0.89, 0.9: 0.85, 1.0: 0.84}
RATE_KNOWN = min(BITS_ON_THE_WAY)
LAGRANGIANS = 1e-6, 1.0  # beyond these the picture is lossless to the eye, or flat
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

    def step(self, distortion: float, bits: float) -> None:
        """Counts one step, whose mean squared error and bits are given."""
        self.done += 1
        if self.callback and (self.done % REPORT_EVERY == 0 or self.done == self.steps):
            seconds = time.perf_counter() - self.start
            left = seconds / self.done * (self.steps - self.done)
            psnr = -10 * math.log10(max(distortion, 1e-12))
            self.callback(Progress(self.done, self.steps, bits / self.pixels, psnr, seconds, max(left, 0.0)))


def fit(
    engine: Engine,
    steps: int,
    start: float,
    lagrangian: float,
    wanted_bits: float | None,
    seed: int,
    reporter: Reporter,
) -> float:
    """Moves latents and networks together for a number of steps.

    Args:
        engine: holds the picture, the latents and the networks; changed in place.
        steps: number of steps, at least 1.
        start: where in the schedule to begin, 0 for the beginning.
        lagrangian: weight of a bit per pixel against the mean squared error; a first guess if `wanted_bits` is given.
        wanted_bits: bits of the latents to arrive at by moving the Lagrangian, or None to keep it.
        seed: of the quantisation noise.
        reporter: is told about every step.

    Returns:
        The Lagrangian at the end.
    """
    for i in range(steps):
        progress = start + (1 - start) * i / steps
        setting = schedule.fitting(progress)
        distortion, bits = map(
            float,
            engine.step(
                setting.temperature, setting.noise, lagrangian, setting.latent_rate, setting.network_rate, seed + i
            ),
        )
        if wanted_bits is not None and progress >= RATE_KNOWN:
            expected = bits / np.interp(progress, list(BITS_ON_THE_WAY), list(BITS_ON_THE_WAY.values()))
            # As the rates of learning fall the latents follow more slowly, and so must the Lagrangian.
            gain = GAIN * (1 - start) / steps * setting.latent_rate / schedule.LATENT_RATE
            lagrangian *= (max(expected, 1.0) / wanted_bits) ** gain
            lagrangian = min(max(lagrangian, LAGRANGIANS[0]), LAGRANGIANS[1])
        reporter.step(float(distortion), float(bits))
    return lagrangian


def tune(engine: Engine, steps: int, lagrangian: float, reporter: Reporter) -> None:
    """Moves the networks alone, on latents that are already rounded.

    Args: as for `fit`.
    """
    for i in range(steps):
        setting = schedule.tuning(i / steps)
        distortion, bits = engine.step(0.0, 0.0, lagrangian, 0.0, setting.network_rate, 0)
        reporter.step(float(distortion), float(bits))
