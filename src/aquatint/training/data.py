"""Crops of photographs, each a pure function of the recipe's seed and its number.

That is what makes training resume exactly, and gives the same batches to one process or to several.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PILImage
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from aquatint import image
from aquatint.errors import AquatintError, ImageError

EXTENSIONS = {".avif", ".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_CACHE_BYTES = 2**29  # of decoded photographs that a process keeps
_MISSES = 64  # photographs in a row that may be too small or damaged


@dataclass(frozen=True)
class Photograph:
    """Where a photograph is: a file, or `size` bytes of a tar file from `offset`; and a map of its labels, if any."""

    path: Path
    offset: int = 0
    size: int = -1
    labels: Path | None = None

    def __str__(self) -> str:
        return str(self.path) if self.size < 0 else f"{self.path} at byte {self.offset}"

    def open(self) -> str | io.BytesIO:
        """What `aquatint.image.read` reads."""
        if self.size < 0:
            return str(self.path)
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return io.BytesIO(file.read(self.size))


def find_photographs(sources: Sequence[Path], labels: Path | None = None) -> list[Photograph]:
    """All photographs of the sources, in an order that does not depend on the file system.

    Arguments:
        sources: folders, which are searched with their subfolders; tar files; text files with a path a line, relative
            to their folder; or picture files.
        labels: folder of maps of labels, PNG files with the photographs' stems; None for photographs without.

    Raises:
        ImageError: a source does not exist, there is no photograph in it, or a photograph has no labels.
    """
    found: list[Photograph] = []
    for source in sources:
        here = list(_photographs_of(source))
        if not here:
            raise ImageError(f"{source} has no pictures; looked for {', '.join(sorted(EXTENSIONS))}")
        found += here
    if not found:
        raise ImageError("no data is given: name folders, tar files or lists of photographs")
    if labels is not None:
        found = [replace(photograph, labels=labels / f"{photograph.path.stem}.png") for photograph in found]
        for photograph in found:
            if photograph.labels is None or not photograph.labels.is_file():
                raise ImageError(f"{photograph} has no labels: there is no {photograph.labels}")
    return found


def _photographs_of(source: Path) -> Iterator[Photograph]:
    if source.is_dir():
        paths = (path for path in source.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
        yield from map(Photograph, sorted(paths))
    elif not source.is_file():
        raise ImageError(f"{source} does not exist")
    elif source.suffix == ".tar":
        with tarfile.open(source, "r:") as archive:
            for member in archive:
                if member.isfile() and Path(member.name).suffix.lower() in EXTENSIONS:
                    yield Photograph(source, member.offset_data, member.size)
    elif source.suffix == ".txt":
        lines = source.read_text().splitlines()
        yield from (Photograph(source.parent / line.strip()) for line in lines if line.strip())
    else:
        yield Photograph(source)


@dataclass(frozen=True)
class Batch:
    """Crops and their chances.

    Attributes:
        pixels: of shape (B, 3, S, S) in [0, 1].
        places: numbers in [0, 1), evenly spread over all crops of a step: where in a range of rates each crop is.
        seeds: of the noise of each crop, of shape (B,).
        step: which step of the training sees them, counted from 0.
        labels: numbers of classes of the pixels, uint8 of shape (B, S, S), if the photographs have labels.
    """

    pixels: Tensor
    places: Tensor
    seeds: Tensor
    step: int
    labels: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; seeds stay, because noise is drawn where it is cheap to seed."""
        labels = None if self.labels is None else self.labels.to(device)
        return Batch(self.pixels.to(device, non_blocking=True), self.places.to(device), self.seeds, self.step, labels)

    def noise(self, like: Tensor) -> Tensor:
        """Uniform noise from -1/2 to 1/2 of shape (B, ...); successive calls with the same batch differ.

        Every crop has its own stream of chance, so that it gets the same noise in whatever batch it is.
        """
        parts = [torch.rand(like.shape[1:], generator=generator) for generator in self._generators]
        return (torch.stack(parts) - 0.5).to(like.device, like.dtype)

    @property
    def _generators(self) -> list[torch.Generator]:
        if "generators" not in self.__dict__:
            made = [torch.Generator().manual_seed(int(seed)) for seed in self.seeds]
            self.__dict__["generators"] = made
        return self.__dict__["generators"]


# Of one crop: pixels (3, S, S), its place, the seed of its noise, its step, and its labels (S, S).
Item = tuple[Tensor, float, int, int, Tensor | None]


class Crops(Dataset[Item]):
    """Random crops of photographs, by number.

    Arguments:
        photographs: to choose from.
        side: of a crop, in pixels.
        batch: crops a step; they divide the range of places among them.
        seed: of all choices.
        smallest_scale: photographs are scaled down at random, to this at most, which hides artefacts of JPEG.
        flip: mirror half of the crops.
    """

    def __init__(
        self,
        photographs: Sequence[Photograph],
        side: int,
        batch: int,
        seed: int,
        *,
        smallest_scale: float = 1.0,
        flip: bool = True,
    ) -> None:
        self.photographs = photographs
        self.side, self.batch, self.seed = side, batch, seed
        self.smallest_scale, self.flip = smallest_scale, flip

    def __getitem__(self, index: int) -> Item:
        """The crop of that number.

        Raises:
            ImageError: many photographs in a row are too small or cannot be read.
        """
        chance = np.random.default_rng([self.seed, index])
        place = (index % self.batch + chance.random()) / self.batch
        noise_seed = int(chance.integers(2**62))
        reason = ""
        for _ in range(_MISSES):
            photograph = self.photographs[int(chance.integers(len(self.photographs)))]
            try:
                pixels, labels = _decoded(photograph)
            except (AquatintError, OSError) as error:
                reason = f"{photograph}: {error}"
                continue
            height, width = pixels.shape[:2]
            if min(height, width) < self.side:
                reason = f"{photograph} has {width}x{height} pixels, fewer than a crop of {self.side}x{self.side}"
                continue
            crop, labels = self._crop(pixels, labels, chance)
            return crop, place, noise_seed, index // self.batch, labels
        raise ImageError(f"{_MISSES} pictures in a row could not be used; the last one: {reason}")

    def _crop(
        self, pixels: np.ndarray, labels: np.ndarray | None, chance: np.random.Generator
    ) -> tuple[Tensor, Tensor | None]:
        height, width = pixels.shape[:2]
        smallest = max(self.smallest_scale, self.side / min(height, width))
        side = min(round(self.side / chance.uniform(smallest, 1)), height, width)
        top, left = chance.integers(height - side + 1), chance.integers(width - side + 1)
        mirrored = self.flip and chance.random() < 0.5

        def cut(plane: np.ndarray, resampling: PILImage.Resampling) -> np.ndarray:
            crop = plane[top : top + side, left : left + side]
            if side != self.side:
                crop = np.asarray(PILImage.fromarray(crop).resize((self.side, self.side), resampling))
            return crop[:, ::-1] if mirrored else crop

        crop = np.moveaxis(cut(pixels, PILImage.Resampling.BICUBIC), 2, 0)
        found = torch.from_numpy(np.ascontiguousarray(crop, dtype=np.float32) / 255)
        if labels is None:
            return found, None
        return found, torch.from_numpy(cut(labels, PILImage.Resampling.NEAREST).copy())


_Decoded = tuple[np.ndarray, np.ndarray | None]


@lru_cache(maxsize=1)
def _cache() -> dict[Photograph, _Decoded]:
    return {}


def _decoded(photograph: Photograph) -> _Decoded:
    """Pixels of a photograph, uint8 of shape (H, W, 3), and its labels (H, W); the first ones are kept, while they fit.

    Raises:
        ImageError: the labels have another size.
    """
    cache = _cache()
    if photograph in cache:
        return cache[photograph]
    pixels = np.rint(image.read(photograph.open()).pixels * 255).astype(np.uint8)
    labels = None if photograph.labels is None else image.read_classes(photograph.labels)
    if labels is not None and labels.shape != pixels.shape[:2]:
        raise ImageError(f"{photograph.labels} has the shape {labels.shape}; the photograph has {pixels.shape[:2]}")
    if sum(kept.nbytes for kept, _ in cache.values()) + pixels.nbytes <= _CACHE_BYTES:
        cache[photograph] = pixels, labels
    return pixels, labels


def batches(
    crops: Crops, first: int, last: int, *, rank: int = 0, processes: int = 1, workers: int = 0
) -> Iterator[Batch]:
    """The batches of steps `first` to `last - 1`; with several processes, each its share of them.

    Arguments:
        crops: whose `batch` is a multiple of `processes`.
        rank, processes: this process and their number.
        workers: processes that decode; 0 to decode here.
    """
    share = crops.batch // processes
    numbers = [
        range(step * crops.batch + rank * share, step * crops.batch + (rank + 1) * share) for step in range(first, last)
    ]
    loader = DataLoader(
        crops,
        batch_sampler=numbers,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=_collate,
        persistent_workers=workers > 0,
    )
    yield from loader


def _collate(items: Sequence[Item]) -> Batch:
    pixels, places, seeds, steps, maps = zip(*items, strict=True)
    labels = None if maps[0] is None else torch.stack(maps)
    return Batch(torch.stack(pixels), torch.tensor(places, dtype=torch.float32), torch.tensor(seeds), steps[0], labels)
