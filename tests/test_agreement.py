"""Correlations against scipy, and the report on data made for it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from aquatint.errors import UsageError
from aquatint.evaluation import agreement
from aquatint.evaluation.correlation import kendall, pearson, spearman, two_choice_accuracy
from aquatint.evaluation.metrics.fidelity import psnr
from aquatint.evaluation.pictures import load

RANDOM = np.random.default_rng(3)
SERIES = [
    (RANDOM.normal(size=50), RANDOM.normal(size=50)),
    (RANDOM.integers(0, 6, 80).astype(float), RANDOM.integers(0, 4, 80).astype(float)),  # many ties
    (np.arange(20.0), np.arange(20.0) ** 3),
    (np.array([1.0, 2.0]), np.array([5.0, 4.0])),
]


@pytest.mark.parametrize(("x", "y"), SERIES)
def test_correlations_are_those_of_scipy(x: np.ndarray, y: np.ndarray) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y)[0], abs=1e-12)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y)[0], abs=1e-12)
    assert kendall(x, y) == pytest.approx(stats.kendalltau(x, y)[0], abs=1e-12)


def test_infinite_values_have_ranks_but_no_linear_correlation() -> None:
    x, y = np.array([1.0, 2.0, math.inf, math.inf]), np.array([1.0, 2.0, 3.0, 4.0])
    assert math.isnan(pearson(x, y))
    assert spearman(x, y) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert kendall(x, y) == pytest.approx(5 / math.sqrt(5 * 6))
    assert two_choice_accuracy(x, y) == pytest.approx(5.5 / 6)


def test_constant_series_have_no_correlation() -> None:
    constant, other = np.ones(4), np.arange(4.0)
    assert all(math.isnan(function(constant, other)) for function in (pearson, spearman, kendall))
    assert two_choice_accuracy(constant, other) == 0.5
    assert math.isnan(two_choice_accuracy(other, constant))


def test_only_pairs_within_a_group_are_choices() -> None:
    scores = np.array([1.0, 2.0, 3.0, 4.0])
    metric = np.array([10.0, 20.0, 2.0, 1.0])
    assert two_choice_accuracy(metric, scores, ["a", "a", "b", "b"]) == 0.5
    assert two_choice_accuracy(metric, scores) == pytest.approx(1 / 6)


@pytest.mark.parametrize("function", [pearson, spearman, kendall, two_choice_accuracy])
def test_series_must_match(function: object) -> None:
    with pytest.raises(UsageError, match=r"not \(2,\) and \(3,\)"):
        function(np.zeros(2), np.zeros(3))  # type: ignore[operator]
    with pytest.raises(UsageError, match="not a number"):
        function(np.array([0, math.nan]), np.zeros(2))  # type: ignore[operator]


# --- data


def noisy(picture: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, deviation, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def rated(tmp_path: Path, photo: np.ndarray) -> Path:
    """A CSV file of scores: two photographs with two versions each, the scores of the second against PSNR."""
    lines = ["reference,distorted,score,votes"]
    for name, source, scores in (("a", photo, (4.5, 2.0)), ("b", photo[::-1], (1.0, 3.0))):
        PILImage.fromarray(source).save(tmp_path / f"{name}.png")
        for version, (deviation, score) in enumerate(zip((3, 12), scores, strict=True)):
            PILImage.fromarray(noisy(source, deviation)).save(tmp_path / f"{name}{version}.png")
            lines.append(f"{name}.png,{name}{version}.png,{score},12")
    (tmp_path / "scores.csv").write_text("\n".join(lines))
    return tmp_path / "scores.csv"


def report(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = agreement.main(list(map(str, arguments)))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_scores_are_reported(capsys: pytest.CaptureFixture[str], rated: Path) -> None:
    code, out, _ = report(capsys, "--metrics", "psnr", "--json", rated)
    row = json.loads(out)
    items = agreement.read_scores(rated)
    better = agreement.values([(item.reference, item.distorted) for item in items], ["psnr"])["psnr"]
    scores = np.array([4.5, 2.0, 1.0, 3.0])
    assert code == 0
    assert better[0] == psnr(load(items[0].reference), load(items[0].distorted))
    assert (row["metric"], row["two-choice"]) == ("psnr", 0.5)
    assert row["pearson"] == pytest.approx(pearson(better, scores))
    assert row["spearman"] == pytest.approx(spearman(better, scores))
    assert row["kendall"] == pytest.approx(kendall(better, scores))
    opposite = json.loads(report(capsys, "--metrics", "psnr", "--json", "--lower-is-better", rated)[1])
    assert opposite["pearson"] == pytest.approx(-row["pearson"])


def test_a_table_has_a_row_a_metric(capsys: pytest.CaptureFixture[str], rated: Path) -> None:
    lines = report(capsys, "--metrics", "psnr", rated)[1].splitlines()
    assert lines[0] == f"{rated}: 4 rated pictures"
    assert lines[2] == "| metric | pearson | spearman | kendall | two-choice |"
    assert lines[4].startswith("| psnr | ")
    assert lines[4].endswith(" | 0.5 |")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("reference,distorted\na,b\n", "there is no column 'score'"),
        ("reference,distorted,score\na,b,good\n", "line 2: the score 'good' is not a finite number"),
        ("reference,distorted,score\na,b,inf\n", "line 2: the score 'inf' is not a finite number"),
        ("reference,distorted,score\na,b\n", "line 2: the row has too few columns"),
        ("reference,distorted,score\na,b,1\n", "at least two rated pictures are needed, not 1"),
        ("", "there is no column 'reference'"),
    ],
)
def test_wrong_tables_are_errors(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "scores.csv").write_text(text)
    code, out, errors = report(capsys, tmp_path / "scores.csv")
    assert (code, out) == (1, "")
    assert errors.startswith("aquatint: error: ")
    assert words in errors
    assert errors.count("\n") == 1


def test_metrics_on_sets_have_no_agreement(capsys: pytest.CaptureFixture[str], rated: Path) -> None:
    code, _, errors = report(capsys, "--metrics", "fid,kid", rated)
    assert (code, errors) == (1, "aquatint: error: none of fid,kid compares two pictures\n")


def test_the_just_noticeable_range() -> None:
    photographs = [
        agreement.Noticeable(Path(name), tuple(Path(f"{name}{k}") for k in range(5)), 1, 2, 3) for name in "abc"
    ]
    better = np.array([9, 8, 5, 2, 1, 9, 7, 6, 3, 0, 9, 4, 3.5, 3, 8])
    found = agreement.jnd_agreement(photographs, better)
    assert found["order"] == pytest.approx((10 + 10 + 7) / 30)  # the last version of c passes three others
    # Low ends 8, 7, 4 against high ends 2, 3, 3 of the others: all right.
    assert found["between"] == 1
    # Thresholds 4.75, 4.25 and 5.5 lie in 8..2 and 7..3, but not in 4..3.
    assert found["in range"] == pytest.approx(2 / 3)
    assert (found["at middle"], found["lowest"], found["highest"]) == (5, 3.5, 6)


def test_a_folder_with_ranges_is_read(capsys: pytest.CaptureFixture[str], tmp_path: Path, photo: np.ndarray) -> None:
    lines = ["reference,staged_files,file_number_at_lo,file_number_at_hi"]
    for name in ("x", "y"):
        PILImage.fromarray(photo).save(tmp_path / f"{name}.png")
        numbers = (95, 54, 39, 23, 5)
        for number in numbers:
            PILImage.fromarray(noisy(photo, 1 + (100 - number) / 5)).save(tmp_path / f"{name}_{number:03}.png")
        lines.append(f"{name}.png,{' '.join(f'{name}_{number:03}.png' for number in numbers)},54,23")
    (tmp_path / "jnd_ranges.csv").write_text("\n".join(lines))
    first = agreement.read_jnd(tmp_path)[0]
    assert (first.low, first.middle, first.high, first.versions[2].name) == (1, 2, 3, "x_039.png")
    row = json.loads(report(capsys, "--metrics", "psnr", "--json", tmp_path)[1])
    assert (row["order"], row["between"], row["in range"]) == (1, 1, 1)
    lines[1] = lines[1].replace(",54,23", ",54,5")
    (tmp_path / "jnd_ranges.csv").write_text("\n".join(lines))
    with pytest.raises(UsageError, match="line 2: the range does not begin and end two versions apart"):
        agreement.read_jnd(tmp_path)


def test_metrics_agree_with_people_about_what_is_noticeable(capsys: pytest.CaptureFixture[str], data_dir: Path) -> None:
    code, out, _ = report(capsys, "--metrics", "psnr", "--json", data_dir / "rated" / "konjnd")
    assert code == 0
    row = json.loads(out)
    assert (row["order"], row["in range"]) == (1, 0.7)
    assert row["between"] == pytest.approx(74 / 90)
