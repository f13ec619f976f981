"""Encoding a picture with a trained model: an analysis for each rate that is tried, no training."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from aquatint import native
from aquatint.codecs import Report, models
from aquatint.codecs.hyperprior import tables
from aquatint.codecs.hyperprior.architecture import LATENT_STRIDE
from aquatint.codecs.hyperprior.coding import LARGEST_RESIDUAL, Passes, Quantiser
from aquatint.codecs.hyperprior.decoder import dequantised, grid, synthesised, torch_threads
from aquatint.codecs.hyperprior.integers import ONE
from aquatint.codecs.hyperprior.model import Model, load
from aquatint.codecs.hyperprior.network import Network
from aquatint.codecs.hyperprior.transforms import UNIT
from aquatint.codecs.options import Options
from aquatint.codecs.samples import psnr, squared_error
from aquatint.codecs.target import Target, check_rate
from aquatint.codecs.trials import Trials
from aquatint.errors import UsageError

_INTERPOLATIONS = 4  # most searches need three
_ATTEMPTS = _INTERPOLATIONS + 8  # a bisection of 256 levels always ends
_USUAL_ATTEMPTS = 4
_CLOSE = 0.01  # how far from a wanted rate the search is content
_USUAL_BPP = (0.05, 1.0)  # of the first and the last level, where the search begins


@dataclass(frozen=True)
class _Attempt:
    """A payload, and what a decoder will make of it."""

    level: int
    payload: bytes
    latents: np.ndarray
    bits: float


def model_hash(model: str | None) -> bytes:
    """The hash of a model, see `aquatint.codecs.Codec.model_hash`."""
    return models.chosen("hyperprior", model).hash


def encode(
    pixels: np.ndarray,
    target: Target,
    options: Options,
    *,
    depth: int,
    grayscale: bool,
    overhead: int,
) -> tuple[bytes, Report]:
    """Encodes pixels, see `aquatint.codecs.Codec.encode`; effort and seed make no difference."""
    models.refuse_tuning(options)
    loaded = load(models.chosen("hyperprior", options.model))
    height, width = pixels.shape[:2]
    trials = Trials(options, height * width, overhead, usual=_USUAL_ATTEMPTS)
    with torch_threads(options.threads):
        network = _network(loaded, options.device)
        planes = _padded(pixels, next(network.analysis.parameters()).device)

        def attempt(level: int) -> _Attempt:
            found = _coded(loaded, network, planes, grid(height, width), level)
            trials.report(found.payload)
            return found

        best = _search(loaded, target, attempt, overhead, height * width)

    def measured() -> float:
        with torch_threads(options.threads):
            decoded = synthesised(loaded, best.level, best.latents, height, width)
        return psnr(squared_error(decoded, pixels, depth, grayscale))

    return best.payload, Report(
        measure_psnr=measured,
        estimated_bits=best.bits,
        multiplications_per_pixel=loaded.multiplications_per_pixel,
        steps=0,
        lagrangian=loaded.step(best.level) ** 2 / (loaded.largest_lambda * 255**2),
    )


def _search(model: Model, target: Target, attempt: Callable[[int], _Attempt], overhead: int, pixels: int) -> _Attempt:
    """The attempt that suits the target."""
    last = len(model.rates) - 1
    if target.quality is not None:
        return attempt(round((target.quality - 1) / 99 * last))
    if target.lagrangian is not None:
        if last == 0:
            return attempt(0)
        step = math.sqrt(target.lagrangian * 255**2 * model.largest_lambda)
        return attempt(round(last * min(1, max(0, 1 - math.log(step) / math.log(model.architecture.max_step)))))
    budget = target.bits(pixels)
    assert budget is not None
    return _search_bits(attempt, last, budget, overhead, pixels, exceed=target.size is None)


def _search_bits(
    attempt: Callable[[int], _Attempt], last: int, budget: float, overhead: int, pixels: int, *, exceed: bool
) -> _Attempt:
    """The attempt with the most bits within the budget; or the nearest one, if it may exceed it.

    The logarithm of the rate is almost linear in the level: first by interpolation, then by bisection.
    """

    def bits_of(found: _Attempt) -> float:
        return 8.0 * (len(found.payload) + overhead)

    aim = budget if exceed else budget * (1 - _CLOSE)
    slope = math.log(_USUAL_BPP[1] / _USUAL_BPP[0]) / max(last, 1)
    guess = math.log(aim / pixels / _USUAL_BPP[0]) / slope
    below: _Attempt | None = None
    above: _Attempt | None = None
    for tried in range(_ATTEMPTS):
        floor = below.level + 1 if below is not None else 0
        ceiling = above.level - 1 if above is not None else last
        if floor > ceiling:
            break
        if tried >= _INTERPOLATIONS:
            guess = (floor + ceiling) / 2
        found = attempt(min(max(round(guess), floor), ceiling))
        bits = bits_of(found)
        if abs(bits / aim - 1) <= _CLOSE and (exceed or bits <= budget):
            return found
        if bits <= budget:
            below = found
        else:
            above = found
        if below is not None and above is not None:
            slope = math.log(bits_of(above) / bits_of(below)) / (above.level - below.level)
        guess = found.level + math.log(aim / bits) / max(slope, 1e-6)
    best = below
    if below is None or (exceed and above is not None and bits_of(above) - budget < budget - bits_of(below)):
        best = above
    assert best is not None
    if exceed:
        check_rate(bits_of(best) / pixels, budget / pixels)
    return best


def _coded(model: Model, network: Network, planes: torch.Tensor, size: tuple[int, int], level: int) -> _Attempt:
    """Codes planes of shape (1, 3, H, W) at a level."""
    step = torch.tensor([model.step(level)], dtype=torch.float32, device=planes.device)
    with torch.inference_mode():
        latents = network.latents(planes, network.rate(step))
        hyper = network.hyper_latents(latents) if model.architecture.hyper else None
    width = np.float32(model.step(level) * UNIT)
    scaled = latents[0].float().cpu().numpy() / width
    centres = model.centres[model.rates.hyper_group(level)][:, None, None]
    if hyper is None:
        coded = _rounded(scaled) - centres
        decoded = (coded + centres).astype(np.float32) * width
        values, rows = [coded], [_by_channel(model, level, coded)]
    else:
        hyper_step = np.float32(model.rates.hyper_step[level] / ONE)
        numbers = _rounded(hyper[0].float().cpu().numpy() / hyper_step)
        quantiser = Quantiser(scaled)
        passes = Passes(model, level, numbers, size, quantiser)
        decoded = dequantised(model, level, passes)
        coded = numbers - centres
        values = [coded, *quantiser.values]
        rows = [_by_channel(model, level, coded), *quantiser.rows]
    all_values = np.concatenate([part.reshape(-1) for part in values]).astype(np.int32)
    all_rows = np.concatenate([part.reshape(-1) for part in rows]).astype(np.uint16)
    payload = bytes([level]) + native.encode_numbers(model.tables, all_values, all_rows)
    bits = float(tables.costs(model.cumulative, model.shifts, all_values, all_rows).sum())
    return _Attempt(level, payload, decoded, bits)


def _rounded(values: np.ndarray) -> np.ndarray:
    """Integers that the coder takes, around any centre; what is not a number is 0."""
    most = LARGEST_RESIDUAL - 1024
    return np.clip(np.rint(np.nan_to_num(values, nan=0.0)), -most, most).astype(np.int32)


def _by_channel(model: Model, level: int, numbers: np.ndarray) -> np.ndarray:
    return np.broadcast_to(model.density_rows(level)[:, None, None], numbers.shape)


def _network(model: Model, device: str) -> Network:
    """The transforms on a device."""
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        where = torch.device(chosen)
        if where.type == "cpu":
            return model.network
        # The shapes of the entropy model have no storage to move.
        moved = copy.copy(model.network)
        moved._modules = dict(moved._modules)
        for name in ("analysis", "hyper_analysis"):
            if name in moved._modules:
                moved._modules[name] = copy.deepcopy(moved._modules[name]).to(where)  # type: ignore[union-attr]
        return moved
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from None


def _padded(pixels: np.ndarray, device: torch.device) -> torch.Tensor:
    """Planes of shape (1, 3, H, W), the last row and column repeated up to whole latents."""
    height, width = pixels.shape[:2]
    planes = torch.from_numpy(np.ascontiguousarray(pixels))[None].permute(0, 3, 1, 2).to(device)
    return functional.pad(planes, (0, -width % LATENT_STRIDE, 0, -height % LATENT_STRIDE), mode="replicate")
