"""Runs of many codecs over many pictures and rates: resumed where they stopped, with failures as rows."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from aquatint.errors import AquatintError, DependencyError
from aquatint.evaluation import jobs, metrics, originals, pool
from aquatint.evaluation.coders import Coder
from aquatint.evaluation.jobs import Job, Outcome
from aquatint.evaluation.originals import Picture
from aquatint.evaluation.statistics import Estimate


@dataclass(frozen=True)
class Row:
    """One codec, one rate, one picture. Columns are described in docs/evaluation.md.

    Attributes:
        codec: its name.
        version, settings: what its files depend on besides.
        target_bpp: the rate that was aimed for.
        picture: what was coded.
        folder: of the result, if there is one.
        outcome: what came of it.
    """

    codec: str
    version: str
    settings: str
    target_bpp: float
    picture: Picture
    folder: Path | None
    outcome: Outcome

    @property
    def ok(self) -> bool:
        """There is a file and a decoded picture."""
        return self.outcome.status == "ok"

    @property
    def bpp(self) -> float:
        """Of the whole file."""
        return self.outcome.record["bpp"]

    def metric(self, name: str) -> float | None:
        """A metric's value, None if there is none."""
        return self.outcome.record.get("metrics", {}).get(name)


@dataclass(frozen=True)
class SetRow:
    """One codec and one rate over all pictures.

    Attributes:
        codec, target_bpp: see `Row`.
        bpp: mean over the pictures.
        count: pictures.
        values: metrics that compare sets, by name, with their intervals over the pictures.
        error: which are lacking, and why.
    """

    codec: str
    target_bpp: float
    bpp: float
    count: int
    values: Mapping[str, Estimate]
    error: str | None = None


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        done, total: jobs. What an earlier run has done counts as done.
        seconds_left: a guess from the mean times of the codecs; NaN at the beginning.
        row: the job that has just been finished.
    """

    done: int
    total: int
    seconds_left: float
    row: Row


@dataclass(frozen=True)
class Run:
    """What is to be evaluated.

    Attributes:
        pictures: files.
        coders: codecs.
        rates: in bits per pixel.
        metrics: names; those that compare sets are computed over all pictures.
        folder: of results.
        workers: processes.
        device: where networks of metrics compute.
    """

    pictures: Sequence[Path]
    coders: Sequence[Coder]
    rates: Sequence[float]
    metrics: Sequence[str]
    folder: Path
    workers: int = 1
    device: str = "cpu"


@dataclass
class _Clock:
    """Guesses the time that is left from how long a pixel has taken with each codec."""

    workers: int
    spent: dict[str, list[float]] = field(default_factory=dict)

    def add(self, codec: str, pixels: int, seconds: float) -> None:
        times = self.spent.setdefault(codec, [0.0, 0.0])
        times[0] += seconds
        times[1] += pixels

    def left(self, waiting: Iterable[Row]) -> float:
        totals = [sum(column) for column in zip(*self.spent.values(), strict=True)] or [float("nan"), 1]
        seconds = 0.0
        for row in waiting:
            time_spent, pixels = self.spent.get(row.codec, totals)
            seconds += row.picture.pixels * time_spent / max(pixels, 1)
        return seconds / self.workers


def run(plan: Run, progress: Callable[[Progress], None] = lambda _: None) -> list[Row]:
    """Does all jobs that are not done yet.

    Arguments:
        plan: what to do.
        progress: called after every job.

    Returns:
        A row for every codec, rate and picture, failures included, in this order: picture, codec, rate.

    Raises:
        OSError: the folder cannot be written to.
    """
    pictures = originals.take(plan.pictures, plan.folder / "originals")
    threads = max(1, pool.processors() // plan.workers)
    of_pairs = tuple(name for name in plan.metrics if not metrics.METRICS[name].on_sets)
    rows: dict[int, Row] = {}
    waiting: dict[int, tuple[Row, Job]] = {}
    for index, (picture, coder, bpp) in enumerate((p, c, r) for p in pictures for c in plan.coders for r in plan.rates):
        row, job = _plan(plan, picture, coder, bpp, of_pairs, threads)
        if job is None:
            rows[index] = row
        else:
            waiting[index] = row, job
    total = len(rows) + len(waiting)
    clock = _Clock(plan.workers)
    for done, row in enumerate(rows.values(), 1):
        progress(Progress(done, total, float("nan"), row))
    queue = [_Numbered(index, job) for index, (_, job) in waiting.items()]
    for numbered, result in pool.run(_execute, queue, plan.workers):
        row, _ = waiting.pop(numbered.index)
        outcome, seconds = (Outcome("failed", {}, str(result)), 0.0) if isinstance(result, pool.Crash) else result
        clock.add(row.codec, row.picture.pixels, seconds)
        rows[numbered.index] = row = _finish(row, numbered.job.folder, outcome)
        progress(Progress(len(rows), total, clock.left(row for row, _ in waiting.values()), row))
    return [rows[index] for index in sorted(rows)]


def _plan(
    plan: Run, picture: Picture, coder: Coder, bpp: float, names: tuple[str, ...], threads: int
) -> tuple[Row, Job | None]:
    """A row, and the job that fills it if there is something to do."""
    try:
        description: Mapping[str, object] = coder.describe()
        broken = None
    except DependencyError as error:
        description, broken = {}, Outcome("missing", {}, str(error))
    except AquatintError as error:
        description, broken = {}, Outcome("failed", {}, str(error))
    if picture.error is not None:
        broken = Outcome("failed", {}, picture.error)
    settings = json.dumps(description.get("settings", {}), sort_keys=True)
    row = Row(coder.name, str(description.get("version", "")), settings, bpp, picture, None, broken or Outcome("", {}))
    if broken is not None:
        return row, None
    folder = plan.folder / "jobs" / jobs.key({"name": coder.name, **description}, bpp, picture.digest)
    original = plan.folder / "originals" / f"{picture.digest}.png"
    job = Job(coder, bpp, original, folder, names, threads, plan.device)
    outcome = jobs.finished(job)
    return (row, job) if outcome is None else (_finish(row, folder, outcome), None)


def _finish(row: Row, folder: Path, outcome: Outcome) -> Row:
    place = folder if outcome.status == "ok" else None
    return Row(row.codec, row.version, row.settings, row.target_bpp, row.picture, place, outcome)


@dataclass(frozen=True)
class _Numbered:
    index: int
    job: Job


def _execute(numbered: _Numbered) -> tuple[Outcome, float]:
    start = time.perf_counter()
    return jobs.execute(numbered.job), time.perf_counter() - start


def measure_sets(plan: Run, rows: Sequence[Row]) -> list[SetRow]:
    """Computes the metrics that compare sets, over the pictures of each codec and rate; cached like jobs.

    Only where all readable pictures are there: else the sets of codecs would differ.
    """
    names = [name for name in plan.metrics if metrics.METRICS[name].on_sets]
    if not names:
        return []
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        if row.picture.error is None:
            groups.setdefault((row.codec, row.target_bpp), []).append(row)
    reasons = {name: metrics.missing(name) for name in names}
    usable = [name for name, reason in reasons.items() if reason is None]

    @cache
    def references(digests: tuple[str, ...]) -> metrics.SetFeatures:
        pictures = (originals.load_png(plan.folder / "originals" / f"{digest}.png") for digest in digests)
        return metrics.set_features(pictures, usable, device=plan.device)

    return [_measure_set(plan, reasons, group, references) for group in groups.values() if all(row.ok for row in group)]


def _measure_set(
    plan: Run,
    reasons: Mapping[str, str | None],
    group: Sequence[Row],
    references: Callable[[tuple[str, ...]], metrics.SetFeatures],
) -> SetRow:
    """A group's row: metrics by name, each with the reason why it cannot be computed, or None."""
    folders = [row.folder for row in group if row.folder is not None]
    content = json.dumps([jobs.metrics_fingerprint(), [folder.name for folder in folders]])
    path = plan.folder / "sets" / f"{hashlib.sha256(content.encode()).hexdigest()[:20]}.json"
    try:
        values: dict[str, Estimate] = {name: Estimate(**found) for name, found in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError):
        values = {}
    wanted = [name for name in reasons if name not in values]
    lacks = []

    @cache
    def both() -> tuple[metrics.SetFeatures, metrics.SetFeatures]:
        distorted = (originals.load_png(folder / jobs.DECODED) for folder in folders)
        usable = [name for name in wanted if reasons[name] is None]
        found = metrics.set_features(distorted, usable, device=plan.device)
        return references(tuple(row.picture.digest for row in group)), found

    for name in wanted:
        if reasons[name] is not None:
            lacks.append(f"{name}: {reasons[name]}")
            continue
        try:
            values |= metrics.compare_sets(*both(), [name])
        except AquatintError as error:
            lacks.append(f"{name}: {error}")
    path.parent.mkdir(parents=True, exist_ok=True)
    originals.write(path, json.dumps({name: asdict(found) for name, found in values.items()}).encode())
    bpp = sum(row.bpp for row in group) / len(group)
    chosen = {name: values[name] for name in reasons if name in values}
    return SetRow(group[0].codec, group[0].target_bpp, bpp, len(group), chosen, "; ".join(lacks) or None)
