"""The command line, with a stand-in for the codec."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import typer
from conftest import FakeCodec
from PIL import Image as PILImage
from typer.testing import CliRunner

from aquatint.cli import app, files, terminal
from aquatint.codecs.target import Target
from aquatint.errors import ImageError

posix = pytest.mark.skipif(os.name != "posix", reason="signals, pipes and devices of POSIX")
pytestmark = pytest.mark.usefixtures("fake_codec")


def run(*arguments: str | Path, given: bytes = b"") -> tuple[int, bytes, str]:
    """Exit status, standard output and standard error of the command line, run in this process."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout_bytes, result.stderr


def pixels(path: Path) -> np.ndarray:
    with PILImage.open(path) as image:
        return np.array(image)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


# --- the way there and back


def test_encode_and_decode_give_the_picture_back(folder: Path, small_photo: np.ndarray) -> None:
    assert run("encode", folder / "photo.png", folder / "a.aqt")[0] == 0
    assert run("decode", folder / "a.aqt", folder / "b.png")[0] == 0
    np.testing.assert_array_equal(pixels(folder / "b.png"), small_photo)
    assert names(folder) == ["a.aqt", "b.png", "photo.png"]


def test_outputs_without_a_name_lie_beside_the_input(folder: Path) -> None:
    assert run("encode", folder / "photo.png")[0] == 0
    os.rename(folder / "photo.aqt", folder / "other.aqt")
    assert run("decode", folder / "other.aqt")[0] == 0
    assert names(folder) == ["other.aqt", "other.png", "photo.png"]


def test_the_extension_says_the_format(folder: Path) -> None:
    run("encode", folder / "photo.png")
    assert run("decode", folder / "photo.aqt", folder / "photo.bmp")[0] == 0
    assert (folder / "photo.bmp").read_bytes().startswith(b"BM")


def test_standard_input_and_output(folder: Path, small_photo: np.ndarray) -> None:
    code, data, words = run("encode", "-", "-", given=(folder / "photo.png").read_bytes())
    assert (code, data[:4]) == (0, b"\x8aAQT")
    assert words.startswith(f"<stdout>: {len(data)} bytes, ")
    code, png, words = run("decode", "-", given=data)
    (folder / "b.png").write_bytes(png)
    np.testing.assert_array_equal(pixels(folder / "b.png"), small_photo)
    assert words.startswith("<stdout>: 29x37, ")


def test_a_file_may_be_called_dash(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    os.rename("photo.png", "-")
    assert run("encode", "./-", "./-.aqt")[0] == 0
    assert names(folder) == ["-", "-.aqt"]


@posix
def test_an_output_is_written_through_a_link_and_to_a_device(folder: Path) -> None:
    (folder / "real.aqt").write_bytes(b"old")
    (folder / "link.aqt").symlink_to("real.aqt")
    assert run("encode", folder / "photo.png", folder / "link.aqt")[0] == 0
    assert (folder / "link.aqt").is_symlink()
    assert (folder / "real.aqt").read_bytes().startswith(b"\x8aAQT")
    assert run("encode", folder / "photo.png", "/dev/null")[0] == 0
    assert Path("/dev/null").is_char_device()


# --- options


def test_options_reach_the_codec(folder: Path, fake_codec: FakeCodec) -> None:
    options = ["--size", "3000", "-e", "2", "-j", "1", "--device", "cpu", "--seed", "7"]
    assert run("encode", *options, folder / "photo.png")[0] == 0
    call = fake_codec.calls[0]
    assert call["target"] == Target(size=3000)
    assert [call[key] for key in ("effort", "threads", "device", "seed")] == [2, 1, "cpu", 7]
    assert (call["tune"], call["sigma_map"]) == (None, None)
    assert (folder / "photo.aqt").stat().st_size <= 3000


def test_a_sigma_map_is_a_grey_picture(folder: Path, fake_codec: FakeCodec) -> None:
    with PILImage.open(folder / "photo.png") as photo:
        width, height = photo.size
    painted = PILImage.new("L", (width, height), 51)
    painted.paste(255, (0, 0, width, 3))
    painted.save(folder / "map.png")
    assert run("encode", "--tune", "wd", "--sigma-map", folder / "map.png", folder / "photo.png")[0] == 0
    call = fake_codec.calls[0]
    assert call["tune"] == "wd"
    expected = np.full((height, width), 0.2)
    expected[:3] = 1
    np.testing.assert_allclose(call["sigma_map"], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["saliency", "self-similar"])
def test_a_sigma_map_that_is_derived(folder: Path, fake_codec: FakeCodec, name: str) -> None:
    assert run("encode", "--tune", "wd", "--sigma-map", name, folder / "photo.png")[0] == 0
    assert fake_codec.calls[0]["sigma_map"] == name


def test_a_sigma_map_that_is_missing(folder: Path, fake_codec: FakeCodec) -> None:
    status, _, words = run("encode", "--tune", "wd", "--sigma-map", folder / "none.png", folder / "photo.png")
    assert status == 1
    assert words == f"aquatint: error: {folder / 'none.png'}: No such file or directory\n"
    assert not fake_codec.calls


def test_the_default_quality_is_50(folder: Path, fake_codec: FakeCodec) -> None:
    run("encode", folder / "photo.png")
    assert fake_codec.calls[0]["target"] == Target(quality=50)


def test_strip_drops_exif(folder: Path) -> None:
    exif = PILImage.Exif()
    exif[0x010E] = "a description"
    PILImage.new("RGB", (4, 4)).save(folder / "tagged.png", exif=exif)
    run("encode", folder / "tagged.png")
    assert "exif" in json.loads(run("info", "--json", folder / "tagged.aqt")[1])["chunks"]
    run("encode", "--strip", folder / "tagged.png")
    assert "exif" not in json.loads(run("info", "--json", folder / "tagged.aqt")[1])["chunks"]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-q", "30", "--bpp", "0.3", "photo.png"),
        ("-q", "0", "photo.png"),
        ("-q", "101", "photo.png"),
        ("--bpp", "nan", "photo.png"),
        ("--size", "-5", "photo.png"),
        ("--size", "10.5", "photo.png"),
        ("-e", "0", "photo.png"),
        ("-e", "11", "photo.png"),
        ("-j", "-1", "photo.png"),
        ("--codec", "jpeg", "photo.png"),
        ("--nonsense", "photo.png"),
        ("photo.png", "photo.png"),
        ("photo.png", "copy.png"),
        ("photo.png", "other.png", "third.png"),
        ("photo.png", "missing/"),
        ("-", "."),
        ("--json", "-", "-"),
        ("--json", "photo.png", "-"),
    ],
)
def test_wrong_usage_exits_2_and_does_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(folder)
    before = (folder / "photo.png").read_bytes()
    code, out, words = run("encode", *arguments)
    assert (code, out) == (2, b"")
    assert words
    assert names(folder) == ["photo.png"]
    assert (folder / "photo.png").read_bytes() == before


def test_decode_does_not_replace_what_was_not_named(folder: Path, small_photo: np.ndarray) -> None:
    run("encode", folder / "photo.png")
    before = (folder / "photo.png").read_bytes()
    for output in ((), (folder,)):
        code, _, words = run("decode", folder / "photo.aqt", *output)
        assert code == 1
        assert words == f"aquatint: error: {folder / 'photo.png'}: exists already\n"
    assert (folder / "photo.png").read_bytes() == before
    assert run("decode", folder / "photo.aqt", folder / "photo.png")[0] == 0
    assert (folder / "photo.png").read_bytes() != before


@pytest.mark.parametrize("command", [("encode", "photo.png", "out.aqt"), ("decode", "photo.aqt", "out.bmp")])
def test_no_overwrite(folder: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, str, str]) -> None:
    monkeypatch.chdir(folder)
    run("encode", "photo.png")
    Path(command[2]).write_bytes(b"old")
    code, _, words = run(*command, "--no-overwrite")
    assert (code, words) == (1, f"aquatint: error: {command[2]}: exists already\n")
    assert Path(command[2]).read_bytes() == b"old"
    assert run(*command)[0] == 0
    assert Path(command[2]).read_bytes() != b"old"


def test_max_pixels(folder: Path) -> None:
    run("encode", folder / "photo.png")
    assert run("decode", "--max-pixels", "1073", folder / "photo.aqt", folder / "b.png")[0] == 0
    code, _, words = run("decode", "--max-pixels", "1072", folder / "photo.aqt", folder / "c.png")
    assert code == 1
    assert "29x37 = 1073 pixels; the limit is 1072" in words


def test_decode_refuses_an_aqt_file_as_output(folder: Path) -> None:
    run("encode", folder / "photo.png", folder / "a.aqt")
    run("encode", folder / "photo.png", folder / "b.aqt")
    before = (folder / "b.aqt").read_bytes()
    assert run("decode", folder / "a.aqt", folder / "b.aqt")[0] == 2
    assert (folder / "b.aqt").read_bytes() == before


# --- several inputs


def test_several_inputs_into_a_folder(folder: Path) -> None:
    PILImage.new("L", (5, 3)).save(folder / "second.png")
    (folder / "out").mkdir()
    code, out, words = run("encode", "--json", folder / "photo.png", folder / "second.png", folder / "out")
    assert (code, words) == (0, "")
    assert [Path(json.loads(line)["output"]).name for line in out.splitlines()] == ["photo.aqt", "second.aqt"]
    assert names(folder / "out") == ["photo.aqt", "second.aqt"]


def test_one_failure_does_not_stop_the_others(folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "out").mkdir()
    inputs = [folder / "missing.png", folder / "broken.png", folder / "photo.png"]
    code, _, words = run("encode", *inputs, folder / "out")
    assert code == 1
    lines = words.splitlines()
    assert lines[0] == f"aquatint: error: {inputs[0]}: No such file or directory"
    assert lines[1] == f"aquatint: error: {inputs[1]}: not a picture of a known format"
    assert lines[2].startswith(f"{folder / 'out' / 'photo.aqt'}: ")
    assert len(lines) == 3
    assert names(folder / "out") == ["photo.aqt"]


def test_two_inputs_for_one_output_are_refused(folder: Path) -> None:
    PILImage.new("L", (5, 3)).save(folder / "photo.bmp")
    (folder / "out").mkdir()
    code, _, words = run("encode", folder / "photo.png", folder / "photo.bmp", folder / "out")
    assert code == 2
    assert "would both be written" in words
    assert names(folder / "out") == []


# --- what is said


def test_the_last_line_has_one_form(folder: Path) -> None:
    code, out, words = run("encode", "--bpp", "8", folder / "photo.png")
    size = (folder / "photo.aqt").stat().st_size
    assert (code, out) == (0, b"")
    expected = rf"{re.escape(str(folder / 'photo.aqt'))}: {size} bytes, {8 * size / 1073:.3f} bpp, inf dB, 0\.\d s\n"
    assert re.fullmatch(expected, words)
    assert run("encode", "--quiet", folder / "photo.png") == (0, b"", "")


def test_json_of_encode(folder: Path) -> None:
    code, out, words = run("encode", "--json", "-e", "3", folder / "photo.png")
    assert (code, words) == (0, "")
    facts = json.loads(out)
    size = (folder / "photo.aqt").stat().st_size
    assert facts.pop("seconds") > 0
    assert facts == {
        "input": str(folder / "photo.png"),
        "output": str(folder / "photo.aqt"),
        "codec": "overfitted",
        "width": 29,
        "height": 37,
        "bytes": size,
        "bpp": 8 * size / 1073,
        "psnr": None,
        "multiplications_per_pixel": 0.0,
        "estimated_bytes": size,
        "steps": 1,
        "lagrangian": 0.0,
        "effort": 3,
    }


def test_json_of_decode(folder: Path) -> None:
    run("encode", folder / "photo.png")
    facts = json.loads(run("decode", "--json", folder / "photo.aqt", folder / "b.png")[1])
    assert facts.pop("seconds") > 0
    assert facts == {
        "input": str(folder / "photo.aqt"),
        "output": str(folder / "b.png"),
        "width": 29,
        "height": 37,
    }


def test_info(folder: Path) -> None:
    run("encode", folder / "photo.png")
    size = (folder / "photo.aqt").stat().st_size
    code, out, _ = run("info", "--json", folder / "photo.aqt")
    facts = json.loads(out)
    payload = facts["chunks"]["payload"]
    assert code == 0
    assert facts == {
        "input": str(folder / "photo.aqt"),
        "codec": "overfitted",
        "width": 29,
        "height": 37,
        "depth": 8,
        "mode": "RGB",
        "model_hash": None,
        "bytes": size,
        "bpp": 8 * size / 1073,
        "chunks": {"payload": payload},
        "multiplications_per_pixel": 0.0,
    }
    assert 0 < size - payload < 40
    code, out, _ = run("info", folder / "photo.aqt")
    assert code == 0
    assert out.decode().splitlines() == [
        str(folder / "photo.aqt"),
        "  picture                    29x37, RGB, 8 bits per sample",
        "  codec                      overfitted",
        f"  file                       {size} bytes, {8 * size / 1073:.3f} bpp",
        f"  payload                    {payload} bytes",
        "  multiplications per pixel  0",
    ]


def test_info_names_the_mode(folder: Path) -> None:
    PILImage.new("LA", (3, 2), (9, 100)).save(folder / "gray.png")
    run("encode", folder / "gray.png")
    facts = json.loads(run("info", "--json", folder / "gray.aqt")[1])
    assert facts["mode"] == "LA"
    assert facts["chunks"].keys() == {"payload", "alpha"}


def test_info_finds_a_damaged_file(folder: Path) -> None:
    run("encode", folder / "photo.png")
    data = bytearray((folder / "photo.aqt").read_bytes())
    data[-8] ^= 1
    (folder / "bad.aqt").write_bytes(data)
    code, out, words = run("info", folder / "bad.aqt", folder / "photo.aqt")
    assert code == 1
    assert words.startswith(f"aquatint: error: {folder / 'bad.aqt'}: the file is damaged: its checksum is ")
    assert out.decode().startswith(f"{folder / 'photo.aqt'}\n")


def test_an_error_is_one_line_unless_debugging(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> None:
        raise ImageError("two\nlines \x1b[31m")

    with pytest.raises(typer.Exit) as exit:
        terminal.for_each(["a\nb.png"], fail, name=str)
    assert exit.value.exit_code == 1
    assert capsys.readouterr().err == "aquatint: error: a\\nb.png: two lines \\x1b[31m\n"
    monkeypatch.setenv("AQUATINT_DEBUG", "1")
    with pytest.raises(typer.Exit):
        terminal.for_each(["a.png"], fail, name=str)
    assert "Traceback" in capsys.readouterr().err


def test_too_little_memory_is_an_error_of_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: str) -> None:
        raise MemoryError

    with pytest.raises(typer.Exit):
        terminal.for_each(["a.png"], fail, name=str)
    assert capsys.readouterr().err == "aquatint: error: a.png: not enough memory\n"


def test_time_left_without_an_estimate() -> None:
    assert terminal.clock(float("inf")) == "-:--"
    assert terminal.clock(-0.1) == "0:00"
    assert terminal.clock(59.7) == "1:00"


# --- when things go wrong


@pytest.mark.parametrize("error", [SystemExit(143), ImageError("broken"), MemoryError()])
def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "a.aqt"
    target.write_bytes(b"old")

    def write(out: object) -> None:
        Path(str(out)).write_bytes(b"half")
        assert len(names(tmp_path)) == 2
        raise error

    with pytest.raises(type(error)):
        files.save(str(target), write)
    assert names(tmp_path) == ["a.aqt"]
    assert target.read_bytes() == b"old"


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_an_error_of_one_line(folder: Path) -> None:
    code, _, words = run("encode", folder / "photo.png", "/dev/full")
    assert (code, words) == (1, "aquatint: error: /dev/full: No space left on device\n")


def test_an_unwritable_output_is_found_before_the_work(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    fake_codec: FakeCodec,
) -> None:
    code, _, words = run("encode", folder / "photo.png", folder / "missing" / "a.aqt")
    assert (code, words) == (1, f"aquatint: error: {folder / 'missing' / 'a.aqt'}: its folder does not exist\n")
    monkeypatch.setattr(os, "access", lambda *_: False)
    code, _, words = run("encode", folder / "photo.png")
    assert (code, words) == (1, f"aquatint: error: {folder / 'photo.aqt'}: its folder is not writable\n")
    assert fake_codec.calls == []


# --- the pages


def test_version() -> None:
    code, out, _ = run("--version")
    assert code == 0
    assert re.fullmatch(rb"aquatint \d+\.\d+\.\d+\r?\n", out)
    assert run("-V")[1] == out


def test_every_option_is_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "cli.md").read_text(encoding="utf-8")
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    kinds = {"encode", "decode", "info", "metrics", "evaluate", "sample", "train", "export", "models", "study"}
    assert commands.keys() == kinds
    sections = dict(re.findall(r"^## aquatint (\w+)\n(.*?)(?=^## |\Z)", page, flags=re.M | re.S))
    for name, command in commands.items():
        parameters = [p for one in (command, *getattr(command, "commands", {}).values()) for p in one.params]
        for option in (option for parameter in parameters for option in parameter.opts if option.startswith("-")):
            assert f"`{option}" in sections[name], f"{option} of {name}"
