"""A sampler of symbols: noise to the symbols of pictures of one size (Agustsson et al. 2019, section 5.3).

The residual network of Gulrajani et al. 2017 (arXiv 1704.00028) for 64x64 pixels, with the grid of symbols in their
place. Whatever it gives is brought to the nearest levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from aquatint.codecs.extreme.quantiser import LARGEST
from aquatint.codecs.models import ModelFile, assembled
from aquatint.errors import ModelError, UsageError

FORMAT = 1
NOISE = 128  # dimensions
_STEPS = 4  # doublings of the size


@dataclass(frozen=True)
class Shape:
    """What a sampler makes.

    Attributes:
        channels: of symbols.
        rows, columns: of their grid, multiples of 16.
        width: channels where they are fewest; 64 in the paper.

    Raises:
        UsageError: a value is out of range.
    """

    channels: int
    rows: int
    columns: int
    width: int

    def __post_init__(self) -> None:
        for name, side in (("rows", self.rows), ("columns", self.columns)):
            if not 0 < side <= 256 or side % (1 << _STEPS):
                raise UsageError(f"{name} of symbols must be multiples of {1 << _STEPS} up to 256, not {side}")
        for name, most in (("channels", 16), ("width", 256)):
            if not 1 <= getattr(self, name) <= most:
                raise UsageError(f"{name} must be from 1 to {most}, not {getattr(self, name)}")

    def to_json(self) -> dict[str, object]:
        """The attributes as values that JSON has."""
        return asdict(self)


class Sampler(nn.Module):
    """From noise (B, 128), normally distributed, to numbers from -2 to 2 (B, C, h, w).

    Arguments:
        shape: of what it makes.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape, width = shape, shape.width
        self._start = (8 * width, shape.rows >> _STEPS, shape.columns >> _STEPS)
        self.enter = nn.Linear(NOISE, int(np.prod(self._start)))
        widths = [8 * width, 8 * width, 4 * width, 2 * width, width]
        self.blocks = nn.Sequential(*(_Up(*pair) for pair in pairwise(widths)))
        self.leave = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, shape.channels, 3, padding=1))

    def forward(self, noise: Tensor) -> Tensor:
        x = self.enter(noise).reshape(-1, *self._start)
        return LARGEST * torch.tanh(self.leave(self.blocks(x)))


class Critic(nn.Module):
    """How likely symbols (B, C, h, w) are those of a picture: one number each, without bounds.

    Arguments:
        shape: of what it judges.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.width
        widths = [width, 2 * width, 4 * width, 8 * width, 8 * width]
        self.layers = nn.Sequential(
            nn.Conv2d(shape.channels, width, 3, padding=1),
            *(_Down(*pair) for pair in pairwise(widths)),
            nn.Flatten(),
            nn.Linear(8 * width * (shape.rows >> _STEPS) * (shape.columns >> _STEPS), 1),
        )

    def forward(self, symbols: Tensor) -> Tensor:
        return self.layers(symbols)[:, 0]


class _Up(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(inputs, outputs, 1)
        self.first_norm, self.second_norm = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(functional.interpolate(functional.relu(self.first_norm(x)), scale_factor=2))
        y = self.second(functional.relu(self.second_norm(y)))
        return y + self.shortcut(functional.interpolate(x, scale_factor=2))


class _Down(nn.Module):
    """With layer normalisation: the penalty is on gradients of single samples, which batches must not mix."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(inputs, outputs, 1)
        self.layers = nn.Sequential(
            *(nn.GroupNorm(1, inputs), nn.ReLU(), nn.Conv2d(inputs, inputs, 3, padding=1, bias=False)),
            *(nn.GroupNorm(1, inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, 3, padding=1), nn.AvgPool2d(2)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + self.shortcut(functional.avg_pool2d(x, 2))


def load(file: ModelFile, model_hash: bytes) -> Sampler:
    """A sampler for the model with that hash.

    Raises:
        ModelError: the file is no sampler, of a later format, not whole, or belongs to another model.
        DependencyError: safetensors is not installed.
    """
    sampler, owner = assembled(file, "sampler", FORMAT, _assemble)
    if owner != model_hash.hex():
        raise ModelError(f"the sampler {file.name} belongs to the model {owner}, not to {model_hash.hex()}")
    return sampler


def _assemble(about: Mapping[str, Any], tensors: dict[str, np.ndarray], hash_: bytes) -> tuple[Sampler, object]:
    if not isinstance(about["shape"], dict):
        raise ModelError("it does not say what it makes")
    sampler = Sampler(Shape(**about["shape"]))
    sampler.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
    return sampler.requires_grad_(False).eval(), about["encoder"]
