"""`aquatint evaluate`."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from aquatint.cli.terminal import clock, for_each, printable, say
from aquatint.errors import UsageError

if TYPE_CHECKING:
    from aquatint.evaluation.runner import Progress, Row


def evaluate(
    pictures: Annotated[list[str], typer.Argument(metavar="IMAGES...", show_default=False)],
    out: Annotated[str, typer.Option("-o", "--out", help="Folder of results.", show_default=False)],
    codecs: Annotated[str, typer.Option(help="Names with commas between them.")] = "overfitted:e5,avif,webp,jpeg",
    rates: Annotated[str, typer.Option(help="Bits per pixel, with commas between them.")] = "0.15,0.3,0.6",
    names: Annotated[str, typer.Option("--metrics", help="Names with commas between them, or all.")] = "psnr,ms-ssim",
    anchor: Annotated[
        str | None, typer.Option(help="Codec that the others are compared with [default: the last one].")
    ] = None,
    baselines: Annotated[
        str | None, typer.Option(help="Draw published curves: kodak, clic2020-valid or clic2020-test.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Jobs at the same time; times are exact only with 1.")] = 1,
    device: Annotated[str, typer.Option(help="Where networks of metrics compute: cpu, cuda or cuda:N.")] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
) -> None:
    """Compare codecs on pictures, and write tables, plots and a page to look at.

    IMAGES are files or folders. Codecs are overfitted:eN (N: effort; overfitted-TUNE:eN for another objective),
    hyperprior (hyperprior+GENERATOR for another decoder), extreme and transport; jpeg, mozjpeg, jpegli, webp, avif,
    avif-psnr, jxl, heic, jpeg2000 and vvc. The same command again continues where it stopped; what has been done with
    the same inputs is not done again.
    """
    from aquatint.evaluation import baselines as published
    from aquatint.evaluation import coders, metrics, originals, plots, report, runner, tables

    try:
        plan = runner.Run(
            pictures=originals.find(pictures),
            coders=coders.parse(_split(codecs)),
            rates=_rates(rates),
            metrics=[metric.name for metric in metrics.select(names)],
            folder=Path(out),
            workers=workers,
            device=device,
        )
        base = coders.parse([anchor])[0].name if anchor else plan.coders[-1].name
        if base not in [coder.name for coder in plan.coders]:
            raise UsageError(f"the anchor {base!r} is not one of the codecs")
        curves = published.load(baselines) if baselines else []
    except UsageError as error:
        raise typer.BadParameter(str(error)) from None

    rows: list[Row] = []

    def work(_: str) -> None:
        with _progress(quiet) as progress:
            rows.extend(runner.run(plan, progress))
        sets = runner.measure_sets(plan, rows)
        written = tables.write(plan.folder, rows, sets, plan.metrics, anchor=base)
        drawn = plots.draw(plan.folder / "plots", rows, sets, plan.metrics, curves)
        page = report.build(
            plan.folder / "report",
            plan,
            rows,
            sets,
            anchor=base,
            command=shlex.join(["aquatint", *sys.argv[1:]]),
            baselines=curves,
            plots=drawn,
            tables=written,
        )
        if not quiet:
            say(f"{page}: {len(rows)} results, {sum(row.ok for row in rows)} of them pictures")

    for_each([out], work, name=str)
    if any(row.outcome.status in ("failed", "missing") for row in rows):
        raise typer.Exit(1)


def _split(names: str) -> list[str]:
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    if not chosen:
        raise UsageError("no codec is named")
    return chosen


def _rates(text: str) -> list[float]:
    try:
        rates = sorted({float(part) for part in text.split(",") if part.strip()})
    except ValueError:
        raise UsageError(f"rates must be numbers with commas between them, not {text!r}") from None
    if not rates or not all(math.isfinite(rate) and 0 < rate <= 24 for rate in rates):
        raise UsageError(f"rates must lie between 0 and 24 bits per pixel, not {text!r}")
    return rates


class _Report(Protocol):
    def __call__(self, progress: Progress, /) -> None: ...


@contextmanager
def _progress(quiet: bool) -> Iterator[_Report]:
    """A bar on a terminal, else a line a job; failures are said in any case, each reason of a codec once."""
    said: set[tuple[str, str]] = set()

    def complain(row: Row) -> None:
        outcome = row.outcome
        reason = (row.codec if outcome.status == "missing" else row.picture.path, outcome.error or "")
        if outcome.status in ("failed", "missing") and reason not in said:
            said.add(reason)
            place = f"{printable(row.picture.path)}, {row.codec} at {row.target_bpp:g} bpp"
            say(f"aquatint: error: {place}: {outcome.error}")

    if quiet or not sys.stderr.isatty():

        def line(now: Progress) -> None:
            complain(now.row)
            if not quiet and not math.isnan(now.seconds_left):  # not for what an earlier run has done
                say(f"{now.done}/{now.total} {describe(now.row)}, {clock(now.seconds_left)} left")

        yield line
        return
    from rich import progress
    from rich.console import Console

    columns = [
        progress.BarColumn(),
        progress.TextColumn("{task.completed}/{task.total} {task.fields[state]}", markup=False),
    ]
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, state="")

        def update(now: Progress) -> None:
            complain(now.row)
            state = f"{clock(now.seconds_left)} left, {describe(now.row)}"
            bar.update(task, completed=now.done, total=now.total, state=state)

        yield update


def describe(row: Row) -> str:
    """A row in a few words."""
    words = f"{printable(row.picture.name)} {row.codec} {row.target_bpp:g} bpp"
    if not row.ok:
        return f"{words}: {row.outcome.status}"
    values = [f"{name} {value:.4g}" for name, value in row.outcome.record["metrics"].items() if value is not None]
    return f"{words}: {row.bpp:.3f} bpp, {', '.join(values)}"
