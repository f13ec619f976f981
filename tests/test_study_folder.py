"""Making and reading studies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import stand_ins
from PIL import Image as PILImage
from study_folder import make, write_stimuli

from aquatint.errors import UsageError
from aquatint.evaluation import runner, tables
from aquatint.study import files, prepare, sources
from aquatint.study.files import Role, Settings


def test_a_study_of_folders(tmp_path: Path) -> None:
    study = make(tmp_path, Settings(title='A "study"', trials=20))
    assert study.settings == Settings(title='A "study"', trials=20)
    assert study.conditions == ["coarse", "fine", "rough"]
    assert study.rates == [""]
    assert len(study.pairs) == 4 * 3
    assert len(study.golden) == 4
    assert study.plan == (12 + 4 + 4, 4, 4)
    for (_, condition, picture), stimulus in study.compared.items():
        shown = np.asarray(PILImage.open(study.path(stimulus)))
        source = np.asarray(PILImage.open(tmp_path / "stimuli" / condition / f"{picture}.png"))
        np.testing.assert_array_equal(shown, source)


def test_names_of_files_tell_nothing(tmp_path: Path) -> None:
    study = make(tmp_path)
    for path in (study.folder / files.PICTURES).iterdir():
        data = path.read_bytes()
        assert not any(name.encode() in path.name.encode() + data for name in (*study.conditions, "picture0"))


def test_large_pictures_are_cropped_at_one_place(tmp_path: Path) -> None:
    write_stimuli(tmp_path / "s", pictures=1, size=200)
    prepare.new(tmp_path / "study", sources.from_folder(tmp_path / "s"), Settings(), crop=64)
    study = files.load(tmp_path / "study")
    assert {(s.width, s.height) for s in study.stimuli} == {(64, 64)}
    crop = np.asarray(PILImage.open(study.path(study.references["picture0"]))).astype(int)
    close = np.asarray(PILImage.open(study.path(study.compared["", "fine", "picture0"])))
    assert np.abs(crop - close).max() <= 8


def test_golden_pairs_are_clear(tmp_path: Path) -> None:
    study = make(tmp_path, pictures=1)
    pixels = {s.role: np.asarray(PILImage.open(study.path(s))).astype(float) for s in study.stimuli}
    assert np.abs(pixels[Role.GOLDEN] - pixels[Role.REFERENCE]).mean() > 30


def write_sizes(folder: Path, coarse: int) -> None:
    rows = [f"{name},picture{k},{coarse if name == 'coarse' else 1000}" for name in ("fine", "coarse") for k in (0, 1)]
    (folder / "sizes.csv").write_text("folder,picture,bytes\n" + "\n".join(rows))


def test_files_must_have_equal_sizes(tmp_path: Path) -> None:
    stimuli = tmp_path / "stimuli"
    write_stimuli(stimuli, pictures=2, conditions=("fine", "coarse"))
    write_sizes(stimuli, 1030)
    found = sources.from_folder(stimuli)
    message = r"2 of 2 pictures differ by more than 2.00%: picture0 is 1000 bytes by fine and 1030 by coarse, 3.0% more"
    with pytest.raises(UsageError, match=message):
        prepare.new(tmp_path / "study", found, Settings())
    assert not (tmp_path / "study").exists()
    prepare.new(tmp_path / "study", found, Settings(), tolerance=0.031)
    stimulus = files.load(tmp_path / "study").compared["", "coarse", "picture1"]
    assert stimulus.bits == 8240
    assert stimulus.bpp == pytest.approx(8240 / (96 * 112))
    write_sizes(stimuli, 1020)
    sources.check_bits(sources.from_folder(stimuli), 0.02)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory, photo: np.ndarray) -> Path:
    """The folder of a run of two codecs and one that is not installed, on two pictures, which it calls 1 and 2."""
    folder = tmp_path_factory.mktemp("evaluation")
    for name, pixels in (("1", photo), ("2", photo[::-1])):
        PILImage.fromarray(pixels).save(folder / f"{name}.png")
    codecs = [stand_ins.Coarse("coarse"), stand_ins.Coarse("noisy", noise=20), stand_ins.Absent("absent")]
    plan = runner.Run([folder / "1.png", folder / "2.png"], codecs, [0.5, 2.0], ["psnr"], folder / "run")
    tables.write(plan.folder, runner.run(plan), [], plan.metrics, anchor="coarse")
    return plan.folder


def test_a_study_of_an_evaluation(tmp_path: Path, evaluation: Path, photo: np.ndarray) -> None:
    prepare.new(tmp_path / "study", sources.from_evaluation(evaluation), Settings())
    study = files.load(tmp_path / "study")
    assert (study.rates, study.conditions, study.pictures) == (["0.5", "2"], ["coarse", "noisy"], ["1", "2"])
    assert len(study.pairs) == 4
    original = np.asarray(PILImage.open(study.path(study.references["2"])))
    np.testing.assert_array_equal(original, photo[::-1])
    for codec, noise in (("coarse", 0), ("noisy", 20)):
        stimulus = study.compared["2", codec, "2"]
        coder = stand_ins.Coarse(noise=noise)
        coded = coder.encode(photo[::-1], 2.0, threads=1)
        decoded = np.asarray(PILImage.open(study.path(stimulus)))
        np.testing.assert_array_equal(decoded, coder.decode(coded.data, threads=1))
        assert stimulus.bits == 8 * len(coded.data)
        assert stimulus.bpp == pytest.approx(2, rel=1e-3)
        error = np.mean((decoded.astype(float) - original) ** 2)
        assert stimulus.metrics == {"psnr": pytest.approx(10 * np.log10(255**2 / error))}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folder": "../.."}, "leads out of the folder"),
        ({"picture_digest": "../../etc/passwd"}, "leads out of the folder"),
        ({"target_bpp": 2.0}, "two rows of 'coarse' at 2 bpp of '1'"),
        ({"bytes": None}, "line 1"),
    ],
)
def test_evaluations_that_make_no_sense(
    tmp_path: Path, evaluation: Path, changes: dict[str, object], message: str
) -> None:
    first, *rest = (evaluation / "results.jsonl").read_text().splitlines()
    (tmp_path / "results.jsonl").write_text("\n".join([json.dumps(json.loads(first) | changes), *rest]))
    with pytest.raises(UsageError, match=message):
        sources.from_evaluation(tmp_path)


@pytest.mark.parametrize("name", ["a\nb", "x" * 101, "\x1b[31m"])
def test_hostile_names_are_refused(tmp_path: Path, name: str) -> None:
    found = [
        sources.Source(name, codec, "", tmp_path / "reference.png", tmp_path / "decoded.png") for codec in ("a", "b")
    ]
    with pytest.raises(UsageError, match="is no name"):
        prepare.new(tmp_path / "study", found, Settings())


@pytest.mark.parametrize("file", ["../../../etc/passwd", "/etc/passwd", "a.png", "A" * 32 + ".png"])
def test_files_outside_of_the_folder_are_refused(tmp_path: Path, file: str) -> None:
    study = make(tmp_path)
    path = study.folder / files.STIMULI
    lines = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(lines[0]) | {"file": file}), *lines[1:]]))
    with pytest.raises(UsageError, match=r"line 1: .* is not the name of a picture"):
        files.load(study.folder)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("trials = 0", "trials must lie between 1 and 1000, not 0"),
        ("layout = 'heap'", "layout must be one of"),
        ("trials = true", "trials must be int, not True"),
        ("golden = 40", "golden must lie between 0 and 30"),
        ("minimum_seconds = nan", "minimum_seconds must lie between"),
        ("colour = 'red'", "there is no setting 'colour'"),
        ("trials = ", "study.toml"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, line: str, message: str) -> None:
    study = make(tmp_path)
    (study.folder / files.SETTINGS).write_text(line)
    with pytest.raises(UsageError, match=message):
        files.load(study.folder)


def test_an_older_study_is_not_overwritten(tmp_path: Path) -> None:
    study = make(tmp_path)
    before = sorted(path.name for path in study.folder.rglob("*"))
    with pytest.raises(OSError, match="study"):
        prepare.new(study.folder, sources.from_folder(tmp_path / "stimuli"), Settings())
    assert sorted(path.name for path in study.folder.rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
