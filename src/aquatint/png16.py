"""PNG files with 16 bits per sample, of which Pillow would keep eight (PNG, third edition).

Undoing the filters of a PNG is serial along rows and columns, but not along diagonals: all pixels with the same x + y
depend on earlier diagonals only, so numpy undoes them together.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from aquatint.container import MAX_SIDE
from aquatint.errors import ImageError

_MAGIC = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # colour type: samples per pixel
_COLOUR_TYPES = {channels: colour for colour, channels in _CHANNELS.items()}
_PAETH = 4
# Adam7: first row, first column, and distance of rows and columns of each pass.
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
_LEVEL = 3  # of deflate: for photographs, higher ones take longer and gain nothing


def is_png16(head: bytes) -> bool:
    """Whether a file that begins with these bytes (at least 26) is a PNG with 16 bits per sample."""
    return head.startswith(_MAGIC) and head[24:25] == b"\x10"


def read(data: bytes) -> np.ndarray:
    """The samples of a 16-bit PNG, uint16 (H, W, C) with 1 to 4 channels; a transparent colour becomes alpha.

    Raises:
        ImageError: the file is damaged or ends early.
    """
    chunks = _chunks(data)
    try:
        width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
        channels = _CHANNELS[colour]
    except (KeyError, struct.error):
        raise ImageError("the PNG file has no valid header") from None
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise ImageError(f"the sides of a PNG file must be from 1 to {MAX_SIDE} pixels, not {width}x{height}")
    if depth != 16:
        raise ImageError(f"a PNG file with 16 bits per sample is needed, not {depth}")
    passes = [(0, 0, 1, 1)] if not interlaced else [step for step in _ADAM7 if step[0] < height and step[1] < width]
    shapes = [(len(range(y, height, dy)), len(range(x, width, dx))) for y, x, dy, dx in passes]
    raw = _inflate(chunks.get(b"IDAT", b""), sum(rows * (1 + 2 * channels * columns) for rows, columns in shapes))

    samples = np.empty((height, width, channels), np.uint16)
    position = 0
    for (y, x, dy, dx), (rows, columns) in zip(passes, shapes, strict=True):
        row_bytes = 1 + 2 * channels * columns
        filtered = raw[position : position + rows * row_bytes].reshape(rows, row_bytes)
        position += rows * row_bytes
        pixels = _unfilter(filtered[:, 0], filtered[:, 1:].reshape(rows, columns, 2 * channels))
        samples[y::dy, x::dx] = pixels.view(">u2")
    transparent = chunks.get(b"tRNS")
    if transparent is not None and len(transparent) == 2 * channels:
        opaque = (samples != np.frombuffer(transparent, ">u2")).any(axis=2, keepdims=True)
        samples = np.concatenate([samples, opaque * np.uint16(65535)], axis=2)
    return samples


def write(
    samples: np.ndarray, *, icc: bytes | None = None, exif: bytes | None = None, xmp: bytes | None = None
) -> bytes:
    """A PNG file of samples, uint16 (H, W, C) with 1 to 4 channels, and metadata."""
    height, width, channels = samples.shape
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPES[channels], 0, 0, 0)
    out = _MAGIC + _chunk(b"IHDR", header)
    if icc is not None:
        out += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
    if exif is not None:
        out += _chunk(b"eXIf", exif)
    if xmp is not None:
        out += _chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    pixels = samples.astype(">u2").view(np.uint8).reshape(height, width, 2 * channels)
    return out + _chunk(b"IDAT", _deflate(pixels)) + _chunk(b"IEND", b"")


def _chunks(data: bytes) -> dict[bytes, bytes]:
    """Contents by type, their checksums verified; those of one type are joined, which is right for IDAT."""
    parts: dict[bytes, list[bytes]] = {}
    position = len(_MAGIC)
    while b"IEND" not in parts:
        head = data[position : position + 8]
        length = int.from_bytes(head[:4], "big")
        end = position + 12 + length
        if len(head) < 8 or end > len(data):
            raise ImageError(f"the PNG file ends early, in the chunk at byte {position} of {len(data)}")
        if zlib.crc32(memoryview(data)[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise ImageError(f"the PNG file is damaged: wrong checksum of the chunk at byte {position}")
        parts.setdefault(head[4:], []).append(data[position + 8 : end - 4])
        position = end
    return {kind: b"".join(contents) for kind, contents in parts.items()}


def _inflate(compressed: bytes, size: int) -> np.ndarray:
    try:
        raw = zlib.decompressobj().decompress(compressed, size)
    except zlib.error as error:
        raise ImageError(f"the pixels of the PNG file are damaged: {error}") from None
    if len(raw) < size:
        raise ImageError(f"the PNG file holds {len(raw)} bytes of pixels; {size} are needed")
    return np.frombuffer(raw, np.uint8)


def _unfilter(kinds: np.ndarray, filtered: np.ndarray) -> np.ndarray:
    """Undoes the filters 0 to 4 of rows: kinds uint8 (H,), filtered bytes (H, W, B) with B bytes per pixel."""
    if kinds.max() > _PAETH:
        raise ImageError(f"PNG filter {kinds.max()} is unknown; {_PAETH} is the last")
    height, width, depth = filtered.shape
    framed = np.zeros((height + 1, width + 1, depth), np.uint8)  # a zero row above and a zero column on the left
    framed[1:, 1:] = filtered
    flat = framed.reshape(-1, depth)
    for diagonal in range(height + width - 1):
        top = max(0, diagonal - width + 1)
        rows = min(height - 1, diagonal) - top + 1
        first = (top + 1) * (width + 1) + diagonal - top + 1
        # One row down and one column to the left is `width` pixels further in the frame.
        here, left, up, corner = (
            flat[first - back : first - back + (rows - 1) * width + 1 : width] for back in (0, 1, width + 1, width + 2)
        )
        here += _prediction(kinds[top : top + rows, None], left, up, corner)
    return np.ascontiguousarray(framed[1:, 1:])


def _prediction(kinds: np.ndarray, left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """What each filter predicts of a byte from its neighbours, as uint8."""
    a, b, c = left.astype(np.int16), up.astype(np.int16), corner.astype(np.int16)
    return np.choose(kinds, (np.int16(0), a, b, (a + b) >> 1, _paeth(a, b, c))).astype(np.uint8)


def _paeth(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Of left, above and above left, the one nearest to a + b - c; int16."""
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    return np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c))


def _deflate(pixels: np.ndarray) -> bytes:
    """The deflated rows of bytes (H, W, B), each filtered by Paeth's predictor, in bands that bound the memory."""
    height, width, depth = pixels.shape
    compressor = zlib.compressobj(_LEVEL)
    out = bytearray()
    above = np.zeros((1, width + 1, depth), np.int16)
    band = max(1, 2**18 // width)
    for top in range(0, height, band):
        rows = pixels[top : top + band].astype(np.int16)
        framed = np.concatenate([above, np.pad(rows, ((0, 0), (1, 0), (0, 0)))])
        residual = rows - _paeth(framed[1:, :-1], framed[:-1, 1:], framed[:-1, :-1])
        lines = np.full((len(rows), 1 + width * depth), _PAETH, np.uint8)
        lines[:, 1:] = residual.astype(np.uint8).reshape(len(rows), -1)
        out += compressor.compress(lines.tobytes())
        above = framed[-1:]
    return bytes(out + compressor.flush())


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
