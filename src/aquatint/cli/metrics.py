"""`aquatint metrics`."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Annotated

import typer

from aquatint.cli import files
from aquatint.cli.terminal import for_each, printable, say_json
from aquatint.errors import DependencyError, UsageError

if TYPE_CHECKING:
    from aquatint.evaluation.statistics import Estimate


def metrics(
    reference: Annotated[str, typer.Argument(metavar="REF", show_default=False)],
    distorted: Annotated[str, typer.Argument(metavar="DIST", show_default=False)],
    names: Annotated[str, typer.Option("--metrics", help="Names with commas between them, or all.")] = "psnr,ms-ssim",
    device: Annotated[str, typer.Option(help="Where networks compute: cpu, cuda or cuda:N.")] = "cpu",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a pair on standard output.")] = False,
) -> None:
    """Measure how pictures differ from their originals.

    REF and DIST are two pictures, or two folders of pictures with the same names; .aqt files are decoded. "-" is
    standard input. Of folders the means are printed last, with the metrics that compare whole sets. "all" is every
    metric whose packages and weights are at hand.
    """
    from aquatint.evaluation import metrics as library
    from aquatint.evaluation import pictures

    folders = os.path.isdir(reference)
    if folders != os.path.isdir(distorted):
        raise typer.BadParameter(f"{reference!r} and {distorted!r} must be two pictures or two folders")
    if reference == distorted == files.STANDARD:
        raise typer.BadParameter("only one picture can come from standard input")
    try:
        chosen = [metric.name for metric in library.select(names)]
    except UsageError as error:
        raise typer.BadParameter(str(error)) from None
    of_pairs = [name for name in chosen if not library.METRICS[name].on_sets]
    of_sets = [name for name in chosen if library.METRICS[name].on_sets]
    measured: list[Mapping[str, float]] = []

    def check(name: str) -> None:
        if (lack := library.missing(name)) is not None:
            raise DependencyError(lack)

    def compare(pair: tuple[str, str]) -> None:
        first, second = (pictures.load(_opened(path)) for path in pair)
        values = library.measure(first, second, of_pairs, device=device)
        measured.append(values)
        sets = {} if folders else library.measure_sets([first], [second], of_sets, device=device)
        _report(pair, {}, values, sets, json=json)

    def summarise(pair: tuple[str, str]) -> None:
        folder = pictures.Folder(pair[0])
        values = {name: sum(row[name] for row in measured) / len(measured) for name in of_pairs}
        sets = library.measure_sets(folder, pictures.Folder(pair[1]), of_sets, device=device)
        _report(pair, {"pictures": len(folder)}, values, sets, json=json)

    pair = (reference, distorted)
    for_each(chosen, check, name=lambda name: name)
    if not folders:
        for_each([pair], compare, name=lambda pair: pair[1])
        return
    matched: list[tuple[str, str]] = []
    for_each([pair], lambda pair: matched.extend(pictures.pairs(*pair)), name=lambda pair: pair[1])
    if of_pairs:
        for_each(matched, compare, name=lambda pair: pair[1])
    for_each([pair], summarise, name=lambda pair: pair[1])


def _opened(path: str) -> str | IO[bytes]:
    """What a picture is loaded from; standard input as a file that can be rewound."""
    return io.BytesIO(sys.stdin.buffer.read()) if path == files.STANDARD else path


def _report(
    pair: tuple[str, str],
    facts: Mapping[str, object],
    values: Mapping[str, float],
    sets: Mapping[str, Estimate],
    *,
    json: bool,
) -> None:
    from aquatint.evaluation.statistics import with_ends

    if json:
        say_json({"reference": pair[0], "distorted": pair[1], **facts, **values, **with_ends(sets)})
        return
    words = [f"{value} {name}" for name, value in facts.items()]
    words += [f"{name} {value:.5g}" for name, value in values.items()]
    for name, found in sets.items():
        interval = "" if found.low is None else f" ({found.low:.3g} to {found.high:.3g})"
        words.append(f"{name} {found.mean:.5g}{interval}")
    print(f"{printable(pair[1])}: {', '.join(words)}", flush=True)
