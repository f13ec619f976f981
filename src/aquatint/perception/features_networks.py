"""The convolutional networks whose activations serve as features: VGG and SqueezeNet 1.1.

Their input is normalised by the ImageNet mean and deviation; their result is a list of (activations, stride).
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aquatint.errors import UsageError
from aquatint.perception import weights

# Channels and convolutions of the blocks (Simonyan and Zisserman, arXiv 1409.1556, table 1, columns D and E).
_CHANNELS = (64, 128, 256, 512, 512)
_CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}


class Vgg(nn.Module):
    """Activations of VGG16 or VGG19 after ReLU.

    Args:
        name: "vgg16" or "vgg19".
        layers: names such as "relu3_1", in the order of the network; the last one of every block by default, as far
            as the file of weights goes.
        pooling: "average", or "max" as in the network's training.
        folder: see `aquatint.perception.weights.find`.

    Raises:
        UsageError: a layer is not one of this network, or lies beyond the end of the file of weights.
        DependencyError: the weights are not there.
    """

    def __init__(
        self,
        name: str = "vgg16",
        layers: tuple[str, ...] | None = None,
        *,
        pooling: str = "average",
        folder: str | Path | None = None,
    ) -> None:
        super().__init__()
        if name not in _CONVOLUTIONS or pooling not in ("average", "max"):
            raise UsageError(
                f"the network must be vgg16 or vgg19 and pooling average or max, not {name!r}, {pooling!r}"
            )
        tensors = weights.load(name, folder)
        names = [f"{b}_{i}" for b, count in enumerate(_CONVOLUTIONS[name], 1) for i in range(1, count + 1)]
        available = [n for n in names if f"conv{n}.weight" in tensors]
        if layers is None:
            layers = tuple(f"relu{b}_{count}" for b, count in enumerate(_CONVOLUTIONS[name], 1))
            layers = tuple(layer for layer in layers if layer[4:] in available)
        if missing := [layer for layer in layers if layer[:4] != "relu" or layer[4:] not in available]:
            raise UsageError(f"{name} has the layers relu{available[0]} to relu{available[-1]} here, not {missing[0]}")
        last = max(names.index(layer[4:]) for layer in layers)
        self.layers, self.average, self.order = set(layers), pooling == "average", names[: last + 1]
        self.convolutions = nn.ModuleDict()
        for n in self.order:
            weight, bias = tensors[f"conv{n}.weight"], tensors[f"conv{n}.bias"]
            layer = self.convolutions[n] = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
            layer.load_state_dict({"weight": weight, "bias": bias})

    def forward(self, x: Tensor) -> list[tuple[Tensor, int]]:
        maps, stride = [], 1
        for n in self.order:
            if n.endswith("_1") and n != "1_1":
                x = (F.avg_pool2d if self.average else F.max_pool2d)(x, 2, ceil_mode=min(x.shape[2:]) == 1)
                stride *= 2
            x = F.relu(self.convolutions[n](x))
            if f"relu{n}" in self.layers:
                maps.append((x, stride))
        return maps


class _Fire(nn.Module):
    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], 1))


class SqueezeNet(nn.Module):
    """The seven activations of SqueezeNet 1.1 (arXiv 1602.07360) that LPIPS is made of.

    Args:
        folder: see `aquatint.perception.weights.find`.

    Raises:
        DependencyError: the weights are not there.
    """

    # Where the slices of LPIPS end among the network's layers, and the stride there.
    TAPS = {1: 2, 4: 4, 7: 8, 9: 16, 10: 16, 11: 16, 12: 16}  # noqa: RUF012

    def __init__(self, *, folder: str | Path | None = None) -> None:
        super().__init__()

        def pool() -> nn.Module:
            return nn.MaxPool2d(3, 2, ceil_mode=True)

        self.features = nn.Sequential(
            *(nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), pool(), _Fire(64, 16, 64), _Fire(128, 16, 64), pool()),
            *(_Fire(128, 32, 128), _Fire(256, 32, 128), pool(), _Fire(256, 48, 192), _Fire(384, 48, 192)),
            *(_Fire(384, 64, 256), _Fire(512, 64, 256)),
        )
        tensors = weights.load("squeezenet", folder)
        self.load_state_dict({name: t.float() for name, t in tensors.items() if name.startswith("features.")})

    def forward(self, x: Tensor) -> list[tuple[Tensor, int]]:
        if min(x.shape[2:]) < 17:
            raise UsageError(f"SqueezeNet needs images of at least 17x17 pixels, not {x.shape[2]}x{x.shape[3]}")
        maps = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.TAPS:
                maps.append((x, self.TAPS[i]))
        return maps
