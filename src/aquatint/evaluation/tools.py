"""Codecs by their own command-line tools: mozjpeg, jpegli, and VVC by vvenc and vvdec."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from aquatint.errors import AquatintError, DependencyError
from aquatint.evaluation.search import Searched

LONGEST_RUN = 3600.0  # seconds: a tool that takes longer hangs


class ToolError(AquatintError):
    """A command-line tool failed; the message has the last line that it said."""


def run(command: Sequence[str], *, given: bytes = b"", status: bool = True) -> bytes:
    """Standard output of a tool; standard error too if its status does not matter.

    Raises:
        DependencyError: there is no such tool.
        ToolError: it ended with a status other than 0, or not within `LONGEST_RUN`.
    """
    if shutil.which(command[0]) is None:
        raise DependencyError(f"the tool {command[0]} is not installed, or not on the PATH")
    error = subprocess.PIPE if status else subprocess.STDOUT
    try:
        result = subprocess.run(command, input=given, stdout=subprocess.PIPE, stderr=error, timeout=LONGEST_RUN)
    except subprocess.TimeoutExpired:
        raise ToolError(f"{command[0]} was stopped after {LONGEST_RUN:.0f} seconds") from None
    if status and result.returncode != 0:
        said = (result.stderr or b"").decode(errors="replace").strip().splitlines()
        raise ToolError(f"{command[0]} ended with status {result.returncode}: {said[-1] if said else 'no message'}")
    return result.stdout


def version(command: Sequence[str]) -> str:
    """The first line that a tool says about its version.

    Raises:
        DependencyError: there is no such tool.
    """
    lines = run(command, status=False).decode(errors="replace").strip().splitlines()
    return lines[0].strip() if lines else "unknown"


def _ppm(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PPM")
    return out.getvalue()


def _decode_jpeg(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
        return np.array(picture.convert("RGB"))


@dataclass(frozen=True)
class MozJpeg(Searched):
    """JPEG by mozjpeg's `cjpeg`, which optimises scans and quantised coefficients (trellis)."""

    name = "mozjpeg"
    extension = ".jpg"
    qualities = range(1, 101)

    def describe(self) -> Mapping[str, object]:
        said = version(["cjpeg", "-version"])
        if "mozjpeg" not in said:
            raise DependencyError(f"the tool cjpeg on the PATH is not mozjpeg's but {said!r}")
        return {"version": said, "settings": "cjpeg -quality Q"}

    def encode_at(self, pixels: np.ndarray, quality: float, threads: int) -> bytes:
        return run(["cjpeg", "-quality", f"{quality}"], given=_ppm(pixels))

    def decode(self, data: bytes, *, threads: int) -> np.ndarray:
        return _decode_jpeg(data)


@dataclass(frozen=True)
class Jpegli(Searched):
    """JPEG by libjxl's `cjpegli`, decoded by an ordinary decoder as on the web."""

    name = "jpegli"
    extension = ".jpg"
    qualities = range(1, 101)

    def describe(self) -> Mapping[str, object]:
        cjpegli = version(["cjpegli", "--version"])
        return {"version": cjpegli, "settings": "cjpegli -q Q"}

    def encode_at(self, pixels: np.ndarray, quality: float, threads: int) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "in.ppm"), Path(folder, "out.jpg")
            source.write_bytes(_ppm(pixels))
            run(["cjpegli", str(source), str(target), "-q", f"{quality}"])
            return target.read_bytes()

    def decode(self, data: bytes, *, threads: int) -> np.ndarray:
        return _decode_jpeg(data)


@dataclass(frozen=True)
class Vvc(Searched):
    """VVC intra by `vvencapp`, 4:2:0 of 10 bits without perceptual weighting, decoded by `vvdecapp`.

    The stream has no container; what a decoder must know besides, the size of a picture of odd sides, goes into four
    bytes before it, which count.
    """

    name = "vvc"
    extension = ".266"
    qualities = range(63, -1, -1)  # the quantisation parameter

    def describe(self) -> Mapping[str, object]:
        said = f"{version(['vvencapp', '--version'])}; {version(['vvdecapp', '--version'])}"
        return {"version": said, "settings": " ".join(self._command("IN", "WxH", "QP", "OUT", 0))}

    @staticmethod
    def _command(source: str, size: str, quality: str, target: str, threads: int) -> list[str]:
        options = ["-c", "yuv420_10", "-r", "1", "-f", "1", "--preset", "slow", "--qpa", "0", "-t", f"{threads}"]
        return ["vvencapp", "-i", source, "-s", size, *options, "-q", quality, "-o", target]

    def encode_at(self, pixels: np.ndarray, quality: float, threads: int) -> bytes:
        height, width, _ = pixels.shape
        even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        size = f"{even.shape[1]}x{even.shape[0]}"
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "in.yuv"), Path(folder, "out.266")
            source.write_bytes(to_yuv420(even))
            run(self._command(str(source), size, f"{quality}", str(target), threads))
            return height.to_bytes(2, "big") + width.to_bytes(2, "big") + target.read_bytes()

    def decode(self, data: bytes, *, threads: int) -> np.ndarray:
        height, width = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "in.266"), Path(folder, "out.yuv")
            source.write_bytes(data[4:])
            run(["vvdecapp", "-b", str(source), "-o", str(target), "-t", f"{threads}"])
            samples = target.read_bytes()
        return from_yuv420(samples, height + height % 2, width + width % 2)[:height, :width]


# ITU-R BT.709 with the full range of 10 bits: weights of luma, and what scales the colour differences to [-1/2, 1/2].
_LUMA = np.array([0.2126, 0.7152, 0.0722])
_BLUE, _RED = 1.8556, 1.5748
_PEAK = 1023


def to_yuv420(pixels: np.ndarray) -> bytes:
    """Planes Y, U and V of 10 bits in 16, the colour differences averaged over 2x2 pixels.

    Arguments:
        pixels: uint8 of shape (H, W, 3), both sides even.
    """
    rgb = pixels / 255
    luma = rgb @ _LUMA
    height, width = luma.shape
    planes = [luma]
    for difference in ((rgb[..., 2] - luma) / _BLUE, (rgb[..., 0] - luma) / _RED):
        planes.append(difference.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)) + 0.5)
    return b"".join(np.clip(np.round(plane * _PEAK), 0, _PEAK).astype("<u2").tobytes() for plane in planes)


def from_yuv420(samples: bytes, height: int, width: int) -> np.ndarray:
    """The inverse of `to_yuv420`, colour differences interpolated linearly: uint8 of shape (H, W, 3).

    Raises:
        ToolError: the samples are not those of a picture of this size.
    """
    pixels = height * width
    if len(samples) != 3 * pixels:
        raise ToolError(f"a picture of {width}x{height} has {3 * pixels} bytes of samples, not {len(samples)}")
    flat = np.frombuffer(samples, "<u2") / _PEAK
    luma = flat[:pixels].reshape(height, width)
    blue, red = (_double(plane) - 0.5 for plane in flat[pixels:].reshape(2, height // 2, width // 2))
    b, r = luma + _BLUE * blue, luma + _RED * red
    g = (luma - _LUMA[0] * r - _LUMA[2] * b) / _LUMA[1]
    return np.round(255 * np.clip(np.stack([r, g, b], axis=2), 0, 1)).astype(np.uint8)


def _double(plane: np.ndarray) -> np.ndarray:
    """A plane with twice the rows and columns, interpolated between the centres of its samples."""
    for axis in (0, 1):
        edges = np.concatenate([plane.take([0], axis), plane, plane.take([-1], axis)], axis)
        count = plane.shape[axis]
        before, after = edges.take(range(count), axis), edges.take(range(2, count + 2), axis)
        pairs = np.stack([0.75 * plane + 0.25 * before, 0.75 * plane + 0.25 * after], axis + 1)
        plane = pairs.reshape([2 * side if k == axis else side for k, side in enumerate(plane.shape)])
    return plane
