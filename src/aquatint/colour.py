"""From the colour space of a picture's ICC profile to sRGB, by relative colorimetry.

Nearly every profile of a photograph is three curves and a matrix (or one curve, for grayscale): these are evaluated
here in floating point, so that 16-bit pictures keep their precision. The others (CMYK, Lab, tables) go through Little
CMS in 8 bits.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
from PIL import Image as PILImage
from PIL import ImageCms

# XYZ of the sRGB primaries (IEC 61966-2-1), adapted to D50 by the Bradford transform (ICC.1:2022, annex E), in columns.
_SRGB_TO_XYZ = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)
_STEP = 1 / 255
_BAND = 2**16  # pixels converted at a time
_CMS_ERRORS = (ImageCms.PyCMSError, ImportError, OSError, ValueError)

_Transform = Callable[[np.ndarray], np.ndarray]  # float32 samples (n, 3) in [0, 1] to the same in sRGB


def to_srgb(pixels: np.ndarray, icc: bytes | None, *, depth: int, grayscale: bool) -> bytes | None:
    """Converts pixels from a profile's colour space to sRGB, in place.

    Arguments:
        pixels: float32 (H, W, 3) in [0, 1]; three equal channels if grayscale.
        icc: the profile that describes them; None is sRGB.
        depth: bits per sample that the pixels were made from. Little CMS is used for 8 bits only.

    Returns:
        None if the pixels are now sRGB; the profile if it cannot be used, and so must stay with the pixels.
    """
    if icc is None:
        return None
    transform = _float_transform(icc, grayscale) or (_cms_transform(icc, grayscale) if depth == 8 else None)
    if transform is None:
        return icc
    probes = _lattice(grayscale)
    if np.abs(transform(probes) - probes).max() <= _STEP:
        return None  # sRGB under one of its many names
    rows = max(1, _BAND // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        band = pixels[top : top + rows]
        converted = transform(band.reshape(-1, 3)).reshape(band.shape)
        band[...] = converted.mean(axis=2, keepdims=True) if grayscale else converted
    return None


def cmyk_to_rgb(image: PILImage.Image, icc: bytes | None) -> PILImage.Image:
    """Converts a CMYK picture to sRGB through its profile; without one that works, by Pillow's plain complement."""
    if icc is not None:
        try:
            return _convert(image, ImageCms.ImageCmsProfile(io.BytesIO(icc)))
        except _CMS_ERRORS:
            pass
    return image.convert("RGB")


def lab_to_rgb(image: PILImage.Image) -> PILImage.Image:
    """Converts an 8-bit CIE Lab (D50) picture to sRGB."""
    return _convert(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))


def _convert(image: PILImage.Image, profile: ImageCms.ImageCmsProfile) -> PILImage.Image:
    transform = ImageCms.buildTransform(
        profile,
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        image.mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    return transform.apply(image)


def _lattice(grayscale: bool) -> np.ndarray:
    """Colours that cover the cube, or its diagonal: multiples of 15 in 8 bits."""
    steps = np.arange(0, 256, 15, dtype=np.float32) / 255
    if grayscale:
        return np.repeat(steps[:, None], 3, axis=1)
    return np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)


def _cms_transform(icc: bytes, grayscale: bool) -> _Transform | None:
    mode = {b"RGB ": "RGB", b"GRAY": "L"}.get(icc[16:20])
    if mode is None or (mode == "L" and not grayscale):
        return None

    def transform(samples: np.ndarray) -> np.ndarray:
        levels = np.rint(samples[None] * 255).astype(np.uint8)
        image = PILImage.fromarray(levels[..., 0] if mode == "L" else levels)
        return np.asarray(_convert(image, profile), np.float32)[0] / 255

    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        transform(np.zeros((1, 3), np.float32))
    except _CMS_ERRORS:
        return None
    return transform


def _float_transform(icc: bytes, grayscale: bool) -> _Transform | None:
    """The transform of a profile that is curves and a matrix (ICC.1:2022, annex F); None for every other profile."""
    try:
        tags = _tags(icc)
        space, connection = icc[16:20], icc[20:24]
        if connection != b"XYZ " or b"A2B0" in tags or b"A2B1" in tags:
            return None
        if space == b"GRAY" and grayscale:
            curves, to_linear = [_curve(tags[b"kTRC"])] * 3, np.eye(3)
        elif space == b"RGB ":
            curves = [_curve(tags[kind]) for kind in (b"rTRC", b"gTRC", b"bTRC")]
            colorants = np.stack([_xyz(tags[kind]) for kind in (b"rXYZ", b"gXYZ", b"bXYZ")], axis=1)
            to_linear = np.linalg.inv(_SRGB_TO_XYZ) @ colorants
        else:
            return None
    except (KeyError, ValueError, struct.error):
        return None
    if not all(np.isfinite(curve).all() for curve in curves):
        return None
    columns = to_linear.T.astype(np.float32)

    def transform(samples: np.ndarray) -> np.ndarray:
        levels = np.rint(samples * np.float32(65535)).astype(np.uint16)
        # Not as a matrix product: starting the threads of BLAS costs more than three columns.
        linear = np.zeros_like(samples)
        for channel, (curve, column) in enumerate(zip(curves, columns, strict=True)):
            linear += curve[levels[:, channel], None] * column
        return _srgb_encode(np.clip(linear, 0, 1))

    return transform


def _srgb_encode(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).clip(0, 1)


def _tags(icc: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", icc, 128)
    if 132 + 12 * count > len(icc):
        raise ValueError(f"{count} tags do not fit into a profile of {len(icc)} bytes")
    entries = (struct.unpack_from(">4sII", icc, 132 + 12 * index) for index in range(count))
    return {kind: icc[offset : offset + size] for kind, offset, size in entries}


def _xyz(tag: bytes) -> np.ndarray:
    if tag[:4] != b"XYZ ":
        raise ValueError(f"an XYZ tag is needed, not {tag[:4]!r}")
    return np.array(struct.unpack_from(">3i", tag, 8)) / 65536


def _curve(tag: bytes) -> np.ndarray:
    """A curve's linear value at each of the 65536 levels of a 16-bit sample, float32."""
    x = np.arange(65536) / 65535
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return x.astype(np.float32)
        table = np.frombuffer(tag, ">u2", count, 12)
        if count == 1:
            return (x ** (table[0] / 256)).astype(np.float32)
        return np.interp(x, np.linspace(0, 1, count), table / 65535).astype(np.float32)
    if tag[:4] == b"para":
        return _parametric_curve(x, tag).astype(np.float32)
    raise ValueError(f"a curve is needed, not {tag[:4]!r}")


def _parametric_curve(x: np.ndarray, tag: bytes) -> np.ndarray:
    """ICC.1:2022, table 68: y = (a x + b)^g + e where x >= d, and c x + f below."""
    (kind,) = struct.unpack_from(">H", tag, 8)
    if kind > 4:
        raise ValueError(f"parametric curve type {kind} is unknown; 4 is the last")
    count = (1, 3, 4, 5, 7)[kind]
    values = [value / 65536 for value in struct.unpack_from(f">{count}i", tag, 12)]
    g, a, b, c, d, e, f = values + [1.0, 0.0, 0.0, 0.0, 0.0, 0.0][count - 1 :] if count < 7 else values
    with np.errstate(all="ignore"):  # what a bent profile makes of this is checked by the caller
        if kind in (1, 2):
            offset = values[3] if kind == 2 else 0.0
            c, d, e, f = 0.0, np.float64(-b) / a, offset, offset
        return np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f)
