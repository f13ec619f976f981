"""Writing results: tables as CSV and JSON Lines, plots, and a page that holds all of them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from aquatint.evaluation import originals
from aquatint.study import plots, results, screening
from aquatint.study.files import Study
from aquatint.study.results import Results


def write(study: Study, found: Results, folder: Path) -> None:
    """Writes elo, raters, agreement and votes as .csv and .jsonl, plots as .svg and .png, and index.html.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = plots.draw(found.kept)
    for name, data in drawn.items():
        originals.write(folder / name, data)
    _table(folder / "elo", results.rows(found))
    _table(folder / "raters", [screening.summary(record) for record in found.records])
    _table(folder / "agreement", [vars(one) for one in found.agreement])
    _table(folder / "votes", _votes(study, found))
    originals.write(folder / "index.html", _page(study, found, drawn).encode())


def _votes(study: Study, found: Results) -> list[Mapping[str, object]]:
    """What others need to analyse the votes anew: names instead of ids."""
    flagged = {record.rater for record in found.records if record.reasons}
    table = []
    for ballot in found.ballots:
        left, right = study.by_id[ballot.trial.left], study.by_id[ballot.trial.right]
        table.append(
            {
                "rater": ballot.trial.rater,
                "flagged": ballot.trial.rater in flagged,
                "position": ballot.trial.position,
                "kind": str(ballot.trial.kind),
                "picture": ballot.picture,
                "rate": left.rate or right.rate,
                "left": left.condition or str(left.role),
                "right": right.condition or str(right.role),
            }
            | {name: value for name, value in vars(ballot.vote).items() if name != "trial"}
        )
    return table


def _table(stem: Path, table: Sequence[Mapping[str, object]]) -> None:
    lines = [json.dumps({name: _plain(value) for name, value in row.items()}) + "\n" for row in table]
    originals.write(stem.with_suffix(".jsonl"), "".join(lines).encode())
    out = io.StringIO()
    if table:
        writer = csv.DictWriter(out, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _plain(value) for name, value in row.items()} for row in table)
    originals.write(stem.with_suffix(".csv"), out.getvalue().encode())


def _plain(value: object) -> object:
    """What JSON has: None for numbers that are not finite."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def _page(study: Study, found: Results, drawn: Mapping[str, bytes]) -> str:
    pages = Environment(
        loader=PackageLoader("aquatint.study"), autoescape=select_autoescape(), undefined=StrictUndefined
    )
    pages.filters["number"] = lambda value, digits: f"{value:.{digits}f}" if math.isfinite(value) else "-"
    # matplotlib escapes the names in it.
    svg = {name: Markup(data.decode().split("?>", 1)[1]) for name, data in drawn.items() if name.endswith(".svg")}
    ordinary = [ballot for ballot in found.ballots if ballot.trial.kind == "pair"]
    return pages.get_template("report.html").render(study=study, found=found, svg=svg, ordinary=len(ordinary))
