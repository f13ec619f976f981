"""Encoding and decoding whole files: what a codec, a container and a picture are together."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np
from PIL import Image as PILImage

from aquatint import codecs, container, image
from aquatint.codecs import Progress, Report
from aquatint.codecs.options import DEFAULTS, Options
from aquatint.codecs.target import Target
from aquatint.container import MAX_PIXELS, Chunk, Header, Source
from aquatint.errors import CorruptStreamError, LimitError, UnsupportedFeatureError, UsageError
from aquatint.image import Image

_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_LONGEST_LENGTH = 2**21 - 1  # of a payload whose rate is free: three bytes of length, up to 2 MiB

Picture = str | os.PathLike[str] | IO[bytes] | np.ndarray | PILImage.Image | Image


@dataclass(frozen=True)
class Encoded:
    """A file, and what is known about its making.

    Attributes:
        data: the bytes of the file.
        header: the file's header.
        report: what the codec has measured.
        seconds: time that encoding took.
    """

    data: bytes
    header: Header
    report: Report
    seconds: float

    @property
    def bpp(self) -> float:
        """Bits of the whole file per pixel."""
        return 8 * len(self.data) / self.header.pixels


def encode(
    picture: Picture,
    *,
    quality: float | None = None,
    bpp: float | None = None,
    size: int | None = None,
    lagrangian: float | None = None,
    codec: str = "overfitted",
    model: str | None = None,
    tune: str | None = None,
    sigma_map: np.ndarray | str | None = None,
    labels: np.ndarray | str | None = None,
    preserve: Sequence[np.ndarray | str] | None = None,
    effort: int = 5,
    strip: bool = False,
    threads: int = 0,
    device: str = "auto",
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> bytes:
    """Encodes a picture into the bytes of an .aqt file.

    Arguments:
        picture: a path or binary file of any format that Pillow reads; an array of uint8, uint16 or floating point in
            [0, 1] and shape (H, W) or (H, W, 1 to 4); a `PIL.Image.Image`; or an `Image`.
        quality, bpp, size, lagrangian: at most one target, see `Target`; quality 50 if all are None.
        codec, strip: see `compress`.
        model, tune, sigma_map, labels, preserve, effort, threads, device, seed, progress: see `Options`.

    Raises:
        UsageError, ImageError, LimitError: see `Target`, `Options`, `Image` and `compress`.
        OSError: the picture's file cannot be opened or read.
    """
    target = Target.of(quality, bpp, size, lagrangian)
    options = Options(
        model=model,
        tune=tune,
        sigma_map=sigma_map,
        labels=labels,
        preserve=preserve,
        effort=effort,
        threads=threads,
        device=device,
        seed=seed,
        progress=progress,
    )
    return compress(_as_image(picture), target, options, codec=codec, strip=strip).data


def compress(
    picture: Image, target: Target, options: Options = DEFAULTS, *, codec: str = "overfitted", strip: bool = False
) -> Encoded:
    """Encodes a picture and tells what came of it.

    Arguments:
        picture: what to encode. Its alpha channel is stored without loss.
        target: rate or quality to aim for; a rate is that of the whole file.
        options: how, see `Options`.
        codec: name of the codec.
        strip: drop EXIF and XMP. A colour profile is kept: without it the colours would be wrong.

    Raises:
        UsageError: an option does not suit the codec or the picture, or the file would exceed its size.
        DependencyError: the objective needs what is not installed.
        ModelError: the model was not found, or is not one of this codec.
    """
    if isinstance(options.sigma_map, np.ndarray) and options.sigma_map.shape != picture.pixels.shape[:2]:
        raise UsageError(
            f"the sigma map must have a number for each of the {picture.width}x{picture.height} pixels, "
            f"not the shape {options.sigma_map.shape}"
        )
    if (options.labels is not None or options.preserve is not None) and codec not in codecs.WITH_LABELS:
        raise UsageError(f"labels and preserve are for {', '.join(codecs.WITH_LABELS)}, not for the codec {codec}")
    start = time.perf_counter()
    engine = codecs.load(codec)
    header = Header(
        codec=codec,
        width=picture.width,
        height=picture.height,
        depth=picture.depth,
        grayscale=picture.grayscale,
        alpha=picture.alpha is not None,
        model_hash=engine.model_hash(options.model),
    )
    chunks = _side_chunks(picture, strip)
    budget = target.bits(header.pixels)
    overhead = container.overhead(header, chunks, _LONGEST_LENGTH if budget is None else int(budget) // 8)
    if target.size is not None and target.size <= overhead:
        raise UsageError(
            f"a file of {target.size} bytes is too small: container, alpha and metadata of this picture take {overhead}"
        )
    payload, report = engine.encode(
        picture.pixels, target, options, depth=picture.depth, grayscale=picture.grayscale, overhead=overhead
    )
    data = container.write(header, {**chunks, Chunk.PAYLOAD: payload})
    if target.size is not None and len(data) > target.size:
        raise UsageError(f"a file of {target.size} bytes is too small: this picture needs {len(data)}")
    return Encoded(data, header, report, time.perf_counter() - start)


def decode(
    data: Source,
    *,
    threads: int = 0,
    max_pixels: int = MAX_PIXELS,
    generator: str | None = None,
    realism: float = 1.0,
) -> Image:
    """Decodes an .aqt file.

    Arguments:
        data: the bytes of the file, its path, or a binary stream.
        threads: processor threads, 0 for all. The picture does not depend on them.
        max_pixels: largest width times height; checked before anything of that size is made.
        generator: name or path of another synthesis for files of trained models, see docs/generative.md; "mse" or None
            for the model's own.
        realism: from 0, the model's own synthesis, to 1, the generator.

    Raises:
        UsageError: the file's codec has no generators, or the realism is not from 0 to 1.
        FileFormatError: the file is damaged, ends early, or needs a newer version.
        LimitError: the picture has more than `max_pixels` pixels.
        ModelError: the file needs a trained model that is not at hand, or the generator belongs to another one.
        OSError: the file cannot be opened or read.
    """
    header, chunks = container.read(container.read_bytes(data))
    if header.pixels > max_pixels:
        raise LimitError(
            f"the picture has {header.width}x{header.height} = {header.pixels} pixels; the limit is {max_pixels}"
        )
    alpha = _read_alpha(chunks[Chunk.ALPHA], header) if header.alpha else None
    try:
        codec = codecs.load(header.codec)
    except UsageError as error:
        raise UnsupportedFeatureError(f"the file cannot be decoded here: {error}") from None
    options: dict[str, object] = {}
    if generator is not None:
        if header.codec not in codecs.WITH_GENERATORS:
            raise UsageError(f"files of the codec {header.codec} have no generators, so not {generator!r} either")
        options = {"generator": generator, "realism": realism}
    samples = codec.decode(chunks[Chunk.PAYLOAD], header, threads=threads, **options)  # type: ignore[arg-type]
    if header.grayscale:
        samples = np.repeat(samples[..., None], 3, axis=2)
    pixels = samples.astype(np.float32)
    pixels /= 2**header.depth - 1
    return Image(
        pixels=pixels,
        alpha=alpha,
        depth=header.depth,
        grayscale=header.grayscale,
        icc=chunks.get(Chunk.ICC),
        exif=chunks.get(Chunk.EXIF),
        xmp=chunks.get(Chunk.XMP),
    )


def _as_image(picture: Picture) -> Image:
    if isinstance(picture, Image):
        return picture
    if isinstance(picture, PILImage.Image):
        return image.from_pil(picture)
    if isinstance(picture, np.ndarray):
        return image.from_array(picture)
    return image.read(picture)


def _side_chunks(picture: Image, strip: bool) -> dict[Chunk, bytes]:
    """Everything of a picture that is not for the codec."""
    contents = {
        Chunk.ALPHA: None if picture.alpha is None else _write_alpha(picture.alpha),
        Chunk.ICC: picture.icc,
        Chunk.EXIF: None if strip else picture.exif,
        Chunk.XMP: None if strip else picture.xmp,
    }
    return {kind: content for kind, content in contents.items() if content is not None}


def _write_alpha(alpha: np.ndarray) -> bytes:
    out = io.BytesIO()
    PILImage.fromarray(alpha).save(out, "PNG", compress_level=9)
    return out.getvalue()


def _read_alpha(content: bytes, header: Header) -> np.ndarray:
    """Opacity from an alpha chunk, of the header's depth; the size is checked before pixels are inflated."""
    if not content.startswith(_PNG_START) or len(content) < len(_PNG_START) + 10:
        raise CorruptStreamError("the alpha chunk is not a PNG file")
    fields = content[len(_PNG_START) :]
    width, height = int.from_bytes(fields[:4], "big"), int.from_bytes(fields[4:8], "big")
    depth, colour = fields[8], fields[9]
    if (width, height) != (header.width, header.height):
        raise CorruptStreamError(
            f"the alpha chunk has {width}x{height} pixels, the picture {header.width}x{header.height}"
        )
    if depth not in (8, 16) or colour != 0:
        raise CorruptStreamError(
            f"the alpha chunk must be grayscale of 8 or 16 bits, not colour type {colour} of {depth}"
        )
    try:
        with PILImage.open(io.BytesIO(content), formats=["PNG"]) as png:
            alpha = np.array(png)
    except Exception as error:  # Pillow may raise anything when its file is damaged
        raise CorruptStreamError(f"the alpha chunk is damaged: {error}") from error
    if depth == header.depth:
        return alpha
    return alpha * np.uint16(257) if depth == 8 else image.to_8_bits(alpha)
