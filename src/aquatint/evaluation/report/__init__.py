"""The report: one folder with a page that needs no server, no network and nothing beside the folder."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

from aquatint import __version__
from aquatint.evaluation import analysis, jobs, originals
from aquatint.evaluation.baselines import Baseline
from aquatint.evaluation.curves import CurveError
from aquatint.evaluation.metrics import METRICS
from aquatint.evaluation.pool import processors
from aquatint.evaluation.report import crops
from aquatint.evaluation.runner import Row, Run, SetRow
from aquatint.evaluation.style import looks

_ASSETS = ("index.html", "page.css", "charts.js", "viewer.js", "page.js")


def build(
    folder: Path,
    plan: Run,
    rows: Sequence[Row],
    sets: Sequence[SetRow],
    *,
    anchor: str,
    command: str,
    baselines: Sequence[Baseline] = (),
    plots: Sequence[str] = (),
    tables: Sequence[str] = (),
) -> Path:
    """Writes the report into a folder; the path of its page.

    Pictures are linked, not copied, where the file system allows; the folder can be moved or packed all the same.

    Arguments:
        folder: of the report, made anew.
        plan, rows, sets: of a run.
        anchor: the codec that the others are compared with.
        command: that made the run.
        baselines: published curves.
        plots: names of pictures in the run's folder `plots`.
        tables: names of files in the run's folder.

    Raises:
        OSError: the disk is full or the folder cannot be written to.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "pictures").mkdir(parents=True)
    for name in _ASSETS:
        (folder / name).write_text(resources.files(__name__).joinpath(name).read_text("utf-8"), "utf-8")
    pictures = {row.picture.name: row.picture for row in rows}
    for picture in pictures.values():
        if picture.error is None:
            _link(plan.folder / "originals" / f"{picture.digest}.png", folder / "pictures" / f"{picture.digest}.png")
    for row in rows:
        if row.folder is not None:
            _link(row.folder / jobs.DECODED, folder / "pictures" / f"{row.folder.name}.png")
    for name in plots:
        for extension in ("svg", "png"):
            (folder / "plots").mkdir(exist_ok=True)
            _link(plan.folder / "plots" / f"{name}.{extension}", folder / "plots" / f"{name}.{extension}")
    for name in tables:
        _link(plan.folder / name, folder / name)
    content = facts(plan, rows, sets, anchor=anchor, command=command, baselines=baselines, plots=plots, tables=tables)
    # A script, for a page from file:// may not read other files.
    (folder / "data.js").write_text(f"const DATA = {json.dumps(content)};\n", "utf-8")
    return folder / "index.html"


def facts(
    plan: Run,
    rows: Sequence[Row],
    sets: Sequence[SetRow],
    *,
    anchor: str,
    command: str,
    baselines: Sequence[Baseline],
    plots: Sequence[str],
    tables: Sequence[str],
) -> dict[str, Any]:
    """All that the page shows, fit for JSON."""
    codecs = analysis.names(rows)
    pictures = {row.picture.name: row.picture for row in rows}
    first = {row.codec: row for row in reversed(rows)}
    styles = looks(codecs)
    return {
        "command": command,
        "machine": machine(),
        "anchor": anchor,
        "rates": list(plan.rates),
        "codecs": [
            {
                "name": codec,
                "version": first[codec].version,
                "settings": first[codec].settings,
                "own": first[codec].version.startswith("aquatint "),
                **asdict(styles[codec]),
            }
            for codec in codecs
        ],
        "metrics": [
            {
                "name": name,
                "title": METRICS[name].title,
                "higher": METRICS[name].higher_is_better,
                "sets": METRICS[name].on_sets,
            }
            for name in plan.metrics
        ],
        "pictures": [
            {
                "name": picture.name,
                "width": picture.width,
                "height": picture.height,
                "file": None if picture.error else f"pictures/{picture.digest}.png",
                "error": picture.error,
                "crops": {} if picture.error else _crops(plan, rows, picture.name),
            }
            for picture in pictures.values()
        ],
        "results": [_result(row, plan.metrics) for row in rows],
        "means": {
            metric: {codec: [asdict(p) for p in analysis.mean_curve(rows, sets, codec, metric)] for codec in codecs}
            for metric in plan.metrics
        },
        "differences": {
            metric: {
                codec: asdict(analysis.difference(rows, sets, anchor, codec, metric))
                for codec in codecs
                if codec != anchor
            }
            for metric in plan.metrics
        },
        "equal_bits": {metric: _equal_bits(plan, rows, sets, codecs, metric) for metric in plan.metrics},
        "baselines": [
            {
                "name": item.name,
                "note": item.note,
                "source": item.source,
                "curves": {metric: points.tolist() for metric, points in item.curves.items()},
            }
            for item in baselines
        ],
        "plots": list(plots),
        "tables": list(tables),
    }


def machine() -> str:
    """Processor, cores and versions, for times mean nothing without them."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        processor = lines[0].partition(":")[2].strip() if lines else processor
    return (
        f"{processor}, {processors()} threads, {platform.system()}, Python {platform.python_version()}, "
        f"Aquatint {__version__}"
    )


def _link(source: Path, target: Path) -> None:
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _result(row: Row, metrics: Sequence[str]) -> dict[str, Any]:
    record = row.outcome.record
    return {
        "codec": row.codec,
        "rate": row.target_bpp,
        "picture": row.picture.name,
        "status": row.outcome.status,
        "error": row.outcome.error,
        "file": None if row.folder is None else f"pictures/{row.folder.name}.png",
        "bytes": record.get("bytes"),
        "bpp": record.get("bpp"),
        "encode": record.get("encode_seconds"),
        "decode": record.get("decode_seconds"),
        "memory": record.get("encode_memory_mib"),
        "multiplications": record.get("multiplications_per_pixel"),
        "metrics": {name: row.metric(name) for name in metrics if not METRICS[name].on_sets},
    }


def _crops(plan: Run, rows: Sequence[Row], picture: str) -> dict[str, Any]:
    """By rate."""
    found = {}
    for rate in plan.rates:
        chosen = [row for row in rows if (row.picture.name, row.target_bpp) == (picture, rate) and row.folder]
        if len(chosen) > 1:
            original = originals.load_png(plan.folder / "originals" / f"{chosen[0].picture.digest}.png")
            decoded = {row.codec: originals.load_png(row.folder / jobs.DECODED) for row in chosen if row.folder}
            found[f"{rate:g}"] = [asdict(crop) for crop in crops.find(original, decoded)]
    return found


def _equal_bits(
    plan: Run, rows: Sequence[Row], sets: Sequence[SetRow], codecs: Sequence[str], metric: str
) -> dict[str, dict[str, float | None]]:
    """Values of mean curves by codec and rate; None where a curve does not reach."""
    table: dict[str, dict[str, float | None]] = {}
    for codec in codecs:
        points = analysis.mean_curve(rows, sets, codec, metric)
        table[codec] = {}
        for rate in plan.rates:
            try:
                table[codec][f"{rate:g}"] = analysis.at_equal_bits(points, metric, rate)
            except CurveError:
                table[codec][f"{rate:g}"] = None
    return table
