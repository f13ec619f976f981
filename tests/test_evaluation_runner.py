"""Runs of many jobs: results on disk, resuming, and everything that may go wrong."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stand_ins import Absent, Broken, Coarse
from typer.testing import CliRunner

from aquatint.cli import app
from aquatint.errors import UsageError
from aquatint.evaluation import analysis, coders, jobs, metrics, originals, pool, runner, tables
from aquatint.evaluation.curves import CurveError
from aquatint.evaluation.runner import Run


@pytest.fixture
def pictures(tmp_path: Path, photo: np.ndarray) -> list[Path]:
    """Two photographs and a file that is none."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(photo).save(folder / "one.png")
    Image.fromarray(photo[::-1]).save(folder / "two.png")
    (folder / "wreck.png").write_bytes(b"\x89PNG and then nothing")
    return sorted(folder.iterdir())


def plan(pictures: list[Path], tmp_path: Path, *coders_: coders.Coder, **options: object) -> Run:
    defaults = {
        "pictures": pictures,
        "coders": coders_,
        "rates": [1, 2],
        "metrics": ["psnr"],
        "folder": tmp_path / "out",
    }
    return Run(**(defaults | options))  # type: ignore[arg-type]


def test_a_row_for_everything(pictures: list[Path], tmp_path: Path, photo: np.ndarray) -> None:
    run = plan(pictures, tmp_path, Coarse(), Coarse("noisy", noise=9))
    seen: list[runner.Progress] = []
    rows = runner.run(run, seen.append)
    assert [(row.picture.name, row.codec, row.target_bpp) for row in rows] == [
        (picture, codec, rate)
        for picture in ("one", "two", "wreck")
        for codec in ("coarse", "noisy")
        for rate in (1, 2)
    ]
    assert [row.outcome.status for row in rows] == 8 * ["ok"] + 4 * ["failed"]
    assert rows[-1].outcome.error == f"{pictures[2]}: not a picture of a known format"
    assert [(item.done, item.total) for item in seen] == [(k, 12) for k in range(1, 13)]
    assert seen[-1].seconds_left == 0
    row = rows[1]
    record = row.outcome.record
    file = (row.folder / "file.bin").read_bytes()  # type: ignore[operator]
    assert record["bytes"] == len(file)
    assert row.bpp == 8 * len(file) / (96 * 144) == pytest.approx(2, rel=0.01)
    decoded = np.asarray(Image.open(row.folder / "decoded.png"))  # type: ignore[operator]
    np.testing.assert_array_equal(decoded, Coarse().decode(file, threads=1))
    assert row.metric("psnr") == pytest.approx(10 * np.log10(255**2 / np.mean((photo - decoded.astype(float)) ** 2)))
    assert 0 < record["decode_seconds"] < record["encode_seconds"] + 5
    assert rows[3].metric("psnr") < row.metric("psnr")  # type: ignore[operator]


def test_a_second_run_only_does_what_is_lacking(pictures: list[Path], tmp_path: Path) -> None:
    log = tmp_path / "log"
    run = plan(pictures, tmp_path, Coarse(log=str(log)))
    first = runner.run(run)
    assert log.stat().st_size == 4
    assert runner.run(run) == first
    assert log.stat().st_size == 4
    more = runner.run(replace(run, metrics=["psnr", "ssimulacra2"]))  # measured, not encoded
    assert log.stat().st_size == 4
    assert more[0].metric("psnr") == first[0].metric("psnr")
    assert runner.run(replace(run, rates=[1, 2, 3]))[2].ok
    assert log.stat().st_size == 6


def test_changed_inputs_are_done_again(pictures: list[Path], tmp_path: Path, photo: np.ndarray) -> None:
    log = tmp_path / "log"
    run = plan(pictures[:1], tmp_path, Coarse(log=str(log)), rates=[2])
    (first,) = runner.run(run)
    runner.run(replace(run, coders=[Coarse(log=str(log), version="2")]))
    assert log.stat().st_size == 2
    Image.fromarray(photo[:, ::-1]).save(pictures[0])
    (second,) = runner.run(run)
    assert log.stat().st_size == 3
    assert second.folder != first.folder
    assert second.picture.digest != first.picture.digest


@pytest.mark.parametrize("name", ["file.bin", "decoded.png", "record.json"])
@pytest.mark.parametrize("damage", ["lost", "cut", "changed"])
def test_damaged_results_are_done_again(pictures: list[Path], tmp_path: Path, name: str, damage: str) -> None:
    run = plan(pictures[:1], tmp_path, Coarse(), rates=[2])
    (first,) = runner.run(run)
    path = first.folder / name  # type: ignore[operator]
    content = path.read_bytes()
    if damage == "lost":
        path.unlink()
    else:
        path.write_bytes(content[:-3] if damage == "cut" or name == "decoded.png" else content[:-3] + b"abc")
    (second,) = runner.run(run)
    assert second.metric("psnr") == first.metric("psnr")
    assert (first.folder / name).exists()  # type: ignore[operator]
    if name != "record.json":
        assert path.read_bytes() == content


def test_sets_see_every_picture_once(
    tmp_path: Path, coffee: np.ndarray, weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{left}.png" for left in (0, 100, 300)]
    for path in paths:
        Image.fromarray(coffee[:300, int(path.stem) : int(path.stem) + 260]).save(path)
    names = ["psnr", "fid-mobilenet", "kid-mobilenet", "coverage-mobilenet"]
    run = plan(paths, tmp_path, Coarse(), Coarse("noisy", noise=9), rates=[2], metrics=names)
    rows = runner.run(run)
    seen: list[list[np.ndarray]] = []
    set_features = metrics.set_features

    def spied(pictures: Iterable[np.ndarray], names: list[str], *, device: str) -> metrics.SetFeatures:
        seen.append(list(pictures))
        return set_features(seen[-1], names, device=device)

    monkeypatch.setattr(metrics, "set_features", spied)
    sets = runner.measure_sets(run, rows)
    assert len(seen) == 3  # decoded by either codec, and originals
    for found, decoded in zip(sets, (seen[0], seen[2]), strict=True):
        assert found.values == metrics.measure_sets(seen[1], decoded, names[1:3])
    assert str(sets[0].error).startswith("coverage-mobilenet: at least 6 vectors a set are needed, not 3 and 3")
    del seen[:]
    monkeypatch.setenv("AQUATINT_WEIGHTS", str(tmp_path / "nowhere"))
    again = runner.measure_sets(replace(run, metrics=[*names[:3], "precision-mobilenet"]), rows)
    assert [row.values for row in again] == [row.values for row in sets]  # as they were written
    assert str(again[0].error).startswith("precision-mobilenet: the weights of mobilenet")
    assert seen == []


def test_other_metrics_code_measures_again(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = plan(pictures[:1], tmp_path, Coarse(), rates=[2])
    (row,) = runner.run(run)
    job = jobs.Job(Coarse(), 2, Path("unused"), row.folder, ("psnr",), 1)  # type: ignore[arg-type]
    assert jobs.finished(job) is not None
    monkeypatch.setattr(jobs, "metrics_fingerprint", lambda: "other")
    assert jobs.finished(job) is None


@pytest.mark.parametrize(
    ("way", "status", "error"),
    [
        ("raise", "failed", "ZeroDivisionError: by nothing"),
        ("crash", "failed", "the process ended with status 7"),
        ("kill", "failed", "the process ended with SIGKILL, as when memory runs out"),
        ("memory", "failed", "not enough memory"),
        ("disk", "failed", "somewhere: No space left on device"),
        ("reach", "out of reach", "no such file"),
    ],
)
def test_what_goes_wrong_is_a_row(pictures: list[Path], tmp_path: Path, way: str, status: str, error: str) -> None:
    if way == "kill" and os.name != "posix":
        pytest.skip("signals of POSIX")
    rows = runner.run(plan(pictures[:2], tmp_path, Broken("broken", way=way), Coarse(), workers=2))
    broken = [row for row in rows if row.codec == "broken"]
    assert [(row.outcome.status, row.outcome.error) for row in broken if row.target_bpp == 1] == 2 * [(status, error)]
    assert all(row.ok for row in rows if row not in broken or row.target_bpp == 2)


def test_a_codec_that_is_not_installed_is_a_row(pictures: list[Path], tmp_path: Path) -> None:
    rows = runner.run(plan(pictures[:1], tmp_path, Absent("absent"), Coarse()))
    assert [(row.outcome.status, row.outcome.error) for row in rows[:2]] == 2 * [
        ("missing", "it needs a package: pip install absent")
    ]
    assert all(row.ok for row in rows[2:])


def test_a_file_of_quite_another_size_is_out_of_reach(pictures: list[Path], tmp_path: Path) -> None:
    log = tmp_path / "log"
    run = plan(pictures[:1], tmp_path, Coarse(log=str(log)), rates=[0.002, 2])
    for _ in range(2):  # the second time it is known
        rows = runner.run(run)
        assert rows[0].outcome.status == "out of reach"
        assert "3 bytes are out of reach: the nearest file has" in str(rows[0].outcome.error)
        assert rows[1].ok
    assert log.stat().st_size == 2


def test_a_full_disk_is_a_row(pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = originals.take(pictures[:1], tmp_path / "originals")
    original = tmp_path / "originals" / f"{taken[0].digest}.png"
    job = jobs.Job(Coarse(), 2, original, tmp_path / "job", ("psnr",), 1)

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(originals, "write", full)
        outcome = jobs.execute(job)
    assert (outcome.status, outcome.error) == ("failed", f"{job.folder / 'file.bin'}: No space left on device")
    assert jobs.execute(job).status == "ok"


def test_a_metric_that_fails_leaves_the_others(pictures: list[Path], tmp_path: Path) -> None:
    # 96 rows are too few for five scales.
    (row,) = runner.run(plan(pictures[:1], tmp_path, Coarse(), rates=[2], metrics=["ms-ssim", "psnr"]))
    assert row.ok
    assert row.metric("psnr") is not None
    assert row.metric("ms-ssim") is None
    assert str(row.outcome.error).startswith("ms-ssim: MS-SSIM needs sides of at least")


def test_equal_pictures_have_no_finite_psnr(pictures: list[Path], tmp_path: Path) -> None:
    (row,) = runner.run(plan(pictures[:1], tmp_path, Coarse(), rates=[25]))
    assert row.ok
    assert row.metric("psnr") is None


def test_tables_hold_every_row(pictures: list[Path], tmp_path: Path) -> None:
    run = plan(pictures, tmp_path, Coarse())
    rows = runner.run(run)
    written = tables.write(run.folder, rows, [], run.metrics, anchor="coarse")
    assert {"results.csv", "results.jsonl", "differences.csv", "differences.jsonl"} <= set(written)
    lines = [json.loads(line) for line in (run.folder / "results.jsonl").read_text().splitlines()]
    with (run.folder / "results.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    assert [line["status"] for line in lines] == [line["status"] for line in cells] == 4 * ["ok"] + 2 * ["failed"]
    assert list(lines[0]) == list(cells[0])
    assert lines[0]["psnr"] == float(cells[0]["psnr"]) == rows[0].metric("psnr")
    assert cells[5]["psnr"] == ""
    assert (run.folder / lines[0]["folder"] / "file.bin").stat().st_size == lines[0]["bytes"]


def test_names_of_pictures_are_unique(tmp_path: Path, photo: np.ndarray) -> None:
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "photo.png")
        Image.fromarray(photo).save(paths[-1])
    assert [picture.name for picture in originals.take(paths, tmp_path / "out")] == ["photo", "photo+"]
    assert originals.find([tmp_path / "b", tmp_path / "a" / "photo.png", tmp_path / "b"]) == [paths[1], paths[0]]
    (tmp_path / "c").mkdir()
    with pytest.raises(UsageError, match="no pictures"):
        originals.find([tmp_path / "c"])


# --- what rows say


def test_mean_curves_need_all_pictures(pictures: list[Path], tmp_path: Path) -> None:
    rows = runner.run(plan(pictures, tmp_path, Coarse(), rates=[1, 2, 3]))
    points = analysis.mean_curve(rows, [], "coarse", "psnr")
    assert [point.target_bpp for point in points] == [1, 2, 3]
    values = [row.metric("psnr") for row in rows if row.target_bpp == 2 and row.ok]
    assert points[1].value == pytest.approx(sum(values) / 2)  # type: ignore[arg-type]
    incomplete = [row for row in rows if not (row.picture.name == "two" and row.target_bpp == 2)]
    assert [point.target_bpp for point in analysis.mean_curve(incomplete, [], "coarse", "psnr")] == [1, 3]


def test_differences_are_means_over_pictures(pictures: list[Path], tmp_path: Path) -> None:
    rows = runner.run(plan(pictures, tmp_path, Coarse(), Coarse("noisy", noise=6), rates=[1, 2, 3]))
    result = analysis.difference(rows, [], "coarse", "noisy", "psnr")
    assert result.rate is not None
    assert result.metric is not None
    assert result.rate.count == 2
    assert 0 < result.rate.low <= result.rate.mean <= result.rate.high  # type: ignore[operator]
    assert result.metric.mean < 0
    assert analysis.difference(rows, [], "coarse", "coarse", "psnr").rate.mean == pytest.approx(0)  # type: ignore[union-attr]
    few = [row for row in rows if row.target_bpp == 1]
    result = analysis.difference(few, [], "coarse", "noisy", "psnr")
    assert result.rate is None
    assert set(result.skipped) == {"one", "two"}
    with pytest.raises(CurveError):
        analysis.at_equal_bits(analysis.mean_curve(few, [], "coarse", "psnr"), "psnr", 2)


# --- the command


def command(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--codecs", "gif"),
        ("--codecs", ","),
        ("--rates", "0.1,much"),
        ("--rates", "0"),
        ("--rates", "nan"),
        ("--rates", ""),
        ("--metrics", "beauty"),
        ("--anchor", "webp", "--codecs", "jpeg"),
        ("--baselines", "imagenet"),
        ("--workers", "0"),
    ],
)
def test_wrong_usage(pictures: list[Path], tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code, words = command(pictures[0], "--out", tmp_path / "out", *arguments)
    assert code == 2
    assert words
    assert not (tmp_path / "out").exists()


def test_the_command_makes_tables_plots_and_a_page(pictures: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    options = ["--codecs", "jpeg,webp", "--rates", "0.8,1.5", "--metrics", "psnr", "--out", out, "--workers", "2"]
    code, words = command(*pictures[:2], *options)
    assert code == 0
    assert words.splitlines()[-1] == f"{out / 'report' / 'index.html'}: 8 results, 8 of them pictures"
    assert "two webp 1.5 bpp: 1." in words
    assert {path.name for path in (out / "plots").glob("*.svg")} == {
        "mean-psnr.svg",
        "pictures-psnr.svg",
        "speed-encode.svg",
        "speed-decode.svg",
    }
    assert (out / "plots" / "mean-psnr.png").read_bytes().startswith(b"\x89PNG")
    code, words = command(*pictures, *options)
    assert code == 1  # the third is no picture
    assert f"{pictures[2]}: not a picture of a known format" in words
    assert words.count("error") == 1  # not once a codec and rate
    assert "12 results, 8 of them pictures" in words


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_run_that_is_killed_continues(pictures: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    arguments = ["evaluate", str(pictures[0]), "--codecs", "overfitted:e1,jpeg", "--rates", "1,1.5", "--out", str(out)]
    arguments += ["--metrics", "psnr"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "aquatint", *arguments], env=environment, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (done := sorted(out.glob("jobs/*/record.json"))) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1.0)  # an orphaned worker ends when its job does
    done = sorted(out.glob("jobs/*/record.json"))
    assert len(done) >= 1
    stamps = {path: path.stat().st_mtime_ns for path in done}
    shutil.rmtree(out / "report", ignore_errors=True)
    assert command(*arguments[1:])[0] == 0
    assert {path: path.stat().st_mtime_ns for path in done} == stamps
    assert len(list(out.glob("jobs/*/record.json"))) == 4
    assert (out / "report" / "index.html").exists()


def test_parquet_holds_the_same(pictures: list[Path], tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    run = plan(pictures, tmp_path, Coarse(), Absent("absent"))
    written = tables.write(run.folder, runner.run(run), [], run.metrics, anchor="coarse")
    assert "results.parquet" in written
    lines = [json.loads(line) for line in (run.folder / "results.jsonl").read_text().splitlines()]
    assert parquet.read_table(run.folder / "results.parquet").to_pylist() == lines


# --- worker processes


def double(number: int) -> int:
    if number == 13:
        os._exit(3)
    return 2 * number


def test_every_job_is_done_once_and_crashes_cost_only_theirs() -> None:
    results = dict(pool.run(double, [*range(12), 13, 14], workers=3))
    crash = results.pop(13)
    assert results == {number: 2 * number for number in (*range(12), 14)}
    assert isinstance(crash, pool.Crash)
    assert str(crash) == "the process ended with status 3"
    assert list(pool.run(double, [], workers=2)) == []
    assert list(pool.run(double, [1], workers=5)) == [(1, 2)]


def test_a_run_that_is_given_up_leaves_no_process() -> None:
    results = pool.run(double, list(range(10)), workers=2)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert not [process for process in multiprocessing.active_children() if process.is_alive()]
