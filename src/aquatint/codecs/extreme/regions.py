"""What selective compression preserves: classes, boxes and masks of pixels, brought to the grid of the symbols."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aquatint.codecs.extreme.architecture import STRIDE, Extreme
from aquatint.errors import UsageError

Preserve = str | np.ndarray


def grid(architecture: Extreme, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the symbols of a picture."""
    places = STRIDE // architecture.stride
    return -(-height // STRIDE) * places, -(-width // STRIDE) * places


def label_grid(architecture: Extreme, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the coded labels of a picture."""
    return -(-height // architecture.label_stride), -(-width // architecture.label_stride)


def reduced(architecture: Extreme, labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Labels as they are coded: those in the middle of blocks of `label_stride` pixels.

    Arguments:
        architecture: whose classes these are.
        labels: numbers of classes, of shape (H, W).
        height, width: of the picture.

    Raises:
        UsageError: the labels are of another size, or one is not a class.
    """
    if labels.shape != (height, width) or labels.dtype.kind not in "ui":
        raise UsageError(
            f"labels must be integers, one for each of the {width}x{height} pixels, "
            f"not {labels.dtype} of shape {labels.shape}"
        )
    classes = len(architecture.classes)
    if labels.min() < 0 or labels.max() >= classes:
        wrong = int(labels.max() if labels.max() >= classes else labels.min())
        raise UsageError(f"there is no class {wrong}: the model has {_listed(architecture.classes)}")
    stride = architecture.label_stride
    padded = np.pad(labels, ((0, -height % stride), (0, -width % stride)), mode="edge")
    return padded[stride // 2 :: stride, stride // 2 :: stride].astype(np.int64)


def preserved(architecture: Extreme, labels: np.ndarray, preserve: Sequence[Preserve]) -> np.ndarray:
    """The pixels that any of some descriptions name, bool of shape (H, W).

    Arguments:
        architecture: whose classes these are.
        labels: of shape (H, W).
        preserve: "all"; "none"; "classes=NAME,..."; "box=X,Y,WIDTH,HEIGHT" in pixels from the top left corner; or masks
            of shape (H, W), of what is not 0.

    Raises:
        UsageError: a class is unknown, a box lies outside of the picture, or a mask is of another size.
    """
    found = np.zeros(labels.shape, bool)
    for each in preserve:
        found |= _one(architecture, labels, each)
    return found


def on_grid(architecture: Extreme, mask: np.ndarray) -> np.ndarray:
    """The symbols that see a pixel of a mask (H, W), bool of shape (h, w)."""
    stride = architecture.stride
    rows, columns = grid(architecture, *mask.shape)
    padded = np.zeros((rows * stride, columns * stride), bool)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    return padded.reshape(rows, stride, columns, stride).max((1, 3))


def _one(architecture: Extreme, labels: np.ndarray, preserve: Preserve) -> np.ndarray:
    if isinstance(preserve, np.ndarray):
        if preserve.shape != labels.shape:
            raise UsageError(f"a mask has the shape {preserve.shape}; the picture has {labels.shape}")
        return preserve.astype(bool)
    if preserve in ("all", "none"):
        return np.full(labels.shape, preserve == "all")
    kind, _, value = preserve.partition("=")
    if kind == "classes":
        return np.isin(labels, [_class(architecture, name.strip()) for name in value.split(",")])
    if kind == "box":
        return _box(labels.shape, value)
    raise UsageError(
        f"what is preserved is all, none, classes=NAME,..., box=X,Y,WIDTH,HEIGHT or a mask, not {preserve!r}"
    )


def _class(architecture: Extreme, name: str) -> int:
    if name not in architecture.classes:
        raise UsageError(f"there is no class {name!r}: the model has {_listed(architecture.classes)}")
    return architecture.classes.index(name)


def _box(shape: tuple[int, ...], value: str) -> np.ndarray:
    try:
        left, top, width, height = (int(part) for part in value.split(","))
    except ValueError:
        raise UsageError(f"a box is four whole numbers, X,Y,WIDTH,HEIGHT, not {value!r}") from None
    if not (0 <= left < shape[1] and 0 <= top < shape[0] and width > 0 and height > 0):
        raise UsageError(f"the box {value} has no pixel of the picture, which has {shape[1]}x{shape[0]}")
    found = np.zeros(shape, bool)
    found[top : top + height, left : left + width] = True
    return found


def _listed(classes: Sequence[str]) -> str:
    return ", ".join(f"{number} {name}" for number, name in enumerate(classes))
