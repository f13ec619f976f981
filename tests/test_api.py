"""Whole files: picture to bytes and back, with a stand-in for the codec."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import FakeCodec, matrix_profile
from PIL import Image as PILImage

import aquatint
from aquatint import container
from aquatint.api import Encoded, compress, decode, encode
from aquatint.codecs import Progress
from aquatint.codecs.options import Options
from aquatint.codecs.target import Target
from aquatint.container import Chunk, Header, probe
from aquatint.errors import (
    CorruptStreamError,
    FileFormatError,
    ImageError,
    LimitError,
    TruncatedError,
    UnsupportedFeatureError,
    UsageError,
)
from aquatint.image import Image, from_array

pytestmark = pytest.mark.usefixtures("fake_codec")
XMP = b"<x/>"
EXIF = b"II*\0\x08\0\0\0\0\0"


def picture(channels: int = 3, dtype: type = np.uint8, height: int = 12, width: int = 17) -> np.ndarray:
    samples = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, (height, width, channels), dtype)
    return samples[..., 0] if channels == 1 else samples


def png_of(samples: np.ndarray) -> bytes:
    out = io.BytesIO()
    PILImage.fromarray(samples).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_arrays_round_trip(channels: int, dtype: type) -> None:
    samples = picture(channels, dtype)
    data = encode(samples)
    assert probe(data) == Header(
        "overfitted", 17, 12, 8 * np.dtype(dtype).itemsize, grayscale=channels < 3, alpha=channels in (2, 4)
    )
    decoded = decode(data)
    assert decoded.to_array().dtype == dtype
    assert np.array_equal(decoded.to_array(), samples)


def test_every_kind_of_picture_is_taken(tmp_path: Path) -> None:
    samples = picture()
    path = tmp_path / "a.png"
    path.write_bytes(png_of(samples))
    expected = encode(samples)
    for source in (
        path,
        str(path),
        io.BytesIO(path.read_bytes()),
        PILImage.fromarray(samples),
        from_array(samples),
        samples / 255.0,
    ):
        assert encode(source) == expected
    with pytest.raises(UsageError, match="not list"):
        encode([[1]])  # type: ignore[arg-type]


def test_every_kind_of_source_is_decoded(tmp_path: Path) -> None:
    samples = picture()
    data = encode(samples)
    path = tmp_path / "a.aqt"
    path.write_bytes(data)
    for source in (data, bytearray(data), memoryview(data), path, str(path), io.BytesIO(data)):
        assert np.array_equal(decode(source), samples)


def test_metadata_travels_and_strip_drops_it() -> None:
    icc = b"unknown"
    source = Image(from_array(picture()).pixels, icc=icc, exif=EXIF, xmp=XMP)
    decoded = decode(encode(source))
    assert (decoded.icc, decoded.exif, decoded.xmp) == (icc, EXIF, XMP)
    stripped = decode(encode(source, strip=True))
    assert (stripped.icc, stripped.exif, stripped.xmp) == (icc, None, None)


def test_profile_is_applied_on_the_way_in(photo: np.ndarray) -> None:
    image = PILImage.fromarray(photo)
    image.info["icc_profile"] = matrix_profile()
    decoded = decode(encode(image))
    assert decoded.icc is None
    assert np.abs(decoded.to_array().astype(int) - photo).max() > 20


def test_arguments_reach_the_codec(fake_codec: FakeCodec) -> None:
    seen: list[Progress] = []
    sigma_map = np.zeros((12, 17))
    options = {"tune": "wd", "sigma_map": sigma_map, "threads": 3, "device": "cpu", "seed": 11}
    encode(picture(), bpp=1.5, effort=7, progress=seen.append, **options)  # type: ignore[arg-type]
    call = fake_codec.calls[-1]
    assert call["sigma_map"] is sigma_map
    assert call["tune"] == "wd"
    assert call["target"] == Target(bpp=1.5)
    assert (call["depth"], call["effort"], call["threads"], call["device"], call["seed"]) == (8, 7, 3, "cpu", 11)
    assert [event.step for event in seen] == [1]
    encode(picture())
    assert fake_codec.calls[-1]["target"] == Target(quality=50)


@pytest.mark.parametrize("target", [Target(quality=30), Target(bpp=500.0), Target(size=20000)])
@pytest.mark.parametrize("channels", [3, 4])
def test_overhead_is_what_the_container_adds(fake_codec: FakeCodec, target: Target, channels: int) -> None:
    samples = from_array(picture(channels))
    result = compress(Image(samples.pixels, samples.alpha, exif=EXIF, xmp=XMP), target)
    _, chunks = container.read(result.data)
    around = len(result.data) - len(chunks[Chunk.PAYLOAD])
    told = fake_codec.calls[-1]["overhead"]
    assert isinstance(told, int)
    assert around <= told <= around + 2  # the payload's length may take two bytes less than was allowed for


@pytest.mark.parametrize("size", [600, 700, 800, 1000])
def test_size_is_kept_for_the_whole_file(size: int, photo: np.ndarray) -> None:
    image = from_array(np.dstack([photo[:16, :16], np.tri(16, dtype=np.uint8) * 255]))
    result = compress(Image(image.pixels, image.alpha, exif=EXIF), Target(size=size))
    assert len(result.data) <= size


def test_a_size_that_holds_nothing_is_refused() -> None:
    with pytest.raises(
        UsageError, match="20 bytes is too small: container, alpha and metadata of this picture take 21"
    ):
        encode(picture(), size=20)
    with pytest.raises(UsageError, match="60 bytes"):
        encode(picture(), size=60)


def test_a_codec_that_exceeds_the_size_is_caught(fake_codec: FakeCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    pixel = np.zeros((1, 1, 3), np.float32)
    report = fake_codec.encode(pixel, Target(quality=1), Options(), depth=8, grayscale=False, overhead=0)[1]
    monkeypatch.setattr(fake_codec, "encode", lambda *_, **__: (bytes(500), report))
    with pytest.raises(UsageError, match="a file of 400 bytes is too small: this picture needs 522"):
        encode(picture(), size=400)


def test_encoded_tells_what_came_of_it() -> None:
    result = compress(from_array(picture()), Target(quality=50))
    assert isinstance(result, Encoded)
    assert result.header == probe(result.data)
    assert result.bpp == 8 * len(result.data) / (12 * 17)
    assert result.seconds > 0
    assert result.report.psnr == float("inf")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"quality": 101}, "not 101"),
        ({"quality": 50, "bpp": 1.0}, "exactly one"),
        ({"effort": 0}, "effort must be from 1 to 10, not 0"),
        ({"effort": 11}, "not 11"),
        ({"threads": -1}, "not -1"),
        ({"codec": "generative"}, "'generative' is not available"),
    ],
)
def test_wrong_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        encode(picture(), **arguments)


def test_unknown_codec() -> None:
    with pytest.raises(UsageError, match="'jpeg'"):
        encode(picture(), codec="jpeg")


def test_limits_of_pixels() -> None:
    data = encode(picture())
    assert decode(data, max_pixels=204).width == 17
    with pytest.raises(LimitError, match="17x12 = 204 pixels; the limit is 203"):
        decode(data, max_pixels=203)
    huge = container.write(Header("overfitted", 65535, 65535), {Chunk.PAYLOAD: b"\x08"})
    with pytest.raises(LimitError, match="4294836225 pixels; the limit is 67108864"):
        decode(huge)


def test_a_file_for_a_codec_that_is_not_here() -> None:
    data = container.write(Header("generative", 1, 1), {Chunk.PAYLOAD: b""})
    with pytest.raises(UnsupportedFeatureError, match="'generative' is not available"):
        decode(data)


def file_with_alpha(alpha: bytes, depth: int = 8) -> bytes:
    """A file of 3x2 pixels with a given alpha chunk."""
    _, chunks = container.read(encode(picture(3, np.uint16 if depth == 16 else np.uint8, height=2, width=3)))
    return container.write(Header("overfitted", 3, 2, depth, alpha=True), {**chunks, Chunk.ALPHA: alpha})


@pytest.mark.parametrize(
    ("alpha", "message"),
    [
        (b"", "not a PNG"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x03", "not a PNG"),
        (png_of(picture(1, height=3, width=2)), "has 2x3 pixels, the picture 3x2"),
        (png_of(picture(3, height=2, width=3)), "colour type 2 of 8"),
        (png_of(np.zeros((2, 3), bool)), "colour type 0 of 1"),
        (png_of(picture(1, height=2, width=3))[:-30], "damaged"),
        (png_of(picture(1, height=2, width=3)).replace(b"IDAT", b"IDAX"), "damaged"),
        (png_of(picture(1, height=2, width=3))[:33], "damaged"),
    ],
)
def test_alpha_that_is_wrong(alpha: bytes, message: str) -> None:
    with pytest.raises(CorruptStreamError, match=message):
        decode(file_with_alpha(alpha))


def test_alpha_of_another_depth_is_scaled() -> None:
    eight = np.array([[0, 1, 255], [7, 8, 9]], np.uint8)
    decoded = decode(file_with_alpha(png_of(eight), depth=16))
    assert decoded.alpha is not None
    assert decoded.alpha.dtype == np.uint16
    assert np.array_equal(decoded.alpha, eight.astype(np.uint16) * 257)
    decoded = decode(file_with_alpha(png_of(np.array([[0, 128, 129], [65535, 257, 0]], np.uint16))))
    assert decoded.alpha is not None
    assert decoded.alpha.dtype == np.uint8
    assert decoded.alpha.tolist() == [[0, 0, 1], [255, 1, 0]]


def test_every_truncation_and_bit_flip_is_told(tmp_path: Path) -> None:
    image = from_array(picture(4, height=3, width=4))
    data = encode(Image(image.pixels, image.alpha, exif=EXIF))
    path = tmp_path / "cut.aqt"
    for length in range(len(data)):
        with pytest.raises(TruncatedError):
            decode(data[:length])
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(TruncatedError):
        decode(path)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FileFormatError):
            decode(bytes(flipped))


def test_damage_under_a_valid_checksum_is_told() -> None:
    data = encode(picture(4, height=3, width=4))[:-4]
    rng = np.random.default_rng(5)
    for position in range(16, len(data)):
        bent = bytearray(data)
        bent[position] ^= int(rng.integers(1, 256))
        sealed = bytes(bent) + zlib.crc32(bent).to_bytes(4, "little")
        try:
            decoded = decode(sealed)
        except (FileFormatError, ImageError, LimitError):
            continue
        assert decoded.to_array().shape[:2] == (3, 4)


def test_public_functions_are_these() -> None:
    assert (aquatint.encode, aquatint.decode, aquatint.compress, aquatint.probe) == (encode, decode, compress, probe)
