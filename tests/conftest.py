"""Fixtures that several test modules share."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image as PILImage

from aquatint import codecs
from aquatint.codecs import Progress, Report, models
from aquatint.codecs.options import Options
from aquatint.codecs.target import Target
from aquatint.container import NO_MODEL, Header
from aquatint.errors import CorruptStreamError, UsageError

if TYPE_CHECKING:
    from aquatint.training.data import Photograph


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of shared photographs: $AQUATINT_DATA, or ../shared/data beside the checkout."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("AQUATINT_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no photographs: set AQUATINT_DATA ({folder} does not exist)")
    return folder


@pytest.fixture
def weights_dir(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of weights at hand, which is also that of the metrics."""
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    folder = data_dir / "weights"
    if not folder.is_dir():
        pytest.skip(f"no weights: {folder} does not exist")
    monkeypatch.setenv("AQUATINT_WEIGHTS", str(folder))
    return folder


@pytest.fixture(scope="session")
def kodak(data_dir: Path) -> list[Path]:
    """The Kodak photographs, 768x512 or 512x768, sorted by name."""
    paths = sorted((data_dir / "kodak").glob("*.png"))
    if not paths:
        pytest.skip(f"no photographs in {data_dir / 'kodak'}")
    return paths


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A crop of a photograph with smooth and textured parts, uint8 (96, 144, 3)."""
    return _sample("coffee")[100:196, 150:294]


@pytest.fixture(scope="session")
def small_photo() -> np.ndarray:
    """A small crop of a photograph, uint8 (37, 29, 3)."""
    return _sample("astronaut")[80:117, 200:229]


@pytest.fixture(scope="session")
def coffee() -> np.ndarray:
    """A photograph, uint8 (400, 600, 3)."""
    return _sample("coffee")


@pytest.fixture(scope="session")
def worse(coffee: np.ndarray) -> np.ndarray:
    """The same as a JPEG of low quality."""
    return jpeg(coffee, 15)


@pytest.fixture
def folder(tmp_path: Path, small_photo: np.ndarray) -> Path:
    """A folder with the photograph photo.png, 29x37."""
    PILImage.fromarray(small_photo).save(tmp_path / "photo.png")
    return tmp_path


@pytest.fixture
def photographs(tmp_path: Path, photo: np.ndarray) -> list[Photograph]:
    """Four overlapping crops of a photograph, 80x96, as training sees them."""
    data = pytest.importorskip("aquatint.training.data", exc_type=ImportError)
    (tmp_path / "photographs").mkdir()
    for k in range(4):
        PILImage.fromarray(photo[:, k * 16 : k * 16 + 80]).save(tmp_path / "photographs" / f"{k}.png")
    return data.find_photographs([tmp_path / "photographs"])


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of the hyperprior codec, `one` of variable rate and `two`, another one."""
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from hyperprior_models import LARGEST_LAMBDA, trained

    from aquatint.training.export import weights

    folder = tmp_path_factory.mktemp("models")
    for name, family in (("one", "channelwise"), ("two", "mean-scale")):
        (folder / f"{name}.safetensors").write_bytes(weights(trained(family), LARGEST_LAMBDA))
    return folder


@pytest.fixture
def installed(models_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same where a codec looks for models, in a folder that may be changed."""
    folder = tmp_path / "models"
    folder.mkdir()
    for path in models_folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    monkeypatch.setenv("AQUATINT_MODELS", str(folder))
    return folder


@pytest.fixture
def lpips_of_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """In training LPIPS is that of the picture itself, which needs no weights."""
    torch = pytest.importorskip("torch")
    lpips = pytest.importorskip("aquatint.perception.lpips").LPIPS(lambda x: [(x, 1)], [torch.ones(3)])
    for module in ("adversarial.generative", "adversarial.labeling", "target_rate"):
        monkeypatch.setattr(f"aquatint.training.{module}.create_lpips", lambda net, device: lpips)


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """What a JPEG of that quality makes of a picture."""
    file = io.BytesIO()
    PILImage.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.array(PILImage.open(file))


def _sample(name: str) -> np.ndarray:
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the sample photographs")
    return getattr(data, name)()


@pytest.fixture(autouse=True)
def _own_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that another test named by its path is not known."""
    monkeypatch.setattr(models, "_given", {})


class FakeCodec:
    """Stores pixels with as many bits as the target allows, deflated: a minimal codec that keeps the contract."""

    def __init__(self) -> None:
        self.calls: list[dict[str, object]] = []

    def model_hash(self, model: str | None) -> bytes:
        return NO_MODEL if model is None else model.encode().ljust(8, b".")

    def encode(
        self,
        pixels: np.ndarray,
        target: Target,
        options: Options,
        *,
        depth: int,
        grayscale: bool,
        overhead: int,
    ) -> tuple[bytes, Report]:
        assert pixels.dtype == np.float32
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
        self.calls.append({**locals(), **vars(options)})
        budget = target.bits(pixels.shape[0] * pixels.shape[1])
        payload = b""
        for bits in range(depth, 0, -1):
            levels = np.floor(pixels * (2**bits - 1) + 0.5).astype("<u2")
            payload = bytes([bits]) + zlib.compress(levels.tobytes(), 9)
            if budget is None or 8 * (len(payload) + overhead) <= budget:
                break
        else:
            if target.size is not None:
                raise UsageError(f"{target.size} bytes are too few; {len(payload) + overhead} are needed")
        if options.progress is not None:
            options.progress(Progress(1, 1, 8 * len(payload) / pixels[..., 0].size, 0.0, 0.0, 0.0))
        return payload, Report(lambda: float("inf"), 8.0 * len(payload), 0.0, 1, 0.0)

    def decode(self, payload: bytes, header: Header, *, threads: int) -> np.ndarray:
        size = header.pixels * 6
        try:
            raw = zlib.decompressobj().decompress(payload[1:], size)
        except zlib.error as error:
            raise CorruptStreamError(f"the payload is damaged: {error}") from None
        if len(raw) != size or not 1 <= payload[0] <= 16:
            raise CorruptStreamError(f"the payload has {len(raw)} bytes of samples, not {size}")
        levels = np.frombuffer(raw, "<u2").reshape(header.height, header.width, 3)
        samples = np.floor(levels / (2 ** payload[0] - 1) * (2**header.depth - 1) + 0.5)
        samples = samples.astype(np.uint16 if header.depth == 16 else np.uint8)
        return samples[..., 0] if header.grayscale else samples

    def describe(self, payload: bytes, header: Header) -> dict[str, object]:
        return {"multiplications_per_pixel": 0.0}


@pytest.fixture
def fake_codec(monkeypatch: pytest.MonkeyPatch) -> FakeCodec:
    """A lossless stand-in for the overfitted codec, so that what surrounds a codec is tested apart from it."""
    codec = FakeCodec()
    monkeypatch.setitem(sys.modules, "fake_codec", codec)  # type: ignore[arg-type]
    monkeypatch.setitem(codecs._MODULES, "overfitted", "fake_codec")
    return codec


# Colorants of Display P3 adapted to D50 (Bradford), as the tags of a matrix profile hold them.
P3_COLORANTS = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))


def matrix_profile(
    colorants: tuple[tuple[float, ...], ...] = P3_COLORANTS, gamma: float = 2.2, curve: bytes | None = None
) -> bytes:
    """An ICC display profile of three colorants (XYZ relative to D50) and one gamma, or one curve as its tag."""
    tags = {
        kind: b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * value) for value in xyz))
        for kind, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True)
    }
    return _profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve or _gamma_curve(gamma)))


def gray_profile(gamma: float) -> bytes:
    """An ICC display profile for grayscale with a gamma."""
    return _profile(b"GRAY", {b"kTRC": _gamma_curve(gamma)})


def cmyk_profile() -> bytes:
    """An ICC printer profile of four grey inks: lightness is (1 - k) (1 - (c + m + y) / 3), interpolated linearly."""
    identity = bytes(range(256))
    table = bytearray()
    for corner in range(16):
        c, m, y, k = (corner >> bit & 1 for bit in (3, 2, 1, 0))
        table += bytes([round(255 * (1 - k) * (1 - (c + m + y) / 3)), 128, 128])
    matrix = struct.pack(">9i", *(65536 * (row == column) for row in range(3) for column in range(3)))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + 4 * identity + table + 3 * identity
    return _profile(b"CMYK", {b"A2B0": lut}, kind=b"prtr", connection=b"Lab ")


def _gamma_curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IHH", 1, round(256 * gamma), 0)


def _profile(space: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr", connection: bytes = b"XYZ ") -> bytes:
    white = struct.pack(">3i", 63190, 65536, 54061)  # D50
    tags = tags | {
        b"wtpt": b"XYZ " + bytes(4) + white,
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(79),
        b"cprt": b"text" + bytes(4) + b"none\0\0\0\0",
    }
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content
    size = 128 + len(table) + len(body)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, kind, space, connection)
    header += bytes(12) + b"acsp" + bytes(28) + white
    return header.ljust(128, b"\0") + table + body
