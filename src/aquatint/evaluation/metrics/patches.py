"""The patches of pictures whose statistics FID and KID compare, by the protocol of HiFiC and MS-ILLM.

Sources: Mentzer et al., "High-fidelity generative image compression", 2020, section A.7; Muckley et al., "Improving
statistical fidelity for neural image compression with implicit local likelihood models", 2023, section 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import numpy as np

from aquatint.errors import ImageError

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 256
_SHIFT = SIDE // 2  # of the second pass
_BATCH = 16


class Network(Protocol):
    """What turns patches into vectors."""

    def features(self, patches: Tensor) -> Tensor:
        """Vectors (N, D) of patches uint8 (N, 3, 256, 256)."""
        ...


def patches(picture: np.ndarray) -> Iterator[np.ndarray]:
    """The patches uint8 (256, 256, 3) of a picture: two grids without overlap, the second shifted by 128 pixels.

    What is left at the right and below is dropped. Pictures with a side shorter than 384 have the first grid only, with
    a side shorter than 256 none.

    Arguments:
        picture: uint8 (H, W, 3).
    """
    height, width = picture.shape[:2]
    for start in (0, _SHIFT):
        for top in range(start, height - SIDE + 1, SIDE):
            for left in range(start, width - SIDE + 1, SIDE):
                yield picture[top : top + SIDE, left : left + SIDE]


def features(pictures: Iterable[np.ndarray], networks: Sequence[Network]) -> tuple[list[np.ndarray], np.ndarray]:
    """Vectors of all patches of pictures, float32 (N, D) a network, and for each the number of its picture (N,).

    Arguments:
        pictures: each uint8 (H, W, 3); one is held at a time.
        networks: make the vectors.

    Raises:
        ImageError: there is no patch, because every picture has a side shorter than 256 pixels.
    """
    import torch

    found: list[list[np.ndarray]] = [[] for _ in networks]
    numbers: list[int] = []

    def all_patches() -> Iterator[np.ndarray]:
        for number, picture in enumerate(pictures):
            for patch in patches(picture):
                numbers.append(number)
                yield patch

    for batch in _batches(all_patches()):
        tensor = torch.from_numpy(batch).permute(0, 3, 1, 2)
        for vectors, network in zip(found, networks, strict=True):
            vectors.append(network.features(tensor).cpu().numpy())
    if not numbers:
        raise ImageError(f"no picture has a patch of {SIDE}x{SIDE} pixels")
    return [np.concatenate(vectors) for vectors in found], np.array(numbers)


def _batches(singles: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    singles = iter(singles)
    while batch := list(islice(singles, _BATCH)):
        yield np.stack(batch)
