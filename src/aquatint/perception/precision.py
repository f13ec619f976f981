"""Short floating-point numbers, where they are fast."""

from __future__ import annotations

import torch


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 itself: where it is emulated it takes twice the time of float32."""
    if device.type != "cpu":
        return device.type == "cuda"
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # not in old versions
    return bool(capabilities.get("avx512_bf16", False))
