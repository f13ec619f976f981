"""EXIF and XMP: how a picture's are found, and how its orientation is reset once the pixels are turned."""

from __future__ import annotations

import re
import struct

import numpy as np
from PIL import ExifTags
from PIL import Image as PILImage

_PREFIX = b"Exif\0\0"
_ORIENTATION = int(ExifTags.Base.Orientation)
# Tags of a TIFF file that describe the photograph and not the file; a TIFF has no EXIF block of its own.
_DESCRIPTIVE = {
    int(tag)
    for tag in (
        ExifTags.Base.ImageDescription,
        ExifTags.Base.Make,
        ExifTags.Base.Model,
        ExifTags.Base.Software,
        ExifTags.Base.DateTime,
        ExifTags.Base.Artist,
        ExifTags.Base.Copyright,
    )
}
_DIRECTORIES = (int(ExifTags.IFD.Exif), int(ExifTags.IFD.GPSInfo))
_XMP_ORIENTATION = re.compile(rb'(tiff:Orientation(?:="|>))[0-9]')  # in the two forms that Pillow reads


def orientation(image: PILImage.Image) -> int:
    """The EXIF orientation, 1 to 8, as Pillow finds it in EXIF or XMP; 1 if there is none or it cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, TypeError, KeyError, OSError, struct.error):
        return 1
    return value if value in range(1, 9) else 1


def upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Turns samples of shape (H, W, ...) so that orientation 1 describes them (EXIF 2.32, tag 0x0112); a view."""
    if orientation >= 5:  # rows are columns
        samples = samples.swapaxes(0, 1)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return samples[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]


def exif(image: PILImage.Image) -> bytes | None:
    """The EXIF block as a TIFF structure with orientation 1; None if there is none or it cannot be read."""
    block = image.info.get("exif")
    if not isinstance(block, bytes) or not block:
        block = _descriptive_tags(image)
    return _orientation_reset(block.removeprefix(_PREFIX))


def exif_block(tiff: bytes) -> bytes:
    """EXIF as Pillow's encoders want it: with the prefix of a JPEG segment."""
    return _PREFIX + tiff


def xmp(image: PILImage.Image) -> bytes | None:
    """The XMP packet with its orientation, if any, set to 1; None if there is none."""
    packet = image.info.get("xmp")
    if isinstance(packet, str):
        packet = packet.encode()
    return _XMP_ORIENTATION.sub(rb"\g<1>1", packet) if packet else None


def _descriptive_tags(image: PILImage.Image) -> bytes:
    """EXIF rebuilt from the tags that Pillow has parsed, for files without an EXIF block of their own."""
    rebuilt = PILImage.Exif()
    try:
        tags = image.getexif()
        for tag in _DESCRIPTIVE & tags.keys():
            rebuilt[tag] = tags[tag]
        for directory in _DIRECTORIES:
            if entries := tags.get_ifd(directory):
                rebuilt[directory] = dict(entries)
        return rebuilt.tobytes() if rebuilt else b""
    except (SyntaxError, ValueError, TypeError, KeyError, AttributeError, OSError, struct.error):
        return b""


def _orientation_reset(tiff: bytes) -> bytes | None:
    """The same bytes but for one: maker notes hold absolute offsets, so the block is patched and not written anew."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return None
    block = bytearray(tiff)
    try:
        (directory,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(order + "HHI", block, entry)
            if tag == _ORIENTATION and kind == 3 and values == 1:  # a single SHORT
                struct.pack_into(order + "H", block, entry + 8, 1)
    except struct.error:
        return None
    return bytes(block)
