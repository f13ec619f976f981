"""16-bit PNG files, against another reader and writer of them."""

from __future__ import annotations

import io
import itertools
import struct
import zlib

import numpy as np
import pytest
from PIL import Image as PILImage

from aquatint import png16
from aquatint.errors import ImageError

png = pytest.importorskip("png", reason="pypng is the other reader and writer")


def noise(height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 65536, (height, width, channels), np.uint16)


def smooth(height: int, width: int, channels: int) -> np.ndarray:
    y, x, c = np.mgrid[:height, :width, :channels]
    return (300 * y + 200 * x + 1000 * c).astype(np.uint16)


def pypng_write(samples: np.ndarray, interlace: bool = False) -> bytes:
    height, width, channels = samples.shape
    out = io.BytesIO()
    writer = png.Writer(
        width, height, greyscale=channels < 3, alpha=channels in (2, 4), bitdepth=16, interlace=interlace
    )
    writer.write(out, samples.reshape(height, -1).tolist())
    return out.getvalue()


def filtered_png(samples: np.ndarray, kinds: list[int]) -> bytes:
    """A PNG file whose rows use the given filters in turn, computed byte by byte from the definition."""
    height, _, channels = samples.shape
    rows = samples.astype(">u2").view(np.uint8).reshape(height, -1).astype(int)
    step = 2 * channels
    lines = bytearray()
    for y, kind in zip(range(height), itertools.cycle(kinds)):
        lines.append(kind)
        for x in range(rows.shape[1]):
            a = rows[y, x - step] if x >= step else 0
            b = rows[y - 1, x] if y else 0
            c = rows[y - 1, x - step] if y and x >= step else 0
            nearest = min((a, b, c), key=lambda value: abs(a + b - c - value))
            lines.append((rows[y, x] - (0, a, b, (a + b) // 2, nearest)[kind]) % 256)
    whole = png16.write(samples)
    start = whole.index(b"IDAT") - 4
    content = zlib.compress(bytes(lines))
    return whole[:start] + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


SHAPES = [(1, 1), (1, 9), (9, 1), (2, 3), (8, 8), (13, 21)]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("make", [noise, smooth])
def test_own_files_are_read_by_both(make, shape: tuple[int, int], channels: int) -> None:
    samples = make(*shape, channels)
    data = png16.write(samples)
    assert np.array_equal(png16.read(data), samples)
    width, height, rows, info = png.Reader(bytes=data).read()
    assert (width, height, info["bitdepth"], info["planes"]) == (shape[1], shape[0], 16, channels)
    assert np.array_equal(np.vstack([np.array(row) for row in rows]).reshape(*shape, channels), samples)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("interlace", [False, True])
def test_files_of_others_are_read(shape: tuple[int, int], channels: int, interlace: bool) -> None:
    samples = noise(*shape, channels)
    assert np.array_equal(png16.read(pypng_write(samples, interlace)), samples)


@pytest.mark.parametrize("kinds", [[0], [1], [2], [3], [4], [4, 0, 3, 1, 2], [1, 3, 4]])
def test_every_filter_is_undone(kinds: list[int]) -> None:
    for samples in (noise(7, 5, 3), smooth(6, 8, 4), noise(5, 1, 1)):
        assert np.array_equal(png16.read(filtered_png(samples, kinds)), samples)


def test_unknown_filter_is_refused() -> None:
    data = png16.write(smooth(2, 2, 1))
    start = data.index(b"IDAT") - 4
    with pytest.raises(ImageError, match="filter 5"):
        png16.read(data[:start] + chunk(b"IDAT", zlib.compress(bytes([5, 0, 0, 0, 0] * 2))) + chunk(b"IEND", b""))


def test_transparent_colour_becomes_alpha() -> None:
    samples = np.array([[[1, 2, 3], [1, 2, 4]]], np.uint16)
    data = png16.write(samples)
    start = data.index(b"IDAT") - 4
    data = data[:start] + chunk(b"tRNS", bytes([0, 1, 0, 2, 0, 3])) + data[start:]
    assert png16.read(data).tolist() == [[[1, 2, 3, 0], [1, 2, 4, 65535]]]


def test_metadata_is_where_pillow_finds_it() -> None:
    data = png16.write(smooth(3, 4, 3), icc=b"profile", exif=b"II*\0\x08\0\0\0\0\0", xmp="<x>é</x>".encode())
    with PILImage.open(io.BytesIO(data)) as image:
        image.load()
        assert image.info["icc_profile"] == b"profile"
        assert image.info["exif"] == b"Exif\0\0II*\0\x08\0\0\0\0\0"
        assert image.info["xmp"] == "<x>é</x>".encode()


def test_every_truncation_and_bit_flip_is_an_error() -> None:
    data = png16.write(smooth(3, 4, 3))
    for length in range(26, len(data)):
        with pytest.raises(ImageError):
            png16.read(data[:length])
    for bit in range(8 * 8, 8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ImageError):
            png16.read(bytes(flipped))


def test_a_bomb_is_refused_before_its_pixels_are_made() -> None:
    huge = struct.pack(">IIBBBBB", 65535, 65535, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", huge) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    with pytest.raises(ImageError, match="holds 1000 bytes"):
        png16.read(b"\x89PNG\r\n\x1a\n" + body)


def test_sides_have_a_limit() -> None:
    body = chunk(b"IHDR", struct.pack(">IIBBBBB", 65536, 1, 16, 2, 0, 0, 0)) + chunk(b"IEND", b"")
    with pytest.raises(ImageError, match="65535 pixels, not 65536x1"):
        png16.read(b"\x89PNG\r\n\x1a\n" + body)


def test_is_png16() -> None:
    data = png16.write(smooth(1, 1, 1))
    assert png16.is_png16(data[:26])
    assert not png16.is_png16(data[:24])
    eight = io.BytesIO()
    PILImage.new("RGB", (1, 1)).save(eight, "PNG")
    assert not png16.is_png16(eight.getvalue())
