"""LPIPS: a weighted distance between normalised activations of a network trained to classify.

Source: Zhang, Isola, Efros, Shechtman, Wang, "The unreasonable effectiveness of deep features as a perceptual metric",
2018, equation 1, with the linear heads of version 0.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from aquatint.errors import UsageError
from aquatint.perception import weights
from aquatint.perception.features import FeatureMap, Features, NetworkFeatures
from aquatint.perception.features_networks import SqueezeNet, Vgg

# Added to the squared norm of activations, under the root: outside of it gradients are infinite where all are zero.
_EPSILON = 1e-8


class LPIPS:
    """The distance, differentiable.

    Arguments:
        backbone: from images (N, 3, H, W), sRGB in [0, 1], to the activations that the heads belong to. It normalises
            its input by mean and deviation of ImageNet, which is the scaling layer of LPIPS.
        heads: one a map, non-negative weights of its channels (C,).
    """

    def __init__(self, backbone: Features, heads: Sequence[Tensor]) -> None:
        self._backbone = backbone
        self._heads = [head.reshape(1, -1, 1, 1) for head in heads]

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances (N,) of images (N, 3, H, W), sRGB in [0, 1]; 0 for equal ones."""
        return torch.stack([layer.mean((1, 2, 3)) for layer, _ in self.maps(x, y)]).sum(0)

    def maps(self, x: Tensor, y: Tensor) -> list[FeatureMap]:
        """Where the images differ, (N, 1, h, w) a layer; the distance is the sum of the means of these maps."""
        return [
            FeatureMap((head * (_normalise(a) - _normalise(b)) ** 2).sum(1, keepdim=True), stride)
            for head, (a, stride), (b, _) in zip(self._heads, self._backbone(x), self._backbone(y), strict=True)
        ]


class AlexNet(nn.Module):
    """The five activations of AlexNet (arXiv 1404.5997) that LPIPS is made of.

    Arguments:
        tensors: by the names of torchvision.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
        )
        self.load_state_dict({name: tensor for name, tensor in tensors.items() if name.startswith("features.")})

    def forward(self, x: Tensor) -> list[tuple[Tensor, int]]:
        maps, stride = [], 4
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                stride *= 2
            elif isinstance(layer, nn.ReLU):
                maps.append((x, stride))
        return maps


def create_lpips(net: str, *, device: str = "cpu", folder: str | Path | None = None) -> LPIPS:
    """LPIPS 0.1 with a backbone.

    Arguments:
        net: "alex", "squeeze" or "vgg".
        device: where to compute.
        folder: where files of weights lie; see `aquatint.perception.weights.find`.

    Raises:
        UsageError: there is no such backbone.
        DependencyError: weights are not there.
    """
    match net:
        case "alex":
            network = AlexNet(weights.load("alexnet", folder))
        case "squeeze":
            network = SqueezeNet(folder=folder)
        case "vgg":
            network = Vgg("vgg16", pooling="max", folder=folder)
        case _:
            raise UsageError(f"the backbone of LPIPS must be alex, squeeze or vgg, not {net!r}")
    heads = weights.load(f"lpips-{net}", folder)
    layers = [heads[f"lin{k}.model.1.weight"].to(device) for k in range(len(heads))]
    return LPIPS(NetworkFeatures(network), layers)


def _normalise(activations: Tensor) -> Tensor:
    return activations / torch.sqrt(_EPSILON + torch.sum(activations**2, dim=1, keepdim=True))
