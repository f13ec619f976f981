"""Encoding a picture with a trained model: indices for each rate that is tried, and better ones in the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.nn import functional

from aquatint.codecs import Report, models
from aquatint.codecs.hyperprior.decoder import torch_threads
from aquatint.codecs.options import Options
from aquatint.codecs.samples import psnr, squared_error
from aquatint.codecs.target import RATE_TOLERANCE, Target, check_rate
from aquatint.codecs.transport.architecture import LATENT_STRIDE
from aquatint.codecs.transport.coding import Chooser, Coded, coded, nearest, packed, sum_of_codes
from aquatint.codecs.transport.decoder import FIXED, HALF, picture
from aquatint.codecs.transport.model import Model, load
from aquatint.codecs.transport.refinement import refined
from aquatint.codecs.transport.scale import halved
from aquatint.codecs.trials import Trials

_FIXED_EFFORT = 1  # up to which indices have a fixed length
# By how much smaller the squared error at half the size has to be: it has no grain, and looks smoother than the whole
# does at 1 dB less.
_GRAIN = 1.25
_ROUNDS = 4  # of refinement, for each step of the effort: all places are looked at once
_BISECTIONS = 10  # of a share or a multiplier, down to a thousandth of it
_SHARES = (0.25, 0.5, 0.75, 1.0)  # that a Lagrangian chooses from
# What a bit costs when indices are chosen, in units of `_unit`: 4 % of the bits go for 0.03 dB (two Kodak pictures),
# which is a quarter of what they are worth. With more it is soon as much.
_MULTIPLIER = 0.25


def model_hash(model: str | None) -> bytes:
    """The hash of a model, see `aquatint.codecs.Codec.model_hash`."""
    return models.chosen("transport", model).hash


def encode(
    pixels: np.ndarray,
    target: Target,
    options: Options,
    *,
    depth: int,
    grayscale: bool,
    overhead: int,
) -> tuple[bytes, Report]:
    """Encodes pixels, see `aquatint.codecs.Codec.encode`; device and seed make no difference.

    Effort 1 writes indices of fixed length, which survive damage and need no context model; any other effort chooses
    indices by rate and distortion, leaves some of the last stage out, codes them with the context model, and looks at
    the decoded pixels four more times for each step of the effort to choose better ones. A target too low for one
    index at each place is met at half the size if that is better.
    """
    models.refuse_tuning(options)
    loaded = load(models.chosen("transport", options.model))
    height, width = pixels.shape[:2]
    fixed = options.effort <= _FIXED_EFFORT
    rounds = _ROUNDS * (options.effort - _FIXED_EFFORT)
    trials = Trials(options, height * width, overhead, usual=1 if fixed else _BISECTIONS + rounds)
    bits = target.bits(height * width)

    def error(found: Coded, *, half: bool = False) -> float:
        decoded = picture(loaded, sum_of_codes(loaded, found.indices), height, width, half=half)
        return squared_error(decoded, pixels, depth, grayscale)

    def at_size(*, half: bool) -> Coded:
        attempt = _Coder(loaded, halved(pixels) if half else pixels, trials, fixed=fixed)
        found = _search(loaded, target, attempt, error, overhead, height * width, whole=fixed)
        if fixed:
            return found
        return refined(
            loaded,
            attempt.latents,
            attempt.pixels,
            found,
            multiplier=_unit(loaded, len(found.indices)),
            most_bits=(bits or 0.0) - 8 * overhead,
            rounds=rounds,
            report=trials.report,
        )

    def missed(found: Coded) -> float:
        """By how much more than is tolerated, relative to the target."""
        assert bits is not None
        excess = (found.payload_bits + 8 * overhead) / bits - 1
        if target.size is not None:
            return max(excess, 0.0)
        return abs(excess) if abs(excess) > RATE_TOLERANCE else 0.0

    with torch_threads(options.threads):
        best, half = at_size(half=False), False
        if bits is not None and len(best.indices) == 1 and (missed(best) or not fixed):
            smaller = at_size(half=True)
            if (missed(smaller), _GRAIN * error(smaller, half=True)) < (missed(best), error(best)):
                best, half = smaller, True
    if target.bpp is not None:
        check_rate((best.payload_bits + 8 * overhead) / (height * width), target.bpp)

    def measured() -> float:
        with torch_threads(options.threads):
            return psnr(error(best, half=half))

    payload = bytes([best.payload[0] | (HALF if half else 0)]) + best.payload[1:]
    return payload, Report(
        measure_psnr=measured,
        estimated_bits=best.bits,
        multiplications_per_pixel=loaded.multiplications_per_pixel / (4 if half else 1),
        steps=0,
        lagrangian=target.lagrangian or math.nan,
    )


class _Coder:
    """Whatever can be said about a picture.

    Arguments:
        model: that says it.
        pixels: whole or at half the size.
        trials: that are reported to.
        fixed: indices have a fixed length.
    """

    def __init__(self, model: Model, pixels: np.ndarray, trials: Trials, *, fixed: bool) -> None:
        self._model, self._trials, self._fixed = model, trials, fixed
        self.pixels, self.latents = pixels, _latents(model, pixels)

    def __call__(self, stages: int, share: float = 1.0, multiplier: float = _MULTIPLIER) -> Coded:
        if self._fixed:
            found = _fixed(self._model, self.latents, stages)
        else:
            chooser = Chooser(self._model, self.latents, stages, multiplier * _unit(self._model, stages), share)
            found = coded(self._model, self.latents.shape[1:], chooser)
        self._trials.report(found.payload)
        return found


def _latents(model: Model, pixels: np.ndarray) -> np.ndarray:
    """Latent vectors of shape (d, h, w); the last row and column of pixels are repeated up to whole ones."""
    height, width = pixels.shape[:2]
    planes = torch.from_numpy(np.ascontiguousarray(pixels))[None].permute(0, 3, 1, 2)
    padding = (0, -width % LATENT_STRIDE, 0, -height % LATENT_STRIDE)
    with torch.inference_mode():
        planes = functional.pad(planes, padding, mode="replicate")
        return np.nan_to_num(model.network.latents(planes)[0].contiguous().numpy())


def _fixed(model: Model, latents: np.ndarray, stages: int) -> Coded:
    indices = nearest(model, latents, stages)
    payload = bytes([stages | FIXED]) + packed(indices, model.architecture.bits)
    return Coded(payload, indices, float(indices.size * model.architecture.bits))


def _unit(model: Model, stages: int) -> float:
    """The multiplier with which the bits of the last stage, from the second on, cost what it saves in training."""
    stages = min(max(stages, 2), model.architecture.stages)
    saved = float(model.distortions[stages - 1] - model.distortions[stages])
    return max(saved, 0.0) / model.architecture.bits


def _search(
    model: Model,
    target: Target,
    attempt: Callable[..., Coded],
    error: Callable[[Coded], float],
    overhead: int,
    pixels: int,
    *,
    whole: bool,
) -> Coded:
    """The attempt that suits the target, among those of whole stages or of all."""
    most = model.architecture.stages
    if target.quality is not None:
        # Quality 1 is one whole stage, 100 all of them, and in between the last one has a share of the places.
        place = 1 + (target.quality - 1) / 99 * (most - 1)
        stages = math.ceil(place - 1e-9)
        return attempt(stages, place - (stages - 1))
    if target.lagrangian is not None:
        weight = target.lagrangian / pixels
        shares = (1.0,) if whole else _SHARES
        choices = [(1, 1.0), *((stages, share) for stages in range(2, most + 1) for share in shares)]
        found = [attempt(stages, share) for stages, share in choices]
        return min(found, key=lambda one: error(one) + weight * (one.payload_bits + 8 * overhead))
    budget = target.bits(pixels)
    assert budget is not None
    return _search_bits(most, attempt, budget - 8 * overhead, exceed=target.size is None, whole=whole)


def _search_bits(most: int, attempt: Callable[..., Coded], budget: float, *, exceed: bool, whole: bool) -> Coded:
    """The attempt with the most bits within the budget, or the nearest one if it may exceed it."""
    tried: list[Coded] = []
    for stages in range(1, most + 1):
        tried.append(attempt(stages))
        if tried[-1].payload_bits >= budget:
            tried += [] if whole else _bisected(attempt, stages, budget)
            break
    within = [found for found in tried if found.payload_bits <= budget]
    if exceed:
        return min(tried, key=lambda found: abs(found.payload_bits - budget))
    return (
        max(within, key=lambda found: found.payload_bits)
        if within
        else min(tried, key=lambda found: found.payload_bits)
    )


def _bisected(attempt: Callable[..., Coded], stages: int, budget: float) -> Iterator[Coded]:
    """Attempts that come closer and closer: by the share of the last stage, or below one stage by the multiplier."""
    low, high = 0.0, 1.0  # of the bits that can go
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        found = attempt(stages, 1 - middle) if stages > 1 else attempt(1, 1.0, _MULTIPLIER / (1 - middle) ** 2)
        yield found
        low, high = (middle, high) if found.payload_bits > budget else (low, middle)
