"""Pictures in and out: every mode and depth, orientation, metadata, and files that are wrong."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import cmyk_profile, matrix_profile
from PIL import Image as PILImage
from PIL import ImageOps

from aquatint import png16
from aquatint.errors import ImageError, LimitError, UsageError
from aquatint.image import Image, from_array, from_pil, read

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def ramp(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    """Samples that differ everywhere."""
    values = np.random.default_rng(3).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    values.flat[0] = 0  # so that an alpha channel is never opaque
    values.flat[-1] = 0
    return values


def file_of(image: PILImage.Image, format: str = "PNG", **options: object) -> io.BytesIO:
    out = io.BytesIO()
    image.save(out, format, **options)
    out.seek(0)
    return out


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (5, 7, 2), (5, 7, 3), (5, 7, 4)])
def test_arrays_round_trip(shape: tuple[int, ...], dtype: type) -> None:
    samples = ramp(*shape, dtype=dtype)
    image = from_array(samples)
    assert image.pixels.dtype == np.float32
    assert image.to_array().dtype == dtype
    assert np.array_equal(image.to_array(), samples)
    assert np.array_equal(np.asarray(image), samples)
    assert (image.height, image.width, image.depth) == (*shape[:2], 8 * np.dtype(dtype).itemsize)


def test_every_level_of_16_bits_survives() -> None:
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(from_array(levels).to_array(), levels)


def test_one_channel_is_gray() -> None:
    image = from_array(ramp(4, 5, 1))
    assert image.grayscale
    assert image.to_array().shape == (4, 5)
    assert np.array_equal(image.pixels[..., 0], image.pixels[..., 2])


def test_floats_are_taken_as_they_are() -> None:
    samples = np.array([[[0.0, 0.5, 1.0, 0.25]]])
    image = from_array(samples)
    assert image.pixels.tolist() == [[[0.0, 0.5, 1.0]]]
    assert image.alpha is not None
    assert image.alpha.tolist() == [[64]]
    assert image.depth == 8


def test_opaque_alpha_is_dropped() -> None:
    samples = ramp(3, 3, 4)
    samples[..., 3] = 255
    assert from_array(samples).alpha is None
    assert from_array(np.ones((2, 2, 2))).alpha is None


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 5, 3), np.uint8), "5x0"),
        (np.zeros((2, 65536), np.uint8), "65536x2"),
        (np.zeros((2, 2, 5), np.uint8), r"not \(2, 2, 5\)"),
        (np.zeros((5,), np.uint8), r"not \(5,\)"),
        (np.zeros((2, 2, 3), np.int32), "not int32"),
        (np.zeros((2, 2, 3), bool), "not bool"),
        (np.full((2, 2, 3), np.nan), "nan"),
        (np.full((2, 2, 3), 1.01), "1.01"),
        (np.full((2, 2, 3), -0.5), "-0.5"),
        (np.full((2, 2, 3), np.inf), "inf"),
        (np.full((2, 2, 4), np.array([0, 0, 0, np.nan])), "alpha must lie"),
    ],
)
def test_arrays_that_are_no_pictures(array: np.ndarray, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        from_array(array)


def test_rounding_errors_of_double_precision_are_no_errors() -> None:
    assert from_array(np.full((1, 1), 1 + 1e-12)).pixels.max() == 1


def test_pixel_limit() -> None:
    samples = ramp(10, 10)
    assert from_array(samples, max_pixels=100).width == 10
    with pytest.raises(LimitError, match="10x10 = 100 pixels; the limit is 99"):
        from_array(samples, max_pixels=99)
    with pytest.raises(LimitError, match="the limit is 99"):
        from_pil(PILImage.fromarray(samples), max_pixels=99)
    with pytest.raises(LimitError, match="the limit is 99"):
        read(file_of(PILImage.fromarray(samples)), max_pixels=99)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixels": np.zeros((2, 2, 3))}, "not float64"),
        ({"pixels": np.zeros((2, 2), np.float32)}, r"shape \(2, 2\)"),
        ({"alpha": np.zeros((2, 3), np.uint8)}, r"\(2, 3\)"),
        ({"alpha": np.zeros((2, 2), np.uint16)}, "must be uint8"),
        ({"depth": 10}, "not 10"),
    ],
)
def test_a_picture_checks_its_arrays(changes: dict, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        Image(**{"pixels": np.zeros((2, 2, 3), np.float32), **changes})


# ---- modes of Pillow


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_modes_of_8_bits(mode: str) -> None:
    channels = len(PILImage.new(mode, (1, 1)).getbands())
    samples = ramp(6, 5, channels)
    image = from_pil(PILImage.fromarray(samples.squeeze()))
    assert np.array_equal(np.atleast_3d(image.to_array()), samples)
    assert image.grayscale == (channels < 3)
    back = image.to_pil()
    assert back.mode == mode
    assert np.array_equal(np.asarray(back), samples.squeeze())


def test_bilevel() -> None:
    bits = np.array([[True, False, True]])
    assert from_pil(PILImage.fromarray(bits)).to_array().tolist() == [[255, 0, 255]]


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_gray_of_16_bits(mode: str) -> None:
    samples = ramp(6, 5, dtype=np.uint16)
    source = PILImage.fromarray(samples.astype({"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode]))
    assert source.mode == mode
    image = from_pil(source)
    assert (image.depth, image.grayscale) == (16, True)
    assert np.array_equal(image.to_array(), samples)
    assert image.to_pil().mode == "I;16"
    assert np.array_equal(np.asarray(image.to_pil()), samples)


def test_integers_beyond_16_bits_are_refused() -> None:
    with pytest.raises(ImageError, match="from -1 to 70000"):
        from_pil(PILImage.fromarray(np.array([[-1, 70000]], np.int32)))


def test_float_mode() -> None:
    image = from_pil(PILImage.fromarray(np.array([[0.0, 0.3, 1.0]], np.float32)))
    assert (image.depth, image.grayscale) == (16, True)
    assert image.to_array().tolist() == [[0, 19661, 65535]]
    with pytest.raises(ImageError, match="255"):
        from_pil(PILImage.fromarray(np.array([[0.0, 255.0]], np.float32)))


def test_palette() -> None:
    image = PILImage.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    assert from_pil(image).to_array().tolist() == [[[10, 20, 30], [200, 100, 50]]]
    assert read(file_of(image)).to_array().tolist() == [[[10, 20, 30], [200, 100, 50]]]
    # One transparent index (GIF) and an opacity for each (PNG).
    assert read(file_of(image, "GIF", transparency=1)).to_array()[0, :, 3].tolist() == [255, 0]
    assert read(file_of(image, transparency=b"\x40\xff")).to_array()[0].tolist() == [
        [10, 20, 30, 64],
        [200, 100, 50, 255],
    ]


def test_transparent_colours() -> None:
    rgb = PILImage.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert read(file_of(rgb, transparency=(1, 2, 3))).to_array()[0, :, 3].tolist() == [0, 255]
    gray = PILImage.fromarray(np.array([[7, 8]], np.uint8))
    assert read(file_of(gray, transparency=7)).to_array().tolist() == [[[7, 0], [8, 255]]]
    deep = PILImage.fromarray(np.array([[7, 65535]], np.uint16))
    assert read(file_of(deep, transparency=7)).to_array().tolist() == [[[7, 0], [65535, 65535]]]


def test_premultiplied_alpha() -> None:
    image = PILImage.fromarray(np.array([[[200, 100, 50, 128]]], np.uint8)).convert("RGBa")
    assert np.abs(from_pil(image).to_array().astype(int) - [200, 100, 50, 128]).max() <= 1


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "RGBX"])
def test_other_colour_modes(mode: str, small_photo: np.ndarray) -> None:
    image = PILImage.fromarray(small_photo)
    assert np.array_equal(from_pil(image.convert(mode)).to_array(), np.asarray(image.convert(mode).convert("RGB")))


def test_cmyk_without_a_profile() -> None:
    image = PILImage.new("CMYK", (1, 1), (0, 255, 255, 0))
    assert from_pil(image).to_array().tolist() == [[[255, 0, 0]]]
    image.info["icc_profile"] = b"not a profile"
    converted = from_pil(image)
    assert converted.to_array().tolist() == [[[255, 0, 0]]]
    assert converted.icc is None


def test_cmyk_goes_through_its_profile() -> None:
    inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255], [0, 128, 0, 0]]], np.uint8)
    source = PILImage.fromarray(inks, "CMYK")
    source.info["icc_profile"] = cmyk_profile()
    image = from_pil(source)
    assert image.icc is None
    lightness = np.array([100, 200 / 3, 0, 100 * (1 - 128 / 255 / 3)])
    linear = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3)
    expected = 255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    assert np.abs(image.to_array()[0] - expected[:, None]).max() <= 2
    cyan = PILImage.new("CMYK", (8, 8), (255, 0, 0, 0))
    printed = read(file_of(cyan, "JPEG", quality=100, icc_profile=cmyk_profile())).to_array()
    assert np.abs(printed - expected[1]).max() <= 2


def test_lab() -> None:
    lab = PILImage.merge("LAB", [PILImage.new("L", (1, 1), value) for value in (255, 128, 128)])
    assert from_pil(lab).to_array().min() >= 254
    red = PILImage.merge("LAB", [PILImage.new("L", (1, 1), value) for value in (138, 209, 198)])  # L* 54, a* 81, b* 70
    assert np.abs(from_pil(red).to_array().astype(int) - [255, 0, 0]).max() <= 6


# ---- orientation and metadata


def exif_with(orientation: int) -> PILImage.Exif:
    exif = PILImage.Exif()
    exif[0x010F] = "Maker"
    exif[0x0112] = orientation
    exif[0x8769] = {0x9003: "2020:01:02 03:04:05"}
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_orientation_is_applied_and_the_rest_kept(orientation: int, format: str) -> None:
    source = PILImage.fromarray(ramp(4, 7, 3))
    file = file_of(
        source, format, exif=exif_with(orientation).tobytes(), **({"lossless": True} if format == "WEBP" else {})
    )
    source.getexif()[0x0112] = orientation
    image = read(file)
    assert np.array_equal(image.to_array(), np.asarray(ImageOps.exif_transpose(source)))
    assert image.exif is not None
    kept = PILImage.Exif()
    kept.load(image.exif)
    assert kept.get(0x0112, 1) == 1
    assert kept[0x010F] == "Maker"
    assert kept.get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"


def test_orientation_of_16_bits() -> None:
    samples = ramp(2, 3, 3, dtype=np.uint16)
    tiff = exif_with(6).tobytes()[6:]
    image = read(io.BytesIO(png16.write(samples, exif=tiff)))
    assert np.array_equal(image.to_array(), np.rot90(samples, -1))
    # Only the orientation has changed: absolute offsets inside of EXIF stay right.
    assert image.exif is not None
    assert [(a, b) for a, b in zip(tiff, image.exif, strict=True) if a != b] == [(6, 1)]


def test_orientation_in_xmp() -> None:
    source = PILImage.fromarray(ramp(4, 7, 3))
    image = read(file_of(source, "WEBP", lossless=True, xmp=XMP))
    assert image.xmp == XMP.replace(b'"6"', b'"1"')
    assert np.array_equal(image.to_array(), np.rot90(np.asarray(source), -1))


@pytest.mark.parametrize(
    "exif", [b"", b"junk", b"Exif\0\0junk", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff\x01"]
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # of Pillow
def test_exif_that_cannot_be_read_is_dropped(exif: bytes) -> None:
    source = PILImage.fromarray(ramp(2, 2, 3))
    source.info["exif"] = exif
    assert from_pil(source).exif is None


@pytest.mark.parametrize(("format", "depth"), [("PNG", 8), ("PNG", 16), ("WEBP", 8), ("TIFF", 8), ("JPEG", 8)])
def test_metadata_is_written(format: str, depth: int, tmp_path: Path) -> None:
    samples = ramp(5, 6, 3, dtype=np.uint16 if depth == 16 else np.uint8)
    exif, xmp = exif_with(1).tobytes()[6:], XMP.replace(b'"6"', b'"1"')
    image = Image(from_array(samples).pixels, depth=depth, icc=b"unknown", exif=exif, xmp=xmp)
    path = tmp_path / f"a.{format.lower()}"
    image.write(path)
    back = read(path)
    assert back.icc == b"unknown"
    kept = PILImage.Exif()
    kept.load(back.exif or b"")
    assert kept[0x010F] == "Maker"
    assert back.xmp == (None if format == "TIFF" else xmp)
    if format != "JPEG":
        assert np.array_equal(back.to_array(), samples)


# ---- files


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_files_round_trip(channels: int, dtype: type, tmp_path: Path) -> None:
    samples = ramp(9, 4, channels, dtype=dtype)
    image = from_array(samples)
    for name in ("a.png", "without_extension"):
        image.write(tmp_path / name)
        back = read(str(tmp_path / name))
        assert back.depth == image.depth
        assert np.array_equal(np.atleast_3d(back.to_array()), samples)
    stream = io.BytesIO()
    image.write(stream)
    assert stream.getvalue() == (tmp_path / "a.png").read_bytes()


def test_16_bits_in_other_formats(tmp_path: Path) -> None:
    gray = from_array(ramp(4, 4, dtype=np.uint16))
    gray.write(tmp_path / "a.tiff")
    assert np.array_equal(read(tmp_path / "a.tiff").to_array(), gray.to_array())
    gray.write(tmp_path / "a.webp")
    assert np.abs(read(tmp_path / "a.webp").to_array()[..., 0] * 257.0 - gray.to_array()).max() <= 129
    samples = np.array([[[0, 128, 129], [65535, 65407, 65406]]], np.uint16)
    assert np.asarray(from_array(samples).to_pil()).tolist() == [[[0, 0, 1], [255, 255, 254]]]


def test_formats_that_do_not_fit(tmp_path: Path) -> None:
    image = from_array(ramp(3, 3, 4))
    with pytest.raises(ImageError, match="mode RGBA cannot be written as JPEG"):
        image.write(tmp_path / "a.jpg")
    with pytest.raises(UsageError, match=r"'\.xyz'"):
        image.write(tmp_path / "a.xyz")
    with pytest.raises(UsageError, match="'NOPE'"):
        image.write(io.BytesIO(), "nope")
    assert list(tmp_path.iterdir()) == []


def test_animation_gives_its_first_frame() -> None:
    frames = [PILImage.new("L", (2, 1), value) for value in (10, 200)]
    file = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="only the first is read"):
        image = read(file)
    assert image.to_array().reshape(-1)[0] == 10


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"P6\n0 0\n255\n"])
def test_files_that_are_no_pictures(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "junk.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"junk\.png"):
        read(path)
    with pytest.raises(ImageError, match="the stream"):
        read(io.BytesIO(content))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "deep PNG"])
def test_truncated_files(format: str, photo: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "cut.img"
    if format == "deep PNG":
        data = png16.write(photo.astype(np.uint16) * 257)
    else:
        data = file_of(PILImage.fromarray(photo), format).getvalue()
    for share in (0.1, 0.5, 0.9):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(ImageError, match=r"cut\.img"):
            read(path)


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    good = file_of(PILImage.new("L", (1, 1))).getvalue()
    for side, error in ((9000, LimitError), (30000, LimitError), (70000, ImageError)):
        header = struct.pack(">II", side, side if side < 60000 else 1) + good[24:29]
        path.write_bytes(good[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + good[33:])
        with pytest.raises(error, match=r"bomb\.png.*\d{2,}"):
            read(path)


def test_missing_files_and_wrong_sources(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "missing.png")
    with pytest.raises(UsageError, match="not int"):
        read(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "deep RGB", "wide RGB"])
def test_reading_takes_at_most_40_bytes_a_pixel(kind: str, tmp_path: Path) -> None:
    samples = ramp(800, 1000, 4 if kind == "RGBA" else 3, dtype=np.uint16 if "deep" in kind else np.uint8)
    path = tmp_path / "a.png"
    from_array(samples).write(path)
    if kind == "wide RGB":
        PILImage.fromarray(samples).save(path, icc_profile=matrix_profile())
    size = path.stat().st_size  # incompressible here, unlike a photograph: not what is measured
    tracemalloc.start()
    read(path)
    peak = tracemalloc.get_traced_memory()[1] - 2 * size * ("deep" in kind)
    tracemalloc.stop()
    pillow = 4 * samples[..., 0].size  # Pillow's own memory is not traced
    assert peak + pillow <= 40 * samples[..., 0].size + 2**23  # and the tables for a band of pixels


def test_kodak_is_read_exactly(kodak: list[Path]) -> None:
    with PILImage.open(kodak[0]) as image:
        assert np.array_equal(read(kodak[0]).to_array(), np.asarray(image))
