"""Decoded pixels as whoever decodes a file gets them, and how far they are from the picture."""

from __future__ import annotations

import math

import numpy as np


def samples(pixels: np.ndarray, depth: int, grayscale: bool) -> np.ndarray:
    """Pixels rounded to the depth, of shape (H, W, 3), or (H, W) if grayscale; what is not a number is 0."""
    if grayscale:
        pixels = pixels.mean(2)
    most = 2**depth - 1
    whole = np.floor(np.clip(np.nan_to_num(pixels, nan=0.0), 0, 1) * most + 0.5)
    return whole.astype(np.uint8 if depth == 8 else np.uint16)


def squared_error(decoded: np.ndarray, pixels: np.ndarray, depth: int, grayscale: bool) -> float:
    """Mean squared error of decoded pixels against a picture's, both rounded to the depth, with samples in [0, 1]."""
    shown, wanted = (samples(each, depth, grayscale) / (2**depth - 1) for each in (decoded, pixels))
    return float(np.square(shown - wanted).mean())


def psnr(error: float) -> float:
    """The peak signal-to-noise ratio in dB of a mean squared error; inf if that is 0."""
    return math.inf if error == 0 else -10 * math.log10(error)
