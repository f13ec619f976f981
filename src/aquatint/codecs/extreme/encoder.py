"""Encoding a picture with a trained model: one analysis, and symbols for each number of channels that is tried."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from aquatint.codecs import Report, models
from aquatint.codecs.extreme import maps, regions
from aquatint.codecs.extreme.architecture import STRIDE
from aquatint.codecs.extreme.coding import code
from aquatint.codecs.extreme.decoder import STATIC, Content, known_labels, synthesised
from aquatint.codecs.extreme.model import Model, load
from aquatint.codecs.extreme.quantiser import LARGEST
from aquatint.codecs.extreme.regions import Preserve
from aquatint.codecs.hyperprior.decoder import torch_threads
from aquatint.codecs.options import Options
from aquatint.codecs.samples import psnr, squared_error
from aquatint.codecs.target import Target, check_rate
from aquatint.codecs.trials import Trials
from aquatint.codecs.turns import Writer
from aquatint.errors import UsageError

_STATIC_EFFORT = 1  # up to which symbols have the frequencies of their channels


@dataclass(frozen=True)
class _Attempt:
    """A payload, and what a decoder will find in it."""

    payload: bytes
    content: Content
    bits: float


def model_hash(model: str | None) -> bytes:
    """The hash of a model, see `aquatint.codecs.Codec.model_hash`."""
    return models.chosen("extreme", model).hash


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

    Effort 1 codes symbols with the frequencies of their channels, as the paper does; any other effort with the context
    model. Labels and what is preserved are for models of selective compression.
    """
    models.refuse_tuning(options)
    loaded = load(models.chosen("extreme", options.model))
    height, width = pixels.shape[:2]
    trials = Trials(options, height * width, overhead, usual=len(loaded.architecture.channels))

    def error(found: _Attempt) -> float:
        decoded = synthesised(loaded, found.content, height, width)
        return squared_error(decoded, pixels, depth, grayscale)

    with torch_threads(options.threads):
        reduced, mask = _selection(loaded, pixels, options.labels, options.preserve or ("all",))
        symbols = _symbols(loaded, pixels, reduced)

        def attempt(channels: int) -> _Attempt:
            content = Content(symbols[:channels] * mask, mask, reduced)
            found = _coded(loaded, content, static=options.effort <= _STATIC_EFFORT)
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


def _selection(
    model: Model, pixels: np.ndarray, labels: np.ndarray | str | None, preserve: Sequence[Preserve]
) -> tuple[np.ndarray | None, np.ndarray]:
    """Labels as they are coded, and the mask of the symbols."""
    architecture, (height, width) = model.architecture, pixels.shape[:2]
    if not architecture.selective:
        if labels is not None or any(not isinstance(each, str) or each != "all" for each in preserve):
            raise UsageError(
                "this model codes whole pictures: labels and preserve are for models of selective compression"
            )
        return None, np.ones(regions.grid(architecture, height, width), bool)
    if labels is None:
        raise UsageError("this model of selective compression needs labels: a map of classes, or auto")
    if isinstance(labels, str):
        from aquatint.perception.espnet import segmented

        labels = segmented(labels, pixels, architecture.classes)
    reduced = regions.reduced(architecture, labels, height, width)
    return reduced, regions.on_grid(architecture, regions.preserved(architecture, labels, preserve))


def _symbols(model: Model, pixels: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """Symbols (C, h, w); the last row and column of pixels are repeated up to whole ones."""
    height, width = pixels.shape[:2]
    planes = torch.from_numpy(np.ascontiguousarray(pixels))[None].permute(0, 3, 1, 2)
    with torch.inference_mode():
        planes = functional.pad(planes, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        known = None if labels is None else known_labels(model, labels, height, width)
        latents = model.network.latents(planes.contiguous(memory_format=torch.channels_last), known)
    found = np.nan_to_num(latents[0].float().contiguous().numpy())
    return np.clip(np.rint(found), -LARGEST, LARGEST).astype(np.int32)


def _coded(model: Model, content: Content, *, static: bool) -> _Attempt:
    turn = Writer()
    channels = len(content.symbols)
    if content.labels is not None:
        maps.write(turn, len(model.architecture.classes), content.labels)
        maps.write(turn, 2, content.mask.astype(np.int64))
    code(model, channels, content.mask, turn, content.symbols, static=static)
    payload = bytes([channels | (STATIC if static else 0)]) + turn.stream()
    return _Attempt(payload, content, turn.bits)


def _search(
    model: Model,
    target: Target,
    attempt: Callable[[int], _Attempt],
    error: Callable[[_Attempt], float],
    overhead: int,
    pixels: int,
) -> _Attempt:
    """The attempt that suits the target."""
    rates = model.architecture.channels
    if target.quality is not None:
        return attempt(rates[min(int((target.quality - 1) / 99 * len(rates)), len(rates) - 1)])
    tried = [attempt(channels) for channels in rates]

    def bits(found: _Attempt) -> float:
        return 8.0 * (len(found.payload) + overhead)

    if target.lagrangian is not None:
        weight = target.lagrangian / pixels
        return min(tried, key=lambda found: error(found) + weight * bits(found))
    budget = target.bits(pixels)
    assert budget is not None
    if target.size is not None:
        return max((found for found in tried if bits(found) <= budget), key=bits, default=min(tried, key=bits))
    best = min(tried, key=lambda found: abs(bits(found) - budget))
    check_rate(bits(best) / pixels, budget / pixels)
    return best
