"""The Pillow plugin: open, load, save."""

from __future__ import annotations

import importlib
import io
from pathlib import Path

import numpy as np
import pytest
from conftest import FakeCodec, matrix_profile
from PIL import ExifTags, ImageFile, UnidentifiedImageError
from PIL import Image as PILImage

import aquatint.pillow
from aquatint import container
from aquatint.api import decode, encode
from aquatint.codecs.target import Target
from aquatint.container import Chunk, Header
from aquatint.image import Image, from_array

pytestmark = pytest.mark.usefixtures("fake_codec")


# Modes that can be saved, and what they come back as; this palette has opacities.
MODES = {"1": "L", "L": "L", "LA": "LA", "P": "RGBA", "RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}


def samples_of(channels: int, dtype: type = np.uint8) -> np.ndarray:
    samples = np.random.default_rng(2).integers(0, np.iinfo(dtype).max, (6, 9, channels), dtype)
    return samples[..., 0] if channels == 1 else samples


def opened(data: bytes) -> PILImage.Image:
    return PILImage.open(io.BytesIO(data))


@pytest.mark.parametrize(
    ("channels", "dtype", "mode"),
    [
        (1, np.uint8, "L"),
        (2, np.uint8, "LA"),
        (3, np.uint8, "RGB"),
        (4, np.uint8, "RGBA"),
        (1, np.uint16, "I;16"),
        (2, np.uint16, "LA"),
        (3, np.uint16, "RGB"),
        (4, np.uint16, "RGBA"),
    ],
)
def test_open(channels: int, dtype: type, mode: str) -> None:
    samples = samples_of(channels, dtype)
    image = opened(encode(samples))
    assert (image.format, image.size, image.mode) == ("AQT", (9, 6), mode)
    assert isinstance(image, ImageFile.ImageFile)
    assert image.get_format_mimetype() == "image/x-aquatint"
    pixels = np.asarray(image)
    if dtype == np.uint16 and mode != "I;16":
        samples = (samples.astype(int) + 128) // 257
    assert np.array_equal(pixels, samples)


@pytest.mark.parametrize("mode", [*MODES, "I;16"])
def test_save_and_open(mode: str, tmp_path: Path) -> None:
    image = PILImage.fromarray(samples_of(4))
    image = PILImage.fromarray(samples_of(1, np.uint16)) if mode == "I;16" else image.convert(mode)
    image.save(tmp_path / "a.aqt")
    with PILImage.open(tmp_path / "a.aqt") as back:
        assert back.format == "AQT"
        expected = image if mode == "I;16" else image.convert(MODES[mode])
        assert np.array_equal(np.asarray(back), np.asarray(expected))


def test_opening_decodes_nothing(fake_codec: FakeCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(samples_of(3))
    decoded: list[bytes] = []
    original = fake_codec.decode
    monkeypatch.setattr(
        fake_codec, "decode", lambda payload, *a, **k: decoded.append(payload) or original(payload, *a, **k)
    )
    image = opened(data)
    assert (image.size, image.mode, decoded) == ((9, 6), "RGB", [])
    image.load()
    image.load()
    assert len(decoded) == 1


def test_metadata_is_there_on_opening() -> None:
    exif, xmp = PILImage.Exif(), b"<x/>"
    exif[ExifTags.Base.Make] = "Maker"
    image = from_array(samples_of(3))
    data = encode(Image(image.pixels, icc=b"profile", exif=exif.tobytes()[6:], xmp=xmp))
    with opened(data) as back:
        assert back.info["icc_profile"] == b"profile"
        assert back.info["xmp"] == xmp
        assert back.getexif()[ExifTags.Base.Make] == "Maker"


def test_save_keywords(fake_codec: FakeCodec) -> None:
    exif = PILImage.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    exif[ExifTags.Base.Orientation] = 6
    samples = samples_of(3)
    out = io.BytesIO()
    PILImage.fromarray(samples).save(
        out,
        "AQT",
        bpp=200.0,
        tune="wd",
        effort=9,
        threads=2,
        exif=exif,
        icc_profile=b"unknown",
        xmp=b"<x/>",
        dpi=(72, 72),
    )
    call = fake_codec.calls[-1]
    assert (call["target"], call["tune"], call["effort"], call["threads"]) == (Target(bpp=200.0), "wd", 9, 2)
    image = decode(out.getvalue())
    assert (image.icc, image.xmp) == (b"unknown", b"<x/>")
    assert np.array_equal(image.to_array(), np.rot90(samples, -1))
    with opened(out.getvalue()) as back:
        assert dict(back.getexif()) == {ExifTags.Base.Make: "Maker", ExifTags.Base.Orientation: 1}


@pytest.mark.parametrize(
    ("keyword", "target"),
    [
        ({}, Target(quality=50)),
        ({"quality": 40}, Target(quality=40)),
        ({"size": 2000}, Target(size=2000)),
        ({"lagrangian": 0.01}, Target(lagrangian=0.01)),
    ],
)
def test_save_targets(keyword: dict, target: Target, fake_codec: FakeCodec) -> None:
    PILImage.fromarray(samples_of(3)).save(io.BytesIO(), "AQT", **keyword)
    assert fake_codec.calls[-1]["target"] == target


def test_metadata_of_the_source_is_not_written_unasked(photo: np.ndarray) -> None:
    image = PILImage.fromarray(photo)
    exif = PILImage.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image.info.update(exif=exif.tobytes(), xmp=b'<x tiff:Orientation="6"/>', icc_profile=matrix_profile())
    out = io.BytesIO()
    image.save(out, "AQT")
    decoded = decode(out.getvalue())
    assert (decoded.exif, decoded.xmp, decoded.icc) == (None, None, None)
    assert decoded.to_array().shape == photo.shape  # not turned
    assert np.abs(decoded.to_array().astype(int) - photo).max() > 20  # but converted to sRGB
    assert image.info["icc_profile"] == matrix_profile()


def test_a_failing_save_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.aqt"
    image = PILImage.fromarray(samples_of(3))
    with pytest.raises(ValueError, match="not 101"):
        image.save(path, quality=101)
    with pytest.raises(OSError, match="cannot write mode F as AQT"):
        PILImage.new("F", (2, 2), 300).save(path)
    assert not path.exists()


def test_bomb_guard_comes_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = container.write(Header("overfitted", 65535, 65535), {Chunk.PAYLOAD: b""})
    with pytest.raises(PILImage.DecompressionBombError, match="4294836225 pixels"):
        opened(bomb)
    data = encode(samples_of(3))
    monkeypatch.setattr(PILImage, "MAX_IMAGE_PIXELS", 50)
    with pytest.warns(PILImage.DecompressionBombWarning):
        opened(data).load()


def test_cut_and_damaged_files() -> None:
    data = encode(samples_of(3))
    for length in range(len(data)):
        error = UnidentifiedImageError if length < 14 else OSError
        with pytest.raises(error) as caught:
            opened(data[:length]).load()
        assert length < 14 or "the file ends in" in str(caught.value)
    damaged = bytearray(data)
    damaged[-10] ^= 1
    image = opened(bytes(damaged))
    assert image.size == (9, 6)
    with pytest.raises(OSError, match="checksum"):
        image.load()


def test_cut_files_are_not_shown_even_if_pillow_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(OSError, match="the file ends in"):
        opened(encode(samples_of(3))[:-5]).load()


def test_verify() -> None:
    data = encode(samples_of(3))
    opened(data).verify()
    with pytest.raises(OSError, match="the file ends in"):
        opened(data[:-1]).verify()


def test_a_newer_version_is_named() -> None:
    data = bytearray(encode(samples_of(3)))
    data[8] = 2
    with (
        pytest.warns(UserWarning, match=r"version 2 of the \.aqt format is not supported"),
        pytest.raises(UnidentifiedImageError),
    ):
        opened(bytes(data))


def test_registering_twice_is_harmless(tmp_path: Path) -> None:
    importlib.reload(aquatint.pillow)
    PILImage.fromarray(samples_of(3)).save(tmp_path / "A.AQT")
    with PILImage.open(tmp_path / "A.AQT") as image:
        image.load()
        assert image.size == (9, 6)
    assert PILImage.ID.count("AQT") == 1
    assert PILImage.registered_extensions()[".aqt"] == "AQT"
    assert PILImage.MIME["AQT"] == "image/x-aquatint"


def test_files_are_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.aqt"
    PILImage.fromarray(samples_of(3)).save(path)
    image = PILImage.open(path)
    assert isinstance(image, ImageFile.ImageFile)
    file = image.fp
    assert file is not None
    image.load()
    assert file.closed
    copy = image.copy()
    image.close()
    assert copy.getpixel((0, 0)) == tuple(samples_of(3)[0, 0].tolist())
