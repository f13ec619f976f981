"""`aquatint metrics`: files and folders, and what is wrong with them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import FakeCodec
from PIL import Image as PILImage
from typer.testing import CliRunner

import aquatint
from aquatint.cli import app
from aquatint.errors import ImageError
from aquatint.evaluation import pictures
from aquatint.evaluation.metrics import fidelity, measure

RANDOM = np.random.default_rng(7)


def test_pictures_of_every_kind_become_8_bits_of_rgb(tmp_path: Path, fake_codec: FakeCodec) -> None:
    gray = np.array([[0, 128, 65535, 385]], np.uint16)
    aquatint.from_array(gray).write(tmp_path / "gray.png")
    assert pictures.load(tmp_path / "gray.png").tolist() == [[[0] * 3, [0] * 3, [255] * 3, [1] * 3]]
    colours = RANDOM.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    (tmp_path / "a.aqt").write_bytes(aquatint.encode(colours))
    np.testing.assert_array_equal(pictures.load(tmp_path / "a.aqt"), colours)
    np.testing.assert_array_equal(pictures.load(io.BytesIO(aquatint.encode(colours))), colours)
    aquatint.from_array(RANDOM.integers(0, 256, (5, 7, 4), dtype=np.uint8)).write(tmp_path / "alpha.png")
    with pytest.raises(ImageError, match=r"alpha\.png: the picture has an alpha channel"):
        pictures.load(tmp_path / "alpha.png")


@pytest.fixture
def folders(tmp_path: Path, coffee: np.ndarray, worse: np.ndarray, fake_codec: FakeCodec) -> tuple[Path, Path]:
    """Originals a.png and b.png, and their distorted versions a.aqt and b.png."""
    first, second = tmp_path / "originals", tmp_path / "distorted"
    first.mkdir()
    second.mkdir()
    for name, part in (("a", slice(0, 180)), ("b", slice(200, 380))):
        PILImage.fromarray(coffee[part, :200]).save(first / f"{name}.png")
    (second / "a.aqt").write_bytes(aquatint.encode(worse[:180, :200]))
    PILImage.fromarray(worse[200:380, :200]).save(second / "b.png")
    (second / "notes.txt").write_text("no picture")
    return first, second


def run(*arguments: str | Path, given: bytes = b"") -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["metrics", *map(str, arguments)], input=given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_two_files_are_compared(folders: tuple[Path, Path], coffee: np.ndarray, worse: np.ndarray) -> None:
    first, second = (folder / name for folder, name in zip(folders, ("a.png", "a.aqt"), strict=True))
    expected = measure(coffee[:180, :200], worse[:180, :200])
    code, out, words = run(first, second, "--json")
    assert (code, words) == (0, "")
    assert json.loads(out) == {"reference": str(first), "distorted": str(second)} | expected
    code, out, _ = run(first, second, "--metrics", "psnr")
    assert (code, out) == (0, f"{second}: psnr {expected['psnr']:.5g}\n")
    assert json.loads(run(first, first, "--json")[1])["psnr"] is None
    assert json.loads(run("-", second, "--json", given=first.read_bytes())[1])["psnr"] == expected["psnr"]


def test_two_folders_are_compared(folders: tuple[Path, Path], coffee: np.ndarray, worse: np.ndarray) -> None:
    code, out, words = run(*folders, "--json")
    assert (code, words) == (0, "")
    a, b, both = map(json.loads, out.splitlines())
    assert (a["reference"], a["distorted"]) == (str(folders[0] / "a.png"), str(folders[1] / "a.aqt"))
    assert b["psnr"] == fidelity.psnr(coffee[200:380, :200], worse[200:380, :200])
    assert (both["reference"], both["pictures"]) == (str(folders[0]), 2)
    assert both["psnr"] == pytest.approx((a["psnr"] + b["psnr"]) / 2)
    assert both["ms-ssim"] == pytest.approx((a["ms-ssim"] + b["ms-ssim"]) / 2)


def test_folders_must_match(folders: tuple[Path, Path]) -> None:
    (folders[1] / "b.png").unlink()
    code, out, words = run(*folders)
    assert (code, out, words) == (1, "", f"aquatint: error: {folders[1]}: there is no picture named 'b'\n")
    (folders[0] / "a.jpg").write_bytes(b"")
    assert f"{folders[0]}: a.jpg and a.png have the same name" in run(*folders)[2]


def test_a_pair_that_fails_is_reported_and_there_are_no_means(folders: tuple[Path, Path]) -> None:
    PILImage.new("RGB", (3, 4)).save(folders[1] / "b.png")
    code, out, words = run(*folders, "--metrics", "psnr")
    assert (code, out.count("\n")) == (1, 1)
    expected = "the pictures must have the same size, not 200x180 and 3x4"
    assert words == f"aquatint: error: {folders[1] / 'b.png'}: {expected}\n"


@pytest.mark.parametrize("options", [("--metrics", "ssim"), ("--metrics", "")])
def test_wrong_names_are_wrong_usage(folders: tuple[Path, Path], options: tuple[str, ...]) -> None:
    assert run(*folders, *options)[0] == 2


def test_a_file_is_not_compared_with_a_folder(folders: tuple[Path, Path]) -> None:
    assert run(folders[0] / "a.png", folders[1])[0] == 2
    assert run("-", "-")[0] == 2


def test_what_a_metric_lacks_is_an_error_of_one_line(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, out, words = run(*folders, "--metrics", "psnr,ssimulacra2")
    assert (code, out) == (1, "")
    lack = "the package ssimulacra2 is not installed: pip install 'aquatint[metrics]'"
    assert words == f"aquatint: error: ssimulacra2: {lack}\n"
