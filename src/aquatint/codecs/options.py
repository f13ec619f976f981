"""What an encode may be told apart from its picture and its target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aquatint.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from aquatint.codecs import Progress


@dataclass(frozen=True, eq=False)
class Options:
    """How to encode; each codec refuses what it cannot do.

    Attributes:
        model: for codecs with trained models, a model's name, path or id on the Hugging Face hub; None for the default.
        tune: what the `overfitted` codec optimises: "psnr"; "wd", Wasserstein distortion; or "wd-vgg", the same with
            features of VGG beside it, for which PyTorch and weights are needed. None for its default.
        sigma_map: where Wasserstein distortion may replace texture: (H, W) from 0, pixel by pixel, to 1, within windows
            of 32 pixels; "saliency", small windows where the eye looks; or "self-similar", large ones where the
            picture's statistics stay the same around a pixel. None for windows of 4 pixels everywhere.
        labels: for models of selective compression (codec `extreme`): numbers of classes (H, W), or "auto" to have them
            found by a segmentation network whose weights are at hand.
        preserve: for the same models, what is coded and not synthesised, any of: "all"; "none"; "classes=car,person";
            "box=X,Y,WIDTH,HEIGHT" in pixels; and masks (H, W), of what is not 0. None for all.
        effort: 1 (fastest) to 10 (smallest file).
        threads: processor threads, 0 for all.
        device: "auto", or where the codec computes: "cpu", "cuda", ...
        seed: of the codec's random choices.
        progress: called now and then while the codec works. An exception that it raises ends the encode.

    Raises:
        UsageError: the effort or the threads are out of range.
    """

    model: str | None = None
    tune: str | None = None
    sigma_map: np.ndarray | str | None = None
    labels: np.ndarray | str | None = None
    preserve: Sequence[np.ndarray | str] | None = None
    effort: int = 5
    threads: int = 0
    device: str = "auto"
    seed: int = 0
    progress: Callable[[Progress], None] | None = None

    def __post_init__(self) -> None:
        if self.effort not in range(1, 11):
            raise UsageError(f"effort must be from 1 to 10, not {self.effort}")
        if self.threads < 0:
            raise UsageError(f"threads must be 0 (all) or more, not {self.threads}")


DEFAULTS = Options()
