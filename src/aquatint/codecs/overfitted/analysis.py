"""First latents: what a small network sees in each level of a picture's pyramid. No part of the format.

A short fit that starts here rather than at zero needs half of the steps or fewer. An analysis is trained for a decoder
at its origins (aquatint.training.analysis) and has a network for each grid: with x the 5x5 neighbourhood of a pixel of
the grid's level minus mid grey, and s the Lagrangian on a logarithmic scale,

    latent = 2^(g s) (a x + c max(0, B max(0, A x + a_0 + a_1 s) + b_0 + b_1 s) + c_0)
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Mapping
from importlib import resources

import numpy as np

from aquatint import native
from aquatint.codecs.overfitted.architecture import LATENT_LIMIT, Architecture
from aquatint.codecs.overfitted.initialise import ORIGIN_LAGRANGIANS

GRIDS = 7
SIDE = 5  # of the neighbourhood
UNITS = 16
SHAPES = {
    "direct": (GRIDS, 3 * SIDE**2),
    "first": (GRIDS, UNITS, 3 * SIDE**2),
    "first_bias": (GRIDS, UNITS),
    "first_slope": (GRIDS, UNITS),
    "second": (GRIDS, UNITS, UNITS),
    "second_bias": (GRIDS, UNITS),
    "second_slope": (GRIDS, UNITS),
    "out": (GRIDS, UNITS),
    "out_bias": (GRIDS,),
    "gain": (GRIDS,),
}
GREY = np.float32(0.5)  # is taken from pixels


def name_of(architecture: Architecture, skip_finest: bool) -> str:
    """Of what an analysis was trained for: the sizes of the networks, and whether the finest grid is skipped."""
    sizes = f"{architecture.context}-{architecture.parents}-{architecture.hidden}-{architecture.residuals}"
    return sizes + "-skip" * skip_finest


def scale_of(lagrangian: float) -> float:
    """The Lagrangian on a logarithmic scale: -1 to 1 over those that origins are learned for."""
    low, *_, high = map(math.log, ORIGIN_LAGRANGIANS)
    return min(max((2 * math.log(lagrangian) - low - high) / (high - low), -1.0), 1.0)


def pyramid(planes: np.ndarray, levels: int) -> list[np.ndarray]:
    """The picture, and halved again and again by the mean of 2x2 pixels; odd edges are repeated.

    Args:
        planes: float32 (3, H, W) in [0, 1].
        levels: number of arrays to return, finest first.
    """
    out = [planes]
    for _ in range(levels - 1):
        height, width = out[-1].shape[1:]
        even = np.pad(out[-1], ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
        out.append(even.reshape(3, even.shape[1] // 2, 2, even.shape[2] // 2, 2).mean((2, 4)))
    return out


def first_latents(
    planes: np.ndarray, architecture: Architecture, lagrangian: float, skip_finest: bool
) -> list[np.ndarray]:
    """Latents to start a fit from, float32, finest grid first; zeros if no analysis was trained for the fit.

    Args:
        planes: the picture, float32 (3, H, W) in [0, 1].
        architecture: of the decoder.
        lagrangian: weight of a bit per pixel.
        skip_finest: whether the finest grid has to stay zero.
    """
    latents = [np.zeros(shape, np.float32) for shape in architecture.grid_shapes(*planes.shape[1:])]
    networks = _load().get(name_of(architecture, skip_finest))
    if networks is None:
        return latents
    scale = np.float32(scale_of(lagrangian))
    levels = pyramid(planes, architecture.grids)
    for k in range(int(skip_finest), architecture.grids):
        latents[k] = _latents(levels[k], {name: array[k] for name, array in networks.items()}, scale)
    return latents


def _latents(level: np.ndarray, network: Mapping[str, np.ndarray], scale: np.float32) -> np.ndarray:
    """Latents of one grid from its level of the pyramid, (3, h, w)."""
    gain = np.exp2(network["gain"] * scale)
    first = np.concatenate([network["first"], gain * network["direct"][None]])
    first_bias = np.append(network["first_bias"] + scale * network["first_slope"], gain * network["out_bias"])
    first_bias -= GREY * first.sum(axis=1)
    second_bias = network["second_bias"] + scale * network["second_slope"]
    out = gain * network["out"]
    latents = native.analyse(np.ascontiguousarray(level), first, first_bias, network["second"], second_bias, out)
    return latents.clip(-LATENT_LIMIT, LATENT_LIMIT)


@functools.cache
def _load() -> dict[str, dict[str, np.ndarray]]:
    """The analyses that ship, by `name_of` and then by the names of `SHAPES`."""
    data = resources.files("aquatint.codecs.overfitted").joinpath("analysis.npz").read_bytes()
    networks: dict[str, dict[str, np.ndarray]] = {}
    with np.load(io.BytesIO(data)) as arrays:
        for key in arrays.files:
            which, name = key.split("/")
            networks.setdefault(which, {})[name] = arrays[key].astype(np.float32)
    return networks
