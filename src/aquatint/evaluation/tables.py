"""The rows of a run as files: JSON Lines, CSV, and Parquet where pyarrow is installed.

The columns are described in docs/evaluation.md.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aquatint.evaluation import analysis, originals
from aquatint.evaluation.runner import Row, SetRow
from aquatint.evaluation.statistics import with_ends

_MEASURED = (
    "bytes",
    "bpp",
    "setting",
    "trials",
    "encode_seconds",
    "decode_seconds",
    "encode_memory_mib",
    "threads",
    "multiplications_per_pixel",
)


def flat(row: Row, metrics: Sequence[str], folder: Path) -> dict[str, Any]:
    """A row with all columns; what is not known is None. Paths are relative to `folder`."""
    record, picture = row.outcome.record, row.picture
    place = None if row.folder is None else os.path.relpath(row.folder, folder)
    return {
        "codec": row.codec,
        "version": row.version,
        "settings": row.settings,
        "target_bpp": row.target_bpp,
        "picture": picture.name,
        "picture_digest": picture.digest or None,
        "width": picture.width or None,
        "height": picture.height or None,
        "status": row.outcome.status,
        "error": row.outcome.error,
        **{name: record.get(name) for name in _MEASURED},
        **{name: row.metric(name) for name in metrics},
        "folder": place,
    }


def write(
    folder: Path, rows: Sequence[Row], sets: Sequence[SetRow], metrics: Sequence[str], *, anchor: str
) -> list[str]:
    """Writes results.*, differences.* and, if there are metrics on sets, sets.* into a folder; the names of the files.

    Arguments:
        folder: exists.
        rows, sets, metrics: of a run.
        anchor: the codec that the others are compared with.

    Raises:
        OSError: the disk is full or the folder cannot be written to.
    """
    names = _write(folder / "results", [flat(row, metrics, folder) for row in rows])
    names += _write(folder / "differences", _differences(rows, sets, metrics, anchor))
    if sets:
        flat_sets = [
            {
                "codec": row.codec,
                "target_bpp": row.target_bpp,
                "bpp": row.bpp,
                "pictures": row.count,
                **with_ends(row.values),
                "error": row.error,
            }
            for row in sets
        ]
        names += _write(folder / "sets", flat_sets)
    return names


def _differences(
    rows: Sequence[Row], sets: Sequence[SetRow], metrics: Sequence[str], anchor: str
) -> list[dict[str, Any]]:
    lines = []
    for metric in metrics:
        for codec in analysis.names(rows):
            found = analysis.difference(rows, sets, anchor, codec, metric)
            line: dict[str, Any] = {"anchor": anchor, "codec": codec, "metric": metric}
            line |= with_ends({"bd_rate": found.rate, "bd_metric": found.metric})
            reasons = "; ".join(f"{picture}: {reason}" for picture, reason in found.skipped.items())
            lines.append(line | {"pictures": found.rate.count if found.rate else 0, "error": reasons or None})
    return lines


def _write(stem: Path, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Writes a table in all forms; the names of the files."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    originals.write(stem.with_suffix(".jsonl"), lines.encode())
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    originals.write(stem.with_suffix(".csv"), out.getvalue().encode())
    names = [f"{stem.name}.jsonl", f"{stem.name}.csv"]
    if importlib.util.find_spec("pyarrow") is not None:
        import pyarrow  # pyright: ignore[reportMissingImports]
        from pyarrow import parquet  # pyright: ignore[reportMissingImports]

        table = pyarrow.Table.from_pylist([{name: row.get(name) for name in columns} for row in rows])
        parquet.write_table(table, stem.with_suffix(".parquet"))
        names.append(f"{stem.name}.parquet")
    return names
