"""Encoding a picture with a trained model: one analysis, and indices for each rate that is tried."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from aquatint.codecs import Report, models
from aquatint.codecs.hyperprior.decoder import torch_threads
from aquatint.codecs.options import Options
from aquatint.codecs.samples import psnr, squared_error
from aquatint.codecs.target import Target, check_rate
from aquatint.codecs.transport.architecture import LATENT_STRIDE
from aquatint.codecs.transport.coding import Chooser, nearest, packed, sum_of_codes, visit
from aquatint.codecs.transport.decoder import FIXED, synthesised
from aquatint.codecs.transport.model import Model, load
from aquatint.codecs.trials import Trials

_FIXED_EFFORT = 1  # up to which indices have a fixed length
_BISECTIONS = 10  # of the multiplier, down to a hundredth of it
_MULTIPLIERS = (0.0, 0.25, 0.5, 1.0)  # that a Lagrangian chooses from, in units of `_unit`


@dataclass(frozen=True)
class _Attempt:
    """A payload, and what a decoder will make of it."""

    payload: bytes
    indices: np.ndarray
    bits: float


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
    indices by rate and distortion, and codes them with the context model.
    """
    models.refuse_tuning(options)
    loaded = load(models.chosen("transport", options.model))
    height, width = pixels.shape[:2]
    trials = Trials(options, height * width, overhead, usual=_BISECTIONS)

    def error(found: _Attempt) -> float:
        decoded = synthesised(loaded, sum_of_codes(loaded, found.indices), height, width)
        return squared_error(decoded, pixels, depth, grayscale)

    with torch_threads(options.threads):
        latents = _latents(loaded, pixels)

        def attempt(stages: int, multiplier: float) -> _Attempt:
            fixed = options.effort <= _FIXED_EFFORT
            found = (_fixed if fixed else _coded)(loaded, latents, stages, multiplier)
            trials.report(found.payload)
            return found

        best = _search(loaded, target, attempt, error, overhead, height * width)

    def measured() -> float:
        with torch_threads(options.threads):
            return psnr(error(best))

    return best.payload, Report(
        measure_psnr=measured,
        estimated_bits=best.bits,
        multiplications_per_pixel=loaded.multiplications_per_pixel,
        steps=0,
        lagrangian=target.lagrangian or math.nan,
    )


def _latents(model: Model, pixels: np.ndarray) -> np.ndarray:
    """Latent vectors of shape (d, h, w); the last row and column of pixels are repeated up to whole ones."""
    height, width = pixels.shape[:2]
    planes = torch.from_numpy(np.ascontiguousarray(pixels))[None].permute(0, 3, 1, 2)
    padding = (0, -width % LATENT_STRIDE, 0, -height % LATENT_STRIDE)
    with torch.inference_mode():
        planes = functional.pad(planes, padding, mode="replicate")
        return np.nan_to_num(model.network.latents(planes)[0].contiguous().numpy())


def _fixed(model: Model, latents: np.ndarray, stages: int, multiplier: float) -> _Attempt:
    indices = nearest(model, latents, stages)
    payload = bytes([stages | FIXED]) + packed(indices, model.architecture.bits)
    return _Attempt(payload, indices, float(indices.size * model.architecture.bits))


def _coded(model: Model, latents: np.ndarray, stages: int, multiplier: float) -> _Attempt:
    chooser = Chooser(model, latents, multiplier)
    indices = visit(model, stages, latents.shape[1:], chooser)  # type: ignore[arg-type]
    return _Attempt(bytes([stages]) + chooser.stream(), indices, chooser.bits)


def _unit(model: Model, stages: int) -> float:
    """The multiplier with which the bits of the last stage cost as much as it saves in training."""
    saved = float(model.distortions[stages - 1] - model.distortions[stages])
    return max(saved, 0.0) / model.architecture.bits


def _multipliers(model: Model) -> tuple[float, float]:
    """A multiplier that changes little, and one with which a bit must save everything."""
    return float(model.distortions[-1]) / (64 * model.architecture.bits), float(model.distortions[0])


def _search(
    model: Model,
    target: Target,
    attempt: Callable[[int, float], _Attempt],
    error: Callable[[_Attempt], float],
    overhead: int,
    pixels: int,
) -> _Attempt:
    """The attempt that suits the target."""
    most = model.architecture.stages
    if target.quality is not None:
        # Whole stages at whole multiples of 99 / K; between them the multiplier falls.
        place = max(target.quality - 1, 1) / 99 * most
        stages = min(math.ceil(place - 1e-9), most)
        return attempt(stages, _unit(model, stages) * (stages - place))
    if target.lagrangian is not None:
        weight = target.lagrangian / pixels
        choices = [(stages, factor) for stages in range(1, most + 1) for factor in _MULTIPLIERS]
        found = [attempt(stages, factor * _unit(model, stages)) for stages, factor in choices]
        return min(found, key=lambda one: error(one) + weight * 8 * (len(one.payload) + overhead))
    budget = target.bits(pixels)
    assert budget is not None
    best = _search_bits(model, attempt, budget - 8 * overhead, exceed=target.size is None)
    if target.size is None:
        check_rate((_bits(best) + 8 * overhead) / pixels, budget / pixels)
    return best


def _search_bits(model: Model, attempt: Callable[[int, float], _Attempt], budget: float, *, exceed: bool) -> _Attempt:
    """The attempt with the most bits within the budget, or the nearest one if it may exceed it."""
    tried: list[_Attempt] = []
    for stages in range(1, model.architecture.stages + 1):
        tried.append(attempt(stages, 0.0))
        if _bits(tried[-1]) >= budget:
            low, high = (math.log(max(multiplier, 1e-9)) for multiplier in _multipliers(model))
            for _ in range(_BISECTIONS):
                middle = (low + high) / 2
                tried.append(attempt(stages, math.exp(middle)))
                low, high = (middle, high) if _bits(tried[-1]) > budget else (low, middle)
            break
    within = [found for found in tried if _bits(found) <= budget]
    if exceed:
        return min(tried, key=lambda found: abs(_bits(found) - budget))
    return max(within, key=_bits) if within else min(tried, key=_bits)


def _bits(found: _Attempt) -> float:
    return 8.0 * len(found.payload)
