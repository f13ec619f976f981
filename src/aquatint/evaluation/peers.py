"""The codecs to compare with: through Pillow and its plugins, or their own tools."""

from __future__ import annotations

import copy
import importlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, features

from aquatint.errors import DependencyError
from aquatint.evaluation.coders import Coder
from aquatint.evaluation.search import Searched
from aquatint.evaluation.tools import Jpegli, MozJpeg, Vvc


@dataclass(frozen=True)
class Pillow(Searched):
    """A format that Pillow writes.

    Attributes:
        name, extension: see `Coder`.
        format: as Pillow names it.
        options: of `Image.save`, the same at all qualities.
        qualities: in order of growing files.
        quality: the options for one of them.
        threads: the option that takes a number of threads.
        feature: of Pillow, whose version is reported.
        plugin: a package that brings the format, and its function or module to call or import.
    """

    name: str
    extension: str
    format: str
    options: Mapping[str, Any]
    qualities: Sequence[float] = range(101)
    quality: str = "quality"
    threads: str | None = None
    feature: str | None = None
    plugin: str | None = None

    def describe(self) -> Mapping[str, object]:
        version = self._load()
        return {"version": version, "settings": {"format": self.format, **self.options, self.quality: "searched"}}

    def encode_at(self, pixels: np.ndarray, quality: float, threads: int) -> bytes:
        self._load()
        options = copy.deepcopy(dict(self.options))  # plugins write into what they are given
        options |= {self.quality: [quality] if self.quality == "quality_layers" else quality}
        if self.threads is not None:
            options[self.threads] = threads
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, self.format, **options)
        return out.getvalue()

    def decode(self, data: bytes, *, threads: int) -> np.ndarray:
        self._load()
        with Image.open(io.BytesIO(data), formats=[self.format]) as picture:
            return np.array(picture.convert("RGB"))

    def _load(self) -> str:
        """Makes the format known to Pillow; its version."""
        if self.plugin is not None:
            return _PLUGINS[self.plugin]()
        if self.feature is None or not features.check(self.feature):
            raise DependencyError(f"{self.name}: this Pillow was built without {self.format}")
        version = f"{self.feature} {features.version(self.feature)}, Pillow {features.version('pil')}"
        return f"{version}, {_av1_codecs()}" if self.format == "AVIF" else version


def _av1_codecs() -> str:
    """libavif's encoder and decoder, which its own version does not tell."""
    return importlib.import_module("PIL._avif").codec_versions()


def _heif() -> str:
    module = _import("pillow_heif", "pillow-heif")
    module.register_heif_opener()
    info = module.libheif_info()
    return f"libheif {info['libheif']}, {info['HEIF'] or 'no HEVC encoder'}"


def _jxl() -> str:
    from importlib import metadata

    _import("pillow_jxl", "pillow-jxl-plugin")
    return f"pillow-jxl-plugin {metadata.version('pillow-jxl-plugin')}"


def _import(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise DependencyError(f"Pillow needs a plugin: pip install {package}") from None


_PLUGINS: dict[str, Callable[[], str]] = {"heif": _heif, "jxl": _jxl}

_AVIF = {"speed": 4, "subsampling": "4:4:4"}
_RATIOS = tuple(24 / bpp for bpp in np.geomspace(0.01, 8, 600).tolist())  # of compression, in steps of 1 %

PEERS: dict[str, Coder] = {
    coder.name: coder
    for coder in (
        Pillow(
            "jpeg",
            ".jpg",
            "JPEG",
            {"optimize": True, "progressive": True, "subsampling": "4:2:0"},
            range(1, 101),
            feature="libjpeg_turbo",
        ),
        MozJpeg(),
        Jpegli(),
        Pillow("webp", ".webp", "WEBP", {"method": 6}, np.linspace(0, 100, 201).tolist(), feature="webp"),
        # libaom's default tuning ("tune=iq" or "ssim" by version) and PSNR differ by far more than most codecs do.
        Pillow("avif", ".avif", "AVIF", _AVIF, threads="max_threads", feature="avif"),
        Pillow(
            "avif-psnr",
            ".avif",
            "AVIF",
            _AVIF | {"advanced": {"tune": "psnr"}},
            threads="max_threads",
            feature="avif",
        ),
        Pillow(
            "jxl",
            ".jxl",
            "JXL",
            {"effort": 7},
            np.linspace(0, 100, 201).tolist(),
            threads="num_threads",
            plugin="jxl",
        ),
        Pillow(
            "heic",
            ".heic",
            "HEIF",
            {"chroma": 444, "enc_params": {"preset": "slow", "tune": "psnr"}},
            plugin="heif",
        ),
        Pillow(
            "jpeg2000",
            ".jp2",
            "JPEG2000",
            {"quality_mode": "rates", "irreversible": True, "mct": 1},
            _RATIOS,
            quality="quality_layers",
            feature="jpg_2000",
        ),
        Vvc(),
    )
}
