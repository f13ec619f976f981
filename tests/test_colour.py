"""Colour profiles of pictures: which are dropped, converted, carried along or ignored."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from conftest import P3_COLORANTS, gray_profile, matrix_profile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage
from PIL import ImageCms

from aquatint import colour, png16
from aquatint.image import from_pil, read

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def reference_transform(samples: np.ndarray, icc: bytes) -> np.ndarray:
    """8-bit samples in sRGB by Little CMS."""
    image = PILImage.fromarray(samples)
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(icc)),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        image.mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    converted = transform.apply(image)
    assert converted is not None
    return np.asarray(converted)


def with_profile(samples: np.ndarray, icc: bytes) -> PILImage.Image:
    image = PILImage.fromarray(samples)
    image.info["icc_profile"] = icc
    return image


def test_srgb_profile_is_dropped(photo: np.ndarray) -> None:
    image = from_pil(with_profile(photo, SRGB))
    assert image.icc is None
    assert np.array_equal(image.to_array(), photo)


def test_wide_profile_is_converted(photo: np.ndarray) -> None:
    image = from_pil(with_profile(photo, matrix_profile()))
    expected = reference_transform(photo, matrix_profile())
    assert image.icc is None
    assert np.abs(image.to_array().astype(int) - expected).max() <= 1
    assert np.abs(expected.astype(int) - photo).max() > 20  # it is a real change


def curve_of(kind: int, *parameters: float) -> bytes:
    return b"para" + bytes(4) + struct.pack(f">HH{len(parameters)}i", kind, 0, *(round(65536 * p) for p in parameters))


def table_curve() -> bytes:
    levels = np.rint(65535 * np.linspace(0, 1, 40) ** 1.7).astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">I", 40) + levels.tobytes()


@pytest.mark.parametrize(
    "curve",
    [
        curve_of(0, 1.8),
        curve_of(1, 2.0, 0.9, 0.1),
        curve_of(2, 2.0, 0.8, 0.1, 0.02),
        curve_of(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
        curve_of(4, 2.2, 0.9, 0.08, 0.2, 0.05, 0.01, 0.002),
        table_curve(),
        b"curv" + bytes(8),
    ],
    ids=["para0", "para1", "para2", "para3", "para4", "table", "identity"],
)
def test_every_kind_of_curve(curve: bytes, photo: np.ndarray) -> None:
    icc = matrix_profile(P3_COLORANTS, curve=curve)
    image = from_pil(with_profile(photo, icc))
    assert image.icc is None
    difference = np.abs(image.to_array().astype(int) - reference_transform(photo, icc))
    assert difference.max() <= 2  # Little CMS interpolates tables of its own in the darks
    assert difference.mean() < 0.1


def test_16_bits_keep_their_precision_through_a_profile() -> None:
    levels = np.arange(30000, 30512, dtype=np.uint16)
    samples = np.stack([levels, levels, levels], axis=1)[None]
    image = read(io.BytesIO(png16.write(samples, icc=matrix_profile(gamma=1.8))))
    assert (image.depth, image.icc) == (16, None)
    gray = image.to_array()[0, :, 1].astype(int)
    linear = (levels / 65535) ** 1.80078125  # as the profile holds 1.8: in 256ths
    assert np.abs(gray - 65535 * (1.055 * linear ** (1 / 2.4) - 0.055)).max() < 8
    assert (np.diff(gray) >= 0).all()
    assert len(set(gray)) > 350


def test_gray_profile(photo: np.ndarray) -> None:
    gray = photo[..., 1].copy()
    image = from_pil(with_profile(gray, gray_profile(1.8)))
    assert image.icc is None
    assert image.grayscale
    assert np.abs(image.to_array().astype(int) - reference_transform(gray, gray_profile(1.8))[..., 0]).max() <= 1


def test_rgb_profile_of_a_gray_picture(photo: np.ndarray) -> None:
    gray = photo[..., 1].copy()
    same = from_pil(with_profile(gray, SRGB))
    assert same.icc is None
    assert np.array_equal(same.to_array(), gray)
    converted = from_pil(with_profile(gray, matrix_profile(gamma=1.8)))
    assert converted.icc is None
    assert np.array_equal(converted.pixels[..., 0], converted.pixels[..., 2])
    assert np.abs(converted.to_array().astype(int) - reference_transform(gray, gray_profile(1.8))[..., 0]).max() <= 1


def test_other_profiles_go_through_little_cms(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colour, "_float_transform", lambda *_: None)
    image = from_pil(with_profile(photo, matrix_profile()))
    assert image.icc is None
    assert np.abs(image.to_array().astype(int) - reference_transform(photo, matrix_profile())).max() <= 1
    deep = read(io.BytesIO(png16.write(photo.astype(np.uint16) * 257, icc=matrix_profile())))
    assert deep.icc == matrix_profile()  # 8 bits would be a loss: the profile stays with the pixels
    assert np.array_equal(deep.to_array(), photo.astype(np.uint16) * 257)


@pytest.mark.parametrize(
    "icc", [b"junk", matrix_profile()[:200], gray_profile(2.0), matrix_profile().replace(b"rTRC", b"none")]
)
def test_a_profile_that_cannot_be_used_travels(icc: bytes, photo: np.ndarray) -> None:
    image = from_pil(with_profile(photo, icc))
    assert image.icc == icc
    assert np.array_equal(image.to_array(), photo)
    assert image.to_pil().info["icc_profile"] == icc


@given(st.binary(max_size=400), st.integers(0, 600), st.binary(min_size=1, max_size=8))
def test_hostile_profiles_raise_nothing(junk: bytes, position: int, patch: bytes) -> None:
    bent = bytearray(matrix_profile())
    bent[position : position + len(patch)] = patch
    for icc in (junk, bytes(bent)):
        pixels = np.linspace(0, 1, 60, dtype=np.float32).reshape(4, 5, 3)
        colour.to_srgb(pixels, icc, depth=8, grayscale=False)
        assert pixels.min() >= 0
        assert pixels.max() <= 1
