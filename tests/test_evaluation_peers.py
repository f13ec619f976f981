"""Other codecs, and the search for settings that give a rate."""

from __future__ import annotations

import os
import pickle
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aquatint.errors import AquatintError, DependencyError, UsageError
from aquatint.evaluation import tools
from aquatint.evaluation.coders import Aquatint, Coder, parse
from aquatint.evaluation.peers import PEERS
from aquatint.evaluation.search import OutOfReachError, check_reach, search

posix = pytest.mark.skipif(os.name != "posix", reason="stand-ins for tools are scripts")


def psnr(original: np.ndarray, decoded: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((original.astype(float) - decoded) ** 2)))


# --- search


def test_search_takes_the_nearest_by_ratio() -> None:
    made = []

    def encode(setting: float) -> bytes:
        made.append(setting)
        return bytes(int(100 * 2**setting))

    found = search(encode, range(10), bits=8 * 1500)  # files of 100, 200, ..., 51200 bytes
    assert (found.setting, len(found.data)) == (4, 1600)
    assert found.trials == len(made) <= 5
    assert search(encode, range(10), bits=8 * 1100).setting == 3  # 800 is nearer to 1100 than 1600 by ratio


def test_search_ends_at_the_ends() -> None:
    for bits, setting in ((1, 5), (10**9, 9)):
        assert search(lambda s: bytes(int(10 * s)), range(5, 10), bits).setting == setting


def test_search_of_sizes_that_grow_only_roughly() -> None:
    sizes = [100, 130, 120, 160, 150, 200, 190, 260]
    found = search(lambda s: bytes(sizes[int(s)]), range(8), bits=8 * 155)
    assert len(found.data) in (150, 160)


def test_reach() -> None:
    check_reach(1190, 1000)
    with pytest.raises(OutOfReachError, match="125 bytes are out of reach: the nearest file has 160"):
        check_reach(1280, 1000)


# --- codecs through Pillow

THROUGH_PILLOW = [name for name, coder in PEERS.items() if type(coder).__name__ == "Pillow"]


@pytest.fixture
def available() -> Callable[[str], Coder]:
    """A codec by its name, if what it needs is installed."""

    def find(name: str) -> Coder:
        (coder,) = parse([name])
        try:
            coder.describe()
        except DependencyError as error:
            pytest.skip(str(error))
        return coder

    return find


@pytest.mark.parametrize("name", THROUGH_PILLOW)
def test_a_peer_meets_its_rate(available: Callable[[str], Coder], photo: np.ndarray, name: str) -> None:
    coder = pickle.loads(pickle.dumps(available(name)))
    coded = coder.encode(photo, 1.0, threads=1)
    assert 8 * len(coded.data) / photo[..., 0].size == pytest.approx(1.0, rel=0.08)
    assert coded.trials > 1
    assert coded.seconds > 0
    assert psnr(photo, coder.decode(coded.data, threads=1)) > (24 if name == "jpeg" else 26)
    assert coder.describe() == available(name).describe()  # encoding has not changed the settings


def test_avif_tuned_for_psnr_has_the_larger_psnr(available: Callable[[str], Coder], photo: np.ndarray) -> None:
    values = []
    for name in ("avif", "avif-psnr"):
        coder = available(name)
        values.append(psnr(photo, coder.decode(coder.encode(photo, 0.8, threads=1).data, threads=1)))
    assert values[1] > values[0] + 0.2


def test_descriptions_tell_codecs_apart(available: Callable[[str], Coder]) -> None:
    descriptions = [available(name).describe() for name in ("avif", "avif-psnr")]
    assert descriptions[0]["version"] == descriptions[1]["version"]
    assert descriptions[0]["settings"] != descriptions[1]["settings"]
    assert "aom" in str(descriptions[0]["version"])


def test_a_plugin_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DependencyError, match="pip install pillow-heif"):
        PEERS["heic"].describe()


# --- names


def test_names() -> None:
    assert parse(["overfitted:e4", "overfitted", "overfitted-wd:e2"]) == [
        Aquatint(effort=4),
        Aquatint(),
        Aquatint(tune="wd", effort=2),
    ]
    assert [coder.name for coder in parse(["webp", "avif", "webp", "overfitted"])] == ["webp", "avif", "overfitted:e5"]


@pytest.mark.parametrize("name", ["gif", "overfitted:e0", "overfitted:e11", "overfitted:5", "jpeg:e4", "", "../x"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(UsageError):
        parse([name])


def test_own_codec(small_photo: np.ndarray) -> None:
    coder = Aquatint(effort=1)
    coded = coder.encode(small_photo, 2.0, threads=1)
    decoded = coder.decode(coded.data, threads=1)
    assert (decoded.shape, decoded.dtype) == (small_photo.shape, np.uint8)
    assert psnr(small_photo, decoded) > 15
    assert (coded.multiplications_per_pixel or 0) > 100
    assert coder.describe()["settings"] == {"codec": "overfitted", "tune": None, "effort": 1}


# --- codecs by their tools


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a Python program on the PATH, which has nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def write(name: str, program: str) -> None:
        path = folder / name
        path.write_text(f"#!{sys.executable}\nimport sys\narguments = sys.argv[1:]\n{program}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return write


@posix
@pytest.mark.parametrize(("name", "tool"), [("mozjpeg", "cjpeg"), ("jpegli", "cjpegli"), ("vvc", "vvencapp")])
def test_a_tool_that_is_not_installed(install: Callable[[str, str], None], name: str, tool: str) -> None:
    with pytest.raises(DependencyError, match=f"the tool {tool} is not installed"):
        PEERS[name].describe()


@posix
def test_another_cjpeg_is_not_mozjpeg(install: Callable[[str, str], None]) -> None:
    install("cjpeg", "print('libjpeg-turbo version 2.1.5', file=sys.stderr)")
    with pytest.raises(DependencyError, match=r"not mozjpeg's but 'libjpeg-turbo version 2\.1\.5'"):
        PEERS["mozjpeg"].describe()


JPEG = """
import io
from PIL import Image
def jpeg(data, quality):
    out = io.BytesIO()
    Image.open(io.BytesIO(data)).save(out, "JPEG", quality=quality)
    return out.getvalue()
"""


@posix
def test_mozjpeg_and_jpegli(install: Callable[[str, str], None], photo: np.ndarray) -> None:
    install(
        "cjpeg",
        JPEG
        + "if arguments == ['-version']: print('mozjpeg version 4.1.5', file=sys.stderr)\n"
        + "else: sys.stdout.buffer.write(jpeg(sys.stdin.buffer.read(), int(arguments[1])))",
    )
    install(
        "cjpegli",
        JPEG
        + "if arguments == ['--version']: print('cjpegli v0.11')\n"
        + "else: open(arguments[1], 'wb').write(jpeg(open(arguments[0], 'rb').read(), int(arguments[3])))",
    )
    for name, said in (("mozjpeg", "mozjpeg version 4.1.5"), ("jpegli", "cjpegli v0.11")):
        coder = PEERS[name]
        assert coder.describe()["version"] == said
        data = coder.encode(photo, 1.2, threads=1).data
        assert 8 * len(data) / photo[..., 0].size == pytest.approx(1.2, rel=0.05)
        assert psnr(photo, coder.decode(data, threads=1)) > 26


# A "codec" that keeps every bit of the input that its quantisation parameter allows.
VVENC = """
if arguments == ['--version']: print('vvencapp 1.13'); sys.exit()
given = dict(zip(arguments[::2], arguments[1::2]))
assert given['-c'] == 'yuv420_10' and given['-f'] == '1', given
import zlib
data = open(given['-i'], 'rb').read()
width, height = map(int, given['-s'].split('x'))
assert len(data) == 3 * width * height, given
import array
samples = array.array('H', data)
step = 1 + int(given['-q'])
coded = array.array('H', (round(sample / step) * step for sample in samples))
open(given['-o'], 'wb').write(zlib.compress(coded.tobytes()))
"""
VVDEC = """
if arguments == ['--version']: print('vvdecapp 3.0'); sys.exit()
given = dict(zip(arguments[::2], arguments[1::2]))
import zlib
open(given['-o'], 'wb').write(zlib.decompress(open(given['-b'], 'rb').read()))
"""


@posix
def test_vvc_of_a_picture_with_odd_sides(install: Callable[[str, str], None], small_photo: np.ndarray) -> None:
    install("vvencapp", VVENC)
    install("vvdecapp", VVDEC)
    coder = PEERS["vvc"]
    assert coder.describe()["version"] == "vvencapp 1.13; vvdecapp 3.0"
    data = coder.encode_at(small_photo, 0, 1)  # type: ignore[attr-defined]
    decoded = coder.decode(data, threads=1)
    assert decoded.shape == small_photo.shape == (37, 29, 3)
    assert psnr(small_photo, decoded) > 30  # what colour differences of half the resolution leave
    assert len(coder.encode_at(small_photo, 63, 1)) < len(data)  # type: ignore[attr-defined]


def test_yuv_of_gray_is_exact_and_of_colour_nearly() -> None:
    gray = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    np.testing.assert_array_equal(tools.from_yuv420(tools.to_yuv420(gray), 16, 16), gray)
    for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (12, 200, 77)):
        flat = np.full((4, 6, 3), colour, np.uint8)
        decoded = tools.from_yuv420(tools.to_yuv420(flat), 4, 6)
        assert int(np.abs(decoded.astype(int) - flat).max()) <= 1
    with pytest.raises(AquatintError, match="a picture of 6x4 has 72 bytes of samples, not 71"):
        tools.from_yuv420(bytes(71), 4, 6)


@posix
def test_a_tool_that_fails_is_quoted(install: Callable[[str, str], None]) -> None:
    install("cjpeg", "print('some words', file=sys.stderr); print('Out of paper', file=sys.stderr); sys.exit(3)")
    with pytest.raises(AquatintError, match="cjpeg ended with status 3: Out of paper"):
        tools.run(["cjpeg"])


@posix
def test_a_tool_that_hangs_is_stopped(install: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "LONGEST_RUN", 0.5)
    install("cjpeg", "import time; time.sleep(60)")
    with pytest.raises(AquatintError, match="cjpeg was stopped after"):
        tools.run(["cjpeg"])
