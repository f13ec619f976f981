"""ESPNet: which class each pixel of a street scene is of (Mehta et al. 2018, arXiv 1803.06815).

The network with decoder, p = 2 and q = 8, by the names of its authors' weights for CamVid.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from aquatint.errors import UsageError
from aquatint.perception import weights

AUTO = "auto"
# What the weights know, in the order of their outputs.
CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"),
    "void",
)
_MEAN, _DEVIATION = (106.97, 104.65, 102.13), (72.06, 72.63, 69.81)  # blue, green, red, of samples from 0 to 255
_BLOCKS = (2, 8)  # p and q, at strides 4 and 8
_STRIDE = 8
_EPSILON = 1e-3  # of all batch normalisations


def segmented(labels: str, pixels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Numbers of the likeliest classes of pixels, of shape (H, W).

    Arguments:
        labels: "auto".
        pixels: float32 of shape (H, W, 3) in [0, 1].
        classes: names of the wanted numbers; each class of the network must be among them.

    Raises:
        UsageError: labels are not "auto", or the network has other classes.
        DependencyError: the weights are not at hand.
    """
    if labels != AUTO:
        raise UsageError(f"labels are a map of classes or {AUTO!r}, not {labels!r}")
    if missing := [name for name in CLASSES if name not in classes]:
        raise UsageError(f"the segmentation network has classes that the model has not: {', '.join(missing)}")
    numbers = np.array([list(classes).index(name) for name in CLASSES])
    samples = np.rint(np.clip(np.nan_to_num(pixels), 0, 1) * 255).astype(np.uint8)
    return numbers[segment(samples)]


@torch.inference_mode()
def segment(pixels: np.ndarray) -> np.ndarray:
    """Numbers of the likeliest classes of uint8 pixels (H, W, 3), in the order of `CLASSES`, of shape (H, W).

    Raises:
        DependencyError: the weights are not at hand.
    """
    height, width = pixels.shape[:2]
    bgr = pixels[..., ::-1].astype(np.float32)
    x = (bgr - np.array(_MEAN, np.float32)) / np.array(_DEVIATION, np.float32) / 255
    x = np.pad(x, ((0, -height % _STRIDE), (0, -width % _STRIDE), (0, 0)), mode="edge")
    scores = _network()(torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1)))[None])
    return scores[0].argmax(0).numpy()[:height, :width]


@lru_cache(maxsize=1)
def _network() -> ESPNet:
    network = ESPNet(len(CLASSES))
    network.load_state_dict(weights.load("espnet-camvid"))
    return network.eval()


class ESPNet(nn.Module):
    """Scores (B, K, H, W) of pixels (B, 3, H, W), normalised blue, green and red; 8 divides the sides.

    Arguments:
        classes: K.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.encoder = _Encoder(classes)
        self.level3_C = _Convolution(131, classes, 1)
        self.br = nn.BatchNorm2d(classes, eps=_EPSILON)
        self.conv = _Activated(19 + classes, classes, 3)
        self.up_l3 = nn.Sequential(_doubling(classes))
        self.combine_l2_l3 = nn.Sequential(_Norm(2 * classes), _Pyramid(2 * classes, classes, residual=False))
        self.up_l2 = nn.Sequential(_doubling(classes), _Norm(classes))
        self.classifier = _doubling(classes)

    def forward(self, x: Tensor) -> Tensor:
        fine, middle, coarse = self.encoder(x)
        coarse = self.up_l3(self.br(coarse))
        merged = self.combine_l2_l3(torch.cat([self.level3_C(middle), coarse], 1))
        return self.classifier(self.conv(torch.cat([self.up_l2(merged), fine], 1)))


class _Encoder(nn.Module):
    """Features at strides 2 and 4, each joined by the picture at that size, and scores at stride 8."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        p, q = _BLOCKS
        self.level1 = _Activated(3, 16, 3, stride=2)
        self.b1 = _Norm(19)
        self.level2_0 = _Down(19, 64)
        self.level2 = nn.ModuleList(_Pyramid(64, 64) for _ in range(p))
        self.b2 = _Norm(131)
        self.level3_0 = _Down(131, 128)
        self.level3 = nn.ModuleList(_Pyramid(128, 128) for _ in range(q))
        self.b3 = _Norm(256)
        self.classifier = _Convolution(256, classes, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        half = nn.functional.avg_pool2d(x, 3, stride=2, padding=1)
        quarter = nn.functional.avg_pool2d(half, 3, stride=2, padding=1)
        fine = self.b1(torch.cat([self.level1(x), half], 1))
        first = middle = self.level2_0(fine)
        for block in self.level2:
            middle = block(middle)
        middle = self.b2(torch.cat([middle, first, quarter], 1))
        first = coarse = self.level3_0(middle)
        for block in self.level3:
            coarse = block(coarse)
        return fine, middle, self.classifier(self.b3(torch.cat([first, coarse], 1)))


class _Convolution(nn.Module):
    def __init__(self, inputs: int, outputs: int, side: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        padding = side // 2 * dilation
        self.conv = nn.Conv2d(inputs, outputs, side, stride, padding, dilation, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class _Norm(nn.Module):
    """Batch normalisation and a leaky ReLU whose slopes are learned."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels, eps=_EPSILON)
        self.act = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(x))


class _Activated(_Norm):
    def __init__(self, inputs: int, outputs: int, side: int, *, stride: int = 1) -> None:
        super().__init__(outputs)
        self.conv = nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.conv(x))


class _Spatial(nn.Module):
    """Five convolutions of growing dilation of the same few channels, added one to the next and put side by side."""

    def __init__(self, inputs: int, outputs: int, *, side: int, stride: int) -> None:
        super().__init__()
        few = outputs // 5
        self.c1 = _Convolution(inputs, few, side, stride=stride)
        self.d1 = _Convolution(few, outputs - 4 * few, 3)
        self.d2, self.d4, self.d8, self.d16 = (_Convolution(few, few, 3, dilation=2 << k) for k in range(4))

    def spatial(self, x: Tensor) -> Tensor:
        few = self.c1(x)
        sums = [self.d2(few)]
        for layer in (self.d4, self.d8, self.d16):
            sums.append(sums[-1] + layer(few))
        return torch.cat([self.d1(few), *sums], 1)


class _Down(_Spatial):
    """At half the size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, side=3, stride=2)
        self.bn = nn.BatchNorm2d(outputs, eps=_EPSILON)
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.spatial(x)))


class _Pyramid(_Spatial):
    """At the same size, added to the input or not."""

    def __init__(self, inputs: int, outputs: int, *, residual: bool = True) -> None:
        super().__init__(inputs, outputs, side=1, stride=1)
        self.bn = _Norm(outputs)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        found = self.spatial(x)
        return self.bn(x + found if self.residual else found)


def _doubling(channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, channels, 2, stride=2, bias=False)
