"""What engines refuse to be made from, in words that name the value and the limit."""

from __future__ import annotations

import numpy as np
import pytest

from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.codecs.overfitted.engine import create_engine
from aquatint.errors import UsageError

pytest.importorskip("torch", reason="one of the engines is in PyTorch")


@pytest.mark.parametrize("device", ["cpu", "torch"])
@pytest.mark.parametrize(
    "pixels",
    [
        np.full((3, 2, 2), np.nan, np.float32),
        np.full((3, 2, 2), np.inf, np.float32),
        np.zeros((2, 2), np.float32),
        np.zeros((1, 2, 2), np.float32),
        np.zeros((3, 0, 2), np.float32),
    ],
    ids=["nan", "inf", "two dimensions", "one channel", "empty"],
)
def test_unusable_pixels(pixels: np.ndarray, device: str) -> None:
    with pytest.raises(UsageError, match="pixels must be"):
        create_engine(pixels, Architecture(), device=device)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (Architecture(grids=0), "grids must be from 1 to 9, not 0"),
        (Architecture(grids=10), "grids must be from 1 to 9, not 10"),
        (Architecture(context=10), r"context \+ parents must be 8, 16 or 24, not 10"),
        (Architecture(context=19, parents=5), "parents must be from 0 to 4, not 5"),
        (Architecture(hidden=6), "hidden must be a multiple of 4, not 6"),
        (Architecture(hidden=68), "hidden must be from 4 to 64, not 68"),
        (Architecture(residuals=5), "residuals must be from 0 to 4, not 5"),
        (Architecture(noise=4), "noise must be from 0 to 3, not 4"),
        (Architecture(grids=2, noise=3), "noise must be from 0 to 2, not 3"),
    ],
)
def test_unusable_architectures(architecture: Architecture, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_engine(np.zeros((3, 4, 4), np.float32), architecture)


def test_unusable_settings() -> None:
    pixels = np.zeros((3, 4, 4), np.float32)
    with pytest.raises(UsageError, match="threads must be from 0 to 256, not -1"):
        create_engine(pixels, Architecture(), threads=-1)
    with pytest.raises(UsageError, match="instruction set 'mmx' is not available"):
        create_engine(pixels, Architecture(), isa="mmx")
    with pytest.raises(UsageError, match="device 'toaster' is not usable"):
        create_engine(pixels, Architecture(), device="toaster")
    with pytest.raises(ValueError, match="65535"):
        create_engine(np.zeros((3, 1, 65536), np.float32), Architecture())


@pytest.mark.parametrize("device", ["cpu", "torch"])
def test_unusable_shares_of_the_finest_grid(device: str) -> None:
    pixels = np.zeros((3, 4, 6), np.float32)
    engine = create_engine(pixels, Architecture(grids=2), device=device, skip_finest=True)
    with pytest.raises(ValueError, match="must be 2x3, not 4x6"):
        engine.separate_finest(np.ones((4, 6), np.float32))
    for wrong in (-0.1, 1.5, np.nan):
        with pytest.raises(ValueError, match="from 0 to 1"):
            engine.separate_finest(np.full((2, 3), wrong, np.float32))
