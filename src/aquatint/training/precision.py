"""The precision of a training's arithmetic."""

from __future__ import annotations

import torch

from aquatint.perception.precision import has_bfloat16
from aquatint.training.recipes import Recipe


def arithmetic(recipe: Recipe, device: torch.device) -> torch.autocast:
    """The context of a step: bfloat16 if the recipe asks for it and the device has it, or float32."""
    short = recipe.precision == "bfloat16" and has_bfloat16(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=short)
