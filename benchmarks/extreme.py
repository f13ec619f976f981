"""What models of the extreme codec keep of street scenes, against the hyperprior codec and AVIF at the same bits.

    AQUATINT_WEIGHTS=WEIGHTS PYTHONPATH=src python benchmarks/extreme.py \\
        --frames camvid/val --labels camvid/val_labels --out OUT gc gc-labels gc-mse sc-instances sc-boxes

Models are names or paths. Those of generative compression are measured at each number of channels; those of selective
compression with everything preserved, with what moves or is thin, and with nothing. AVIF and the hyperprior codec
have their smallest files, and as many bytes a frame as every row of a model's whole pictures if that is more.
OUT/table.md has bits a pixel of whole files, accuracy and mean intersection over union of ESPNet's classes, LPIPS,
the Frechet distance of patches (with MobileNetV2) and PSNR. OUT/classes.md says, for models of selective compression,
what synthesising one class saves; pictures of the first frame are beside it, with the synthesised area in a corner.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from tables import Table

import aquatint
from aquatint import Target, image
from aquatint.codecs import models
from aquatint.codecs.extreme.model import Model, load
from aquatint.errors import UsageError
from aquatint.evaluation.metrics.registry import measure, measure_sets
from aquatint.evaluation.metrics.segmentation import accuracy, confusion, mean_intersection_over_union
from aquatint.perception.espnet import CLASSES, segment

THIN = "classes=pole,sign,car,pedestrian,bicyclist"
SELECTIONS = {"all": "all", "what moves or is thin": THIN, "nothing": "none"}
COLUMNS = ("bpp", "accuracy", "mIoU", "LPIPS", "Frechet", "PSNR")
_AVIF_QUALITIES = range(64)  # far more bits than any model here


@dataclass(frozen=True)
class Frame:
    """A street scene, uint8 (H, W, 3), and its true labels (H, W)."""

    pixels: np.ndarray
    labels: np.ndarray


Coder = Callable[[Frame], tuple[int, np.ndarray]]  # to the bytes of a file, and what it decodes to


def extreme(model: str, quality: float, preserve: str | None) -> Coder:
    """A model at a quality; with a selection for models of selective compression."""

    def code(frame: Frame) -> tuple[int, np.ndarray]:
        chosen = {} if preserve is None else {"labels": frame.labels, "preserve": [preserve]}
        data = aquatint.encode(frame.pixels, codec="extreme", model=model, quality=quality, **chosen)  # type: ignore[arg-type]
        return len(data), aquatint.decode(data).to_array()

    return code


def hyperprior(size: int) -> Coder:
    """The default model, with at most so many bytes, or its smallest file."""

    def code(frame: Frame) -> tuple[int, np.ndarray]:
        picture = image.from_array(frame.pixels)
        try:
            data = aquatint.compress(picture, Target(size=size), codec="hyperprior").data
        except UsageError:
            data = aquatint.compress(picture, Target(quality=1), codec="hyperprior").data
        return len(data), aquatint.decode(data).to_array()

    return code


def avif(size: int) -> Coder:
    """Pillow's AVIF with at most so many bytes, or its smallest file."""

    def code(frame: Frame) -> tuple[int, np.ndarray]:
        def make(quality: int) -> bytes:
            file = io.BytesIO()
            PILImage.fromarray(frame.pixels).save(file, "AVIF", quality=quality, speed=4)
            return file.getvalue()

        low, high = 0, len(_AVIF_QUALITIES)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if len(make(middle)) <= size else (low, middle)
        data = make(low)
        return len(data), np.array(PILImage.open(io.BytesIO(data)).convert("RGB"))

    return code


PEERS = {"hyperprior": hyperprior, "avif": avif}  # coders for a number of bytes


def row(frames: Sequence[Frame], coder: Coder) -> tuple[float, list[float]]:
    """Mean bytes of a file, and the table's numbers."""
    coded = [coder(frame) for frame in frames]
    pictures = [decoded for _, decoded in coded]
    pairs = [(frame.labels, segment(picture)) for frame, picture in zip(frames, pictures, strict=True)]
    table = confusion(pairs, len(CLASSES) - 1)
    each = [
        measure(frame.pixels, picture, ["lpips-squeeze", "psnr"])
        for frame, picture in zip(frames, pictures, strict=True)
    ]
    (frechet,) = measure_sets([frame.pixels for frame in frames], pictures, ["fid-mobilenet"]).values()
    size = float(np.mean([size for size, _ in coded]))
    bpp = 8 * sum(size for size, _ in coded) / sum(frame.labels.size for frame in frames)
    lpips, psnr = (float(np.mean([found[name] for found in each])) for name in ("lpips-squeeze", "psnr"))
    return size, [bpp, accuracy(table), mean_intersection_over_union(table), lpips, frechet.mean, psnr]


def rows(
    name: str, model: Model, frames: Sequence[Frame], least: Mapping[str, float]
) -> Iterable[tuple[str, list[float]]]:
    """The rows of a model, and of those peers at the same bytes whose smallest files are not larger."""
    title, rates = Path(name).stem, model.architecture.channels
    for k, channels in enumerate(rates):
        quality = 1 + 99 * (k + 0.5) / len(rates)
        if model.architecture.selective:
            for words, preserve in SELECTIONS.items():
                yield f"{title}, C = {channels}, preserved: {words}", row(frames, extreme(name, quality, preserve))[1]
        else:
            size, numbers = row(frames, extreme(name, quality, None))
            yield f"{title}, C = {channels}", numbers
            for peer, coder in PEERS.items():
                if size > least[peer]:
                    yield f"{peer}, at most as many bytes", row(frames, coder(round(size)))[1]


def classes(name: str, model: Model, frames: Sequence[Frame], out: Path) -> Iterable[tuple[str, float, float]]:
    """Bits a pixel with one class synthesised, and what it saves; a picture of the first frame for each."""
    everything = [extreme(name, 100, "all")(frame)[0] for frame in frames]
    pixels = sum(frame.labels.size for frame in frames)
    names = model.architecture.classes
    for number, label in enumerate(names):
        kept = "classes=" + ",".join(other for other in names if other != label)
        coded = [extreme(name, 100, kept)(frame) for frame in frames]
        total = sum(size for size, _ in coded)
        picture = coded[0][1].copy()
        height, width = picture.shape[0] // 4, picture.shape[1] // 4
        shade = (frames[0].labels[::4, ::4][:height, :width] != number) * np.uint8(255)
        picture[-height:, -width:] = shade[..., None]
        PILImage.fromarray(picture).save(out / f"{Path(name).stem}-{label}.png")
        yield label, 8 * total / pixels, 1 - total / sum(everything)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures models of the extreme codec on street scenes.")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="measure only every so-manieth frame")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    paths = sorted(path for path in arguments.frames.iterdir() if path.is_file())[:: arguments.every]
    frames = [
        Frame(image.read(path).to_array(), image.read_classes(arguments.labels / f"{path.stem}.png")) for path in paths
    ]
    table = Table(arguments.out / "table.md", f"{len(frames)} frames", *COLUMNS)
    table.add("originals", *row(frames, lambda frame: (frame.pixels.size, frame.pixels))[1])
    least = {}
    for peer, coder in PEERS.items():
        least[peer], numbers = row(frames, coder(1))
        table.add(f"{peer}, smallest files", *numbers)
    savings = Table(arguments.out / "classes.md", "model", "synthesised", "bpp", "saved")
    for name in arguments.models:
        model = load(models.find(name))
        for words, numbers in rows(name, model, frames, least):
            table.add(words, *numbers)
        if model.architecture.selective:
            for label, bpp, saved in classes(name, model, frames, arguments.out):
                savings.add(Path(name).stem, label, bpp, f"{saved:.1%}")


if __name__ == "__main__":
    main()
