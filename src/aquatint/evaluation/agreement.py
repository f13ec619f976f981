"""Do the metrics agree with people? `python -m aquatint.evaluation.agreement [options] DATA...`

DATA is a CSV file with the columns reference, distorted and score, or a folder of KonJND-1k with its `jnd_ranges.csv`.
Every metric is computed for every pair; a table in Markdown is printed for each DATA.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from aquatint.errors import AquatintError, UsageError
from aquatint.evaluation import pictures
from aquatint.evaluation.correlation import kendall, pearson, spearman, two_choice_accuracy
from aquatint.evaluation.metrics import METRICS, measure, select

JND_TABLE = "jnd_ranges.csv"


@dataclass(frozen=True)
class Rated:
    """A distorted picture, its original, and what people think of it: a score that is larger for the better."""

    reference: Path
    distorted: Path
    score: float


@dataclass(frozen=True)
class Noticeable:
    """Versions of a photograph by one codec, from the least to the most distorted.

    Attributes:
        reference: the photograph.
        versions: the files.
        low, middle, high: places in `versions` of the two ends and the middle of the range of levels that people
            called just noticeable.
    """

    reference: Path
    versions: tuple[Path, ...]
    low: int
    middle: int
    high: int


def read_scores(path: str | Path, *, lower_is_better: bool = False) -> list[Rated]:
    """Rows of a CSV file with the columns reference, distorted and score; other columns are left alone.

    Arguments:
        path: the file, UTF-8. Names of pictures are relative to its folder.
        lower_is_better: the scores are of distortion, such as DMOS.

    Raises:
        UsageError: a column is missing, a score is no number, or there are fewer than two rows.
        OSError: the file cannot be read.
    """
    path = Path(path)
    sign = -1 if lower_is_better else 1
    rated = []
    for number, row in _rows(path, ("reference", "distorted", "score")):
        try:
            score = float(row["score"])
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise UsageError(f"{path}, line {number}: the score {row['score']!r} is not a finite number")
        rated.append(Rated(path.parent / row["reference"], path.parent / row["distorted"], sign * score))
    if len(rated) < 2:
        raise UsageError(f"{path}: at least two rated pictures are needed, not {len(rated)}")
    return rated


def read_jnd(folder: str | Path) -> list[Noticeable]:
    """The photographs of a folder of KonJND-1k.

    Its table `jnd_ranges.csv` has the columns reference, staged_files (names from the least to the most distorted, with
    spaces between them) and file_number_at_lo and file_number_at_hi (the number at the end of the names of those at the
    ends of the range; the version between them is its middle).

    Raises:
        UsageError: a column is missing, or a row does not name five versions that include the range.
        OSError: the table cannot be read.
    """
    table = Path(folder) / JND_TABLE
    found = []
    for number, row in _rows(table, ("reference", "staged_files", "file_number_at_lo", "file_number_at_hi")):
        names = row["staged_files"].split()
        places = {Path(name).stem.rpartition("_")[2].lstrip("0"): place for place, name in enumerate(names)}
        low, high = places.get(row["file_number_at_lo"]), places.get(row["file_number_at_hi"])
        if low is None or high is None or high - low != 2:
            raise UsageError(f"{table}, line {number}: the range does not begin and end two versions apart")
        versions = tuple(table.parent / name for name in names)
        found.append(Noticeable(table.parent / row["reference"], versions, low, low + 1, high))
    if len(found) < 2:
        raise UsageError(f"{table}: at least two photographs are needed, not {len(found)}")
    return found


def values(pairs: Iterable[tuple[Path, Path]], names: Sequence[str], *, device: str = "cpu") -> dict[str, np.ndarray]:
    """Metrics of pairs of an original and a distorted picture, with their signs turned so that more is better.

    Arguments:
        pairs: files; those of one original are best kept together, for it is then loaded once.
        names: of metrics that compare two pictures.
        device: where networks compute.

    Returns:
        (N,) a metric.

    Raises:
        AquatintError, OSError: see `pictures.load` and `measure`.
    """
    rows = []
    original, loaded = None, np.empty(0)
    for reference, distorted in pairs:
        if reference != original:
            original, loaded = reference, pictures.load(reference)
        try:
            rows.append(measure(loaded, pictures.load(distorted), names, device=device))
        except AquatintError as error:
            raise type(error)(f"{distorted}: {error}") from error
    signs = {name: 1 if METRICS[name].higher_is_better else -1 for name in names}
    return {name: sign * np.array([row[name] for row in rows]) for name, sign in signs.items()}


def score_agreement(rated: Sequence[Rated], better: np.ndarray) -> dict[str, float]:
    """Correlation of a metric with scores, and how often it prefers the same of two versions of a photograph.

    Arguments:
        rated: N pictures.
        better: (N,), the metric, larger for the better.
    """
    scores = np.array([item.score for item in rated])
    return {
        "pearson": pearson(better, scores),
        "spearman": spearman(better, scores),
        "kendall": kendall(better, scores),
        "two-choice": two_choice_accuracy(better, scores, [item.reference for item in rated]),
    }


def jnd_agreement(photographs: Sequence[Noticeable], better: np.ndarray) -> dict[str, float]:
    """How well a metric orders versions and finds where distortion becomes noticeable.

    Arguments:
        photographs: each with its versions.
        better: (N,), the metric of all versions of the first, of the second, ... photograph, larger for the better.

    Returns:
        order: share of pairs of versions of one photograph in the right order.
        between: share of right orders between the low end of one photograph's range and the high end of another's.
        in range: share of photographs in whose range the metric passes a threshold, the median of its values at the
            middles of the other photographs' ranges.
        at middle, lowest, highest: median and extremes over the photographs of the metric in the middle of the range.
    """
    ends = np.cumsum([len(photograph.versions) for photograph in photographs])
    rows = np.split(better, ends[:-1])
    levels = np.concatenate([-np.arange(len(row)) for row in rows])
    groups = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    low, middle, high = (
        np.array([row[getattr(photograph, place)] for row, photograph in zip(rows, photographs, strict=True)])
        for place in ("low", "middle", "high")
    )
    others = ~np.eye(len(rows), dtype=bool)
    gaps = low[:, None] - high[None, :]
    between = np.mean((gaps > 0) + 0.5 * (gaps == 0), where=others)
    thresholds = [statistics.median(middle[row]) for row in others]
    return {
        "order": two_choice_accuracy(better, levels, list(groups)),
        "between": float(between),
        "in range": float(np.mean((low > thresholds) & (high < thresholds))),
        "at middle": float(np.median(middle)),
        "lowest": float(middle.min()),
        "highest": float(middle.max()),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, or 1 after an error."""
    parser = argparse.ArgumentParser(prog="python -m aquatint.evaluation.agreement", description=__doc__)
    parser.add_argument("data", nargs="+", help="a CSV file of scores, or a folder of KonJND-1k")
    parser.add_argument("--metrics", default="all", help="names with commas between them [all that can be computed]")
    parser.add_argument("--lower-is-better", action="store_true", help="scores are of distortion, as DMOS")
    parser.add_argument("--device", default="cpu", help="where networks compute: cpu, cuda or cuda:N [cpu]")
    parser.add_argument("--json", action="store_true", help="print one JSON object a metric instead of tables")
    options = parser.parse_args(arguments)
    try:
        names = [metric.name for metric in select(options.metrics) if not metric.on_sets]
        if not names:
            raise UsageError(f"none of {options.metrics} compares two pictures")
        for data in options.data:
            _print(data, _agreement(data, names, options.lower_is_better, options.device), as_json=options.json)
    except (AquatintError, OSError) as error:
        print(f"aquatint: error: {error}", file=sys.stderr)
        return 1
    return 0


def _agreement(
    data: str, names: Sequence[str], lower_is_better: bool, device: str
) -> tuple[str, dict[str, dict[str, float]]]:
    """What the data is, and the rows of its table by metric."""
    if Path(data).is_dir():
        photographs = read_jnd(data)
        pairs = [(item.reference, version) for item in photographs for version in item.versions]
        title = f"{len(pairs)} versions of {len(photographs)} photographs"
        judge = partial(jnd_agreement, photographs)
    else:
        rated = read_scores(data, lower_is_better=lower_is_better)
        pairs = [(item.reference, item.distorted) for item in rated]
        title = f"{len(pairs)} rated pictures"
        judge = partial(score_agreement, rated)
    found = {name: judge(better) for name, better in values(pairs, names, device=device).items()}
    for name, row in found.items():
        if "lowest" in row and not METRICS[name].higher_is_better:  # in the metric's own sign again
            row["at middle"], row["lowest"], row["highest"] = -row["at middle"], -row["highest"], -row["lowest"]
    return title, found


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line numbers and rows of a CSV file that must have these columns."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if lacking := [name for name in columns if name not in (reader.fieldnames or ())]:
            raise UsageError(f"{path}: there is no column {lacking[0]!r}; needed are {', '.join(columns)}")
        for row in reader:
            if any(row[name] is None for name in columns):
                raise UsageError(f"{path}, line {reader.line_num}: the row has too few columns")
            yield reader.line_num, row


def _print(data: str, result: tuple[str, Mapping[str, Mapping[str, float]]], *, as_json: bool) -> None:
    title, rows = result
    if as_json:
        for name, row in rows.items():
            finite = {key: value if math.isfinite(value) else None for key, value in row.items()}
            print(json.dumps({"data": data, "metric": name, **finite}))
        return
    columns = next(iter(rows.values())).keys()
    print(f"{data}: {title}\n")
    print(f"| metric | {' | '.join(columns)} |\n|---{'|---' * len(columns)}|")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(f'{value:.4g}' for value in row.values())} |")
    print()


if __name__ == "__main__":
    sys.exit(main())
