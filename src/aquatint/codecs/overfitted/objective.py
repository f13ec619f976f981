"""What a fit minimises beside the bits: the squared error, or Wasserstein distortion with a share of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aquatint.errors import UsageError
from aquatint.perception import sigma
from aquatint.perception.masking import importance

if TYPE_CHECKING:
    from aquatint.codecs.overfitted.engine import Distortion


@dataclass(frozen=True)
class Objective:
    """weight times Wasserstein distortion, by contrast masking, plus pixel_weight times the mean squared error.

    Attributes:
        weight: such that a Lagrangian gives about the bits that it gives with the squared error alone.
        pixel_weight: keeps faces and letters where they are.
        noise: grids of common randomness, out of which the decoder makes texture.
        vgg_weight: of Wasserstein distortion on VGG19 beside that on the steerable stack.
        skipped_bpp: rate up to which fits of smooth pictures skip the finest grid, see `presets.skips_finest`; more
            than by the squared error alone, since looks gain by it (docs/notes/overfitted-fit.md).
    """

    weight: float
    pixel_weight: float
    noise: int
    vgg_weight: float = 0.0
    skipped_bpp: float = 0.25

    def distortion(
        self,
        planes: np.ndarray,
        sigma_map: np.ndarray | str | None,
        *,
        skip_finest: bool,
        device: str,
        threads: int,
    ) -> Distortion:
        """The distortion from a picture, for a fit on a device.

        Args:
            planes: float32 (3, H, W) in [0, 1].
            sigma_map: (H, W) from 0, pointwise, to 1, a sigma of 32 (`sigma.from_picture`); the name of a derived map;
                or None for SIGMA everywhere.
            skip_finest, device, threads: as for `create_engine`.

        Raises:
            UsageError: the map is out of range or of the wrong shape.
            DependencyError: PyTorch or a file of weights is missing.
        """
        from aquatint.perception.objective import create_distortion

        _, height, width = planes.shape
        if sigma_map is None:
            widths = sigma.constant(height, width, SIGMA)
        elif isinstance(sigma_map, str):
            widths = sigma.DERIVED[sigma_map](np.moveaxis(planes, 0, 2))
        else:
            widths = sigma.from_picture(sigma_map)
        return create_distortion(
            planes,
            widths,
            weight=self.weight,
            pixel_weight=self.pixel_weight,
            vgg_weight=self.vgg_weight,
            importance=importance(np.moveaxis(planes, 0, 2)),
            holds_finest=skip_finest,
            device=device,
            threads=threads,
        )


SIGMA = 4.0  # pixels

# None is the squared error alone.
TUNES: dict[str, Objective | None] = {
    "psnr": None,
    "wd": Objective(weight=1 / 60, pixel_weight=0.25, noise=2),
    "wd-vgg": Objective(weight=1 / 60, pixel_weight=0.25, noise=2, vgg_weight=1 / 30000),
}


def objective_called(tune: str, sigma_map: np.ndarray | str | None) -> Objective | None:
    """What `tune` stands for.

    Raises:
        UsageError: there is no such objective, it has no use for the map, or there is no map of this name.
    """
    if tune not in TUNES:
        raise UsageError(f"the overfitted codec cannot tune for {tune!r}; choose one of {', '.join(TUNES)}")
    if sigma_map is not None and TUNES[tune] is None:
        raise UsageError(f"a sigma map needs an objective that has windows, not {tune!r}")
    if isinstance(sigma_map, str) and sigma_map not in sigma.DERIVED:
        raise UsageError(f"there is no sigma map {sigma_map!r}; choose one of {', '.join(sigma.DERIVED)}")
    return TUNES[tune]
