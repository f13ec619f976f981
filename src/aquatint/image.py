"""Pictures: pixels as every codec sees them, and the ways in and out of them."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image as PILImage
from PIL import PngImagePlugin, UnidentifiedImageError

from aquatint import colour, metadata, png16
from aquatint.container import MAX_PIXELS, MAX_SIDE
from aquatint.errors import AquatintError, ImageError, LimitError, UsageError

_LAYOUTS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # Pillow's 8-bit mode for a number of channels
_GRAY16_FORMATS = {"PNG", "TIFF", "PPM", "JPEG2000"}  # formats in which Pillow writes 16-bit grayscale
_WRITE_OPTIONS: dict[str, dict[str, object]] = {
    "PNG": {"compress_level": 1},  # four times as fast as the default, and not larger for photographs
    "WEBP": {"lossless": True},
    "JPEG": {"quality": 95, "subsampling": 0},
}


@dataclass(frozen=True, eq=False)
class Image:
    """A picture.

    Attributes:
        pixels: float32 of shape (H, W, 3) in [0, 1]; sRGB unless there is a profile. Three equal channels if grayscale.
        alpha: opacity, uint8 or uint16 (as depth says) of shape (H, W); None if all is opaque.
        depth: bits per sample, 8 or 16.
        grayscale: the picture has one colour channel.
        icc: the colour profile of pixels that are not sRGB.
        exif: a TIFF structure with orientation 1.
        xmp: an XMP packet, UTF-8.

    Raises:
        ImageError: an array has another shape, type or range.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    depth: int = 8
    grayscale: bool = False
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if dtype != np.float32 or len(shape) != 3 or shape[2] != 3:
            raise ImageError(f"pixels must be float32 of shape (H, W, 3), not {dtype} of shape {shape}")
        if self.depth not in (8, 16):
            raise ImageError(f"the depth must be 8 or 16 bits, not {self.depth}")
        _check_size(shape[1], shape[0], max_pixels=None)
        low, high = self.pixels.min(), self.pixels.max()
        if not (low >= 0 and high <= 1):  # NaN compares as false
            raise ImageError(f"pixels must lie in [0, 1]; these reach from {low:.6g} to {high:.6g}")
        if self.alpha is not None and (self.alpha.shape != shape[:2] or self.alpha.dtype != _dtype(self.depth)):
            raise ImageError(
                f"alpha must be {_dtype(self.depth)} of shape {shape[:2]}, not {self.alpha.dtype} of {self.alpha.shape}"
            )

    @property
    def height(self) -> int:
        """Rows."""
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        """Columns."""
        return self.pixels.shape[1]

    def to_array(self) -> np.ndarray:
        """Samples as uint8 or uint16: (H, W) or (H, W, 2) if grayscale, else (H, W, 3) or (H, W, 4)."""
        samples = _quantise(self.pixels[..., :1] if self.grayscale else self.pixels, self.depth)
        if self.alpha is not None:
            samples = np.concatenate([samples, self.alpha[..., None]], axis=2)
        return samples[..., 0] if samples.shape[2] == 1 else samples

    def __array__(self, dtype: np.typing.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("samples are made from the pixels; they cannot be had without a copy")
        return np.asarray(self.to_array(), dtype)

    def to_pil(self) -> PILImage.Image:
        """The picture as Pillow knows it: L, LA, RGB, RGBA, or I;16 for 16-bit grayscale.

        Pillow has no other mode of 16 bits: colour, and grayscale with alpha, are rounded to 8. Profile and metadata
        are in `info`.
        """
        image = self._to_pil16() if self.depth == 16 and self.grayscale and self.alpha is None else self._to_pil8()
        for key, value in (("icc_profile", self.icc), ("exif", self.exif), ("xmp", self.xmp)):
            if value is not None:
                image.info[key] = metadata.exif_block(value) if key == "exif" else value
        return image

    def _to_pil16(self) -> PILImage.Image:
        return PILImage.fromarray(self.to_array())

    def _to_pil8(self) -> PILImage.Image:
        samples = self.to_array()
        if self.depth == 16:
            samples = to_8_bits(samples)
        return PILImage.fromarray(samples)

    def write(self, target: str | os.PathLike[str] | IO[bytes], format: str | None = None) -> None:
        """Writes a picture file with profile and metadata.

        Arguments:
            target: a path, or a binary file.
            format: a format of Pillow ("PNG", "TIFF", ...); by default that of the path's extension, or PNG. PNG keeps
                16 bits, the others 8 (but for grayscale in TIFF, PPM and JPEG 2000). WebP is written without loss.

        Raises:
            UsageError: no format has this extension or name.
            ImageError: the format cannot hold this picture; nothing has been written.
            OSError: the file cannot be written.
        """
        is_path = isinstance(target, str | os.PathLike)
        if format is None:
            format = _format_of(Path(target).suffix) if is_path else "PNG"
        data = self._file(format.upper())
        if is_path:
            Path(target).write_bytes(data)
        else:
            target.write(data)

    def _file(self, format: str) -> bytes:
        if format == "PNG" and self.depth == 16:
            samples = np.atleast_3d(self.to_array())
            return png16.write(samples, icc=self.icc, exif=self.exif, xmp=self.xmp)
        image = self.to_pil()
        if image.mode == "I;16" and format not in _GRAY16_FORMATS:
            image = self._to_pil8()
        options = dict(_WRITE_OPTIONS.get(format, {}))
        if self.icc is not None:
            options["icc_profile"] = self.icc
        if self.exif is not None:
            options["exif"] = metadata.exif_block(self.exif)
        if self.xmp is not None:
            options["xmp"] = self.xmp
            options["pnginfo"] = PngImagePlugin.PngInfo()
            options["pnginfo"].add_itxt("XML:com.adobe.xmp", self.xmp.decode(errors="replace"))
        out = io.BytesIO()
        try:
            image.save(out, format, **options)
        except KeyError:
            raise UsageError(f"format {format!r} is not one that Pillow writes") from None
        except (OSError, ValueError) as error:
            raise ImageError(f"a picture of mode {image.mode} cannot be written as {format}: {error}") from error
        return out.getvalue()


def read(source: str | os.PathLike[str] | IO[bytes], *, max_pixels: int = MAX_PIXELS) -> Image:
    """Reads a picture from a file of any format that Pillow knows.

    The pixels are converted to sRGB and turned upright. 16 bits are kept of PNG files and of grayscale; other files
    have the 8 bits of Pillow. An opaque alpha channel is dropped. Of several frames the first is taken, with a warning.

    Arguments:
        source: a path, or a binary file.
        max_pixels: largest width times height; checked before pixels are decoded. Beyond Pillow's own limit,
            `PIL.Image.MAX_IMAGE_PIXELS` must be raised too.

    Raises:
        ImageError: the file is damaged, ends early, or is not a picture.
        LimitError: the picture has too many pixels.
        OSError: the file cannot be opened or read.
    """
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else getattr(source, "name", "the stream")
    with _opened(source) as file:
        try:
            with PILImage.open(file) as image:
                _check_size(*image.size, max_pixels=max_pixels)
                if getattr(image, "is_animated", False) and image.format != "MPO":  # those of MPO are previews
                    warnings.warn(f"{name} has several frames; only the first is read", stacklevel=2)
                file.seek(0)
                deep = image.format == "PNG" and png16.is_png16(file.read(26))
                image.load()
                if not deep:
                    return from_pil(image, max_pixels=max_pixels)
                file.seek(0)
                return _picture(png16.read(file.read()), image)
        except AquatintError as error:
            raise type(error)(f"{name}: {error}") from error
        except UnidentifiedImageError:
            raise ImageError(f"{name}: not a picture of a known format") from None
        except PILImage.DecompressionBombError as error:
            raise LimitError(f"{name}: {error}") from error
        except Exception as error:  # a decoder of Pillow may raise anything when its file is damaged
            raise ImageError(f"{name}: the picture is damaged or ends early: {error}") from error


def read_classes(source: str | os.PathLike[str] | IO[bytes]) -> np.ndarray:
    """Numbers of classes from a picture of one channel of 8 bits, or with a palette, uint8 of shape (H, W).

    Raises:
        ImageError: the file is not such a picture.
        LimitError: it has too many pixels.
        OSError: it cannot be opened or read.
    """
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else getattr(source, "name", "the stream")
    with _opened(source) as file:
        try:
            with PILImage.open(file) as image:
                _check_size(*image.size, max_pixels=MAX_PIXELS)
                if image.mode not in ("1", "L", "P"):
                    raise ImageError(f"classes need one channel of 8 bits or a palette, not the mode {image.mode}")
                return np.asarray(image).astype(np.uint8)
        except AquatintError as error:
            raise type(error)(f"{name}: {error}") from error
        except UnidentifiedImageError:
            raise ImageError(f"{name}: not a picture of a known format") from None
        except Exception as error:  # a decoder of Pillow may raise anything when its file is damaged
            raise ImageError(f"{name}: the picture is damaged or ends early: {error}") from error


def from_pil(image: PILImage.Image, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Takes a picture over from Pillow, in any mode, converted to sRGB and turned upright; of an animation, this frame.

    I is read as 16 bits, as Pillow writes it to a PNG file; F must lie in [0, 1].

    Raises:
        ImageError: the mode or a value is not supported, or the pixels cannot be loaded.
        LimitError: the picture has more than `max_pixels` pixels.
    """
    _check_size(*image.size, max_pixels=max_pixels)
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"the picture is damaged or ends early: {error}") from error
    mode, icc = image.mode, image.info.get("icc_profile")
    if mode == "CMYK":
        return _picture(np.asarray(colour.cmyk_to_rgb(image, icc)), image, icc=None)
    if mode == "LAB":
        return _picture(np.asarray(colour.lab_to_rgb(image)), image, icc=None)
    return _picture(_samples(image), image)


def from_array(array: np.ndarray, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Takes sRGB samples over from an array.

    Arguments:
        array: (H, W), or (H, W, C) with C = 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha). uint8 and uint16 use
            their whole range; floating point must lie in [0, 1] and counts as 8 bits deep.

    Raises:
        ImageError: shape, type or values are others.
        LimitError: the picture has more than `max_pixels` pixels.
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in _LAYOUTS):
        raise ImageError(f"an array of shape (H, W) or (H, W, 1 to 4) is needed, not {array.shape}")
    _check_size(array.shape[1], array.shape[0], max_pixels=max_pixels)
    if array.dtype not in (np.uint8, np.uint16) and array.dtype.kind != "f":
        raise ImageError(f"an array of uint8, uint16 or floating point is needed, not {array.dtype}")
    return _image(array[..., None] if array.ndim == 2 else array, depth=16 if array.dtype == np.uint16 else 8)


def _samples(image: PILImage.Image) -> np.ndarray:
    """The samples of a loaded picture in a mode that is gray or RGB at heart: (H, W) or (H, W, C)."""
    if image.mode.startswith("I;16"):
        samples = np.asarray(image).astype(np.uint16)
        transparent = image.info.get("transparency")
        return (
            samples if transparent is None else np.stack([samples, (samples != transparent) * np.uint16(65535)], axis=2)
        )
    if image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError(
                f"mode I is read as 16 bits, 0 to 65535; it has values from {values.min()} to {values.max()}"
            )
        return values.astype(np.uint16)
    if image.mode == "F":
        return np.asarray(image)
    gray = image.mode in ("1", "L", "LA", "La")
    try:
        return np.asarray(
            image.convert(("LA" if gray else "RGBA") if image.has_transparency_data else "L" if gray else "RGB")
        )
    except ValueError as error:
        raise ImageError(f"pictures of mode {image.mode} are not supported: {error}") from error


def _picture(samples: np.ndarray, image: PILImage.Image, **replaced: bytes | None) -> Image:
    """A picture of these samples with the metadata of a loaded Pillow picture."""
    samples = metadata.upright(np.atleast_3d(samples), metadata.orientation(image))
    described = {"icc": image.info.get("icc_profile") or None, "exif": metadata.exif(image), "xmp": metadata.xmp(image)}
    return _image(samples, depth=8 if samples.dtype == np.uint8 else 16, **(described | replaced))


def _image(
    samples: np.ndarray, *, depth: int, icc: bytes | None = None, exif: bytes | None = None, xmp: bytes | None = None
) -> Image:
    """A picture of samples (H, W, C), C from 1 to 4, uint8, uint16 or floating point in [0, 1]."""
    height, width, channels = samples.shape
    grayscale = channels <= 2
    has_alpha = channels in (2, 4)
    pixels = np.empty((height, width, 3), np.float32)
    pixels[...] = samples[..., : channels - has_alpha]
    alpha = None
    if samples.dtype.kind != "f":
        pixels /= np.iinfo(samples.dtype).max
        alpha = np.ascontiguousarray(samples[..., -1]) if has_alpha else None
    elif has_alpha:
        opacity = samples[..., -1].astype(np.float32)
        if not (opacity.min() >= 0 and opacity.max() <= 1):
            raise ImageError(f"alpha must lie in [0, 1]; this reaches from {opacity.min():.6g} to {opacity.max():.6g}")
        alpha = _quantise(opacity, depth)
    if alpha is not None and alpha.min() == np.iinfo(alpha.dtype).max:
        alpha = None
    if icc is not None:
        icc = colour.to_srgb(pixels, icc, depth=depth, grayscale=grayscale)
    return Image(pixels, alpha, depth, grayscale, icc, exif, xmp)


def _check_size(width: int, height: int, max_pixels: int | None) -> None:
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise ImageError(f"sides must be from 1 to {MAX_SIDE} pixels; this picture is {width}x{height}")
    if max_pixels is not None and width * height > max_pixels:
        raise LimitError(f"the picture has {width}x{height} = {width * height} pixels; the limit is {max_pixels}")


def _dtype(depth: int) -> np.dtype:
    return np.dtype(np.uint16 if depth == 16 else np.uint8)


def _quantise(values: np.ndarray, depth: int) -> np.ndarray:
    levels = values * np.float32(2**depth - 1)
    levels += np.float32(0.5)
    return levels.astype(_dtype(depth))


def to_8_bits(samples: np.ndarray) -> np.ndarray:
    """The nearest of 256 levels for each of 65536, uint8."""
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _format_of(extension: str) -> str:
    if not extension:
        return "PNG"
    try:
        return PILImage.registered_extensions()[extension.lower()]
    except KeyError:
        raise UsageError(f"no picture format has the extension {extension!r}; .png is one that fits") from None


@contextlib.contextmanager
def _opened(source: str | os.PathLike[str] | IO[bytes]) -> Iterator[IO[bytes]]:
    """The source as a file that can be read from its beginning again."""
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            yield file
    elif not hasattr(source, "read"):
        raise UsageError(f"a path or a binary file is needed, not {type(source).__name__}")
    else:
        yield io.BytesIO(source.read())
