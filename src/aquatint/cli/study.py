"""`aquatint study`: new, serve, results and simulate."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from aquatint.cli import files
from aquatint.cli.terminal import for_each, say, say_json
from aquatint.errors import DependencyError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aquatint.study.simulate import Power

study = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Let people decide which pictures are better.")

Folder = Annotated[str, typer.Argument(metavar="DIR", show_default=False)]
_SERVER = ("starlette", "uvicorn", "jinja2", "itsdangerous", "markdown_it")


@study.command()
def new(
    folder: Folder,
    evaluation: Annotated[str | None, typer.Option("--from", metavar="DIR", help="From aquatint evaluate.")] = None,
    stimuli: Annotated[str | None, typer.Option(metavar="DIR", help="reference/, and CODEC[@RATE]/ for each.")] = None,
    layout: Annotated[str, typer.Option(help="side-by-side, flip or flip-with-reference.")] = "side-by-side",
    trials: Annotated[int, typer.Option(help="Of one rater.")] = 60,
    crop: Annotated[int, typer.Option(help="Larger pictures are cropped to this many pixels a side.")] = 1024,
    mismatch: Annotated[float, typer.Option(help="Per cent by which the files of a picture may differ.")] = 2.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the places of crops.")] = 0,
) -> None:
    """Make a study: a folder DIR with settings and texts to edit, and the pictures.

    Codecs are compared at one rate and on one picture. sizes.csv in the folder of --stimuli, with the columns folder,
    picture and bytes, tells the sizes of files, which must match.
    """
    from aquatint.study import prepare, sources
    from aquatint.study.files import Settings

    if evaluation is not None and stimuli is None:
        find = partial(sources.from_evaluation, evaluation)
    elif stimuli is not None and evaluation is None:
        find = partial(sources.from_folder, stimuli)
    else:
        raise typer.BadParameter("one of --from and --stimuli says what is compared")
    with _usage():
        # Of short studies a tenth is golden pairs, a tenth repeats.
        checks = min(Settings.golden, trials // 10)
        settings = Settings(layout=layout, trials=trials, golden=checks, repeats=checks)

    def work(target: str) -> None:
        found = find()
        if any(source.bytes is None for source in found):
            say("aquatint: warning: the sizes of files are not known, so nobody has checked that they match")
        prepare.new(target, found, settings, crop=crop, tolerance=mismatch / 100, seed=seed)
        say(f"{target}: edit study.toml, instructions.md and consent.md, then run: aquatint study serve {target}")

    for_each([folder], work, name=lambda path: path)


@study.command()
def serve(
    folder: Folder,
    host: Annotated[
        str, typer.Option(help="Address to listen at; beyond this machine, put HTTPS in front.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
) -> None:
    """Let raters vote in their browsers, until Ctrl-C. What was voted is kept, and goes on with the next start."""

    def work(path: str) -> None:
        _require("serving a study", _SERVER)
        from aquatint.study import server

        server.serve(path, host=host, port=port, say=say)

    for_each([folder], work, name=lambda path: path)


@study.command()
def results(
    folder: Folder,
    anchor: Annotated[str | None, typer.Option(metavar="CODEC", help="Its Elo is 1500, instead of the mean.")] = None,
    draws: Annotated[int, typer.Option(min=100, max=100_000, help="Of the bootstrap.")] = 1000,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a codec and rate on standard output.")
    ] = False,
) -> None:
    """Rank what was voted on, and write tables, plots and a page into DIR/results.

    A server may be running. Raters who did not look are left out, and listed.
    """

    def work(path: str) -> None:
        _require("results of a study", ("jinja2", "matplotlib"))
        from pathlib import Path

        from aquatint.study import ballots, database, files, report
        from aquatint.study import results as library

        study = files.load(path)
        votes = database.Database(study.folder / database.NAME, read_only=True)
        found = library.compute(study, ballots.read(study, votes), anchor=anchor, draws=draws)
        votes.close()
        target = Path(path) / "results"
        report.write(study, found, target)
        for record in found.records:
            if record.reasons:
                say(f"left out: rater {record.rater[:8]}, {' and '.join(record.reasons)}")
        for row in library.rows(found):
            if json:
                say_json(row)
            elif row["raters"] == "kept":
                interval = "{low:.0f} to {high:.0f}".format(**row) if math.isfinite(row["low"]) else "-"
                print("{rate:>8}  {condition:<24} {elo:7.0f}".format(**row), f" {interval:>14}  {row['votes']:6} votes")
        say(f"{target / 'index.html'}")

    for_each([folder], work, name=lambda path: path)


@study.command()
def simulate(
    elo: Annotated[str, typer.Option(help="What the codecs are worth, with commas between them.")] = "1450,1500,1550",
    raters: Annotated[str, typer.Option(help="Sizes of studies, with commas between them.")] = "10,20,40,80",
    trials: Annotated[int, typer.Option(min=1, help="Of a rater, golden pairs and repeats not included.")] = 52,
    not_sure: Annotated[float, typer.Option(min=0, max=0.9, help="Share of ties between equal codecs.")] = 0.1,
    taste: Annotated[float, typer.Option(min=0, help="Standard deviation of Elo from rater to rater.")] = 50.0,
    lapse: Annotated[float, typer.Option(min=0, max=0.9, help="Share of votes at random.")] = 0.02,
    studies: Annotated[int, typer.Option(min=1, help="To simulate of each size.")] = 20,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a size on standard output.")] = False,
    plot: Annotated[str | None, typer.Option(metavar="FILE", help="Draw the power curve: .svg or .png.")] = None,
) -> None:
    """Plan a study: how wide intervals are, and how surely neighbours are told apart, by the number of raters."""
    worth, sizes = _numbers(elo, float), _numbers(raters, int)
    from aquatint.study import simulate as library

    with _usage():
        # Davidson: equal codecs tie with probability v / (2 + v).
        truth = library.Truth(tuple(worth), ties=2 * not_sure / (1 - not_sure), taste=taste, lapse=lapse)

    def work(_: str) -> None:
        found = []
        if not json:
            print("raters   votes   interval   in order   told apart   coverage")
        for size in sizes:
            power = library.power(truth, size, trials, studies, seed)
            found.append(power)
            if json:
                say_json(vars(power))
            else:
                print(
                    f"{power.raters:6}  {power.votes:6}   ±{power.half_width:5.0f}     {power.ordered:7.0%}"
                    f"    {power.told_apart:8.0%}   {power.coverage:8.0%}",
                    flush=True,
                )
        if plot is not None:
            _plot(found, plot)

    for_each(["simulation"], work, name=lambda name: name)


def _plot(found: Sequence[Power], target: str) -> None:
    _require("a power curve", ("matplotlib",))
    from aquatint.study import plots

    files.save_bytes(target, plots.power(found, "svg" if target.endswith(".svg") else "png"))


def _numbers(text: str, kind: Callable[[str], float]) -> list:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{text!r} are not numbers with commas between them") from None


def _require(what: str, modules: Sequence[str]) -> None:
    lacking = [module for module in modules if importlib.util.find_spec(module) is None]
    if lacking:
        raise DependencyError(f"{what} needs {', '.join(lacking)}: pip install 'aquatint[study]'")


@contextmanager
def _usage() -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        raise typer.BadParameter(str(error)) from None
