"""How the quantisation proxy and the learning rates change during a fit."""

from __future__ import annotations

import math
from typing import NamedTuple

# Temperature of the soft rounding and width of the uniform noise, first and last (C3 goes from 0.3 to 0.1 with shaped
# noise; with few steps a warmer end and narrower noise lose less when the latents are finally rounded).
TEMPERATURES = 0.45, 0.08
NOISES = 1.0, 0.5
# Adam's step for latents (in quantiser bins) and for network parameters.
LATENT_RATE = 0.24
NETWORK_RATE = 0.013
# Steps in which both rates rise: Adam's first steps have the same size for all latents, which would spoil good ones.
WARM_UP = 10
FINAL_RATE = 0.01  # what the cosine leaves of the rates at the end, relative to the start
# The networks are tuned on rounded, frozen latents: moving the latents again spoils the fit. At half the rate the least
# Lagrangians lost what the fit had gained: the smaller the error, the less of a step of the networks it can bear.
TUNING_RATE = 0.12
# What both optimisers forget in a step, relative to 1 / sqrt(steps): the longer a fit, the less noise its end may have.
LATENT_FORGETTING = 1.2
NETWORK_FORGETTING = 3.0
MOST_FORGETTING = 0.5


class Setting(NamedTuple):
    """Arguments of one optimisation step, see `Engine.step`."""

    temperature: float
    noise: float
    latent_rate: float
    network_rate: float


def decays(steps: int) -> tuple[float, float]:
    """What a fit of so many steps gives to `Engine.reset_optimiser`, for latents and networks."""
    root = math.sqrt(steps)
    return 1 - min(LATENT_FORGETTING / root, MOST_FORGETTING), 1 - min(NETWORK_FORGETTING / root, MOST_FORGETTING)


def fitting(step: int, steps: int) -> Setting:
    """Setting of a step of the main stage: the proxy hardens linearly, the rates rise and then follow half a cosine."""
    progress = step / steps
    rate = FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * progress))
    rate *= min(1.0, (step + 1) / WARM_UP)
    temperature = TEMPERATURES[0] + (TEMPERATURES[1] - TEMPERATURES[0]) * progress
    noise = NOISES[0] + (NOISES[1] - NOISES[0]) * progress
    return Setting(temperature, noise, LATENT_RATE * rate, NETWORK_RATE * rate)


def tuning(progress: float) -> Setting:
    """Setting of the last stage, in which the latents are rounded and frozen: only the networks move."""
    return Setting(0.0, 0.0, 0.0, NETWORK_RATE * TUNING_RATE * (1 - progress))
