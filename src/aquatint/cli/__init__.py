"""The command line, one module for each command.

Every run pays for what is imported here, and a decode takes hardly longer than that: so the commands import the
library, numpy and rich inside their functions, when they need them.
"""

from __future__ import annotations

import io
import signal
import sys
import warnings
from typing import Annotated

import typer

from aquatint.cli import models
from aquatint.cli.decode import decode
from aquatint.cli.encode import encode
from aquatint.cli.evaluate import evaluate
from aquatint.cli.info import info
from aquatint.cli.metrics import metrics
from aquatint.cli.sample import sample
from aquatint.cli.study import study
from aquatint.cli.train import CONTEXT, train

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(encode)
app.command()(decode)
app.command()(info)
app.command()(metrics)
app.command()(evaluate)
app.command()(sample)
app.command(context_settings=CONTEXT)(train)
app.command()(models.export)
app.add_typer(models.app, name="models")
app.add_typer(study, name="study")


def _print_version(wanted: bool) -> None:
    if wanted:
        from aquatint import __version__

        typer.echo(f"aquatint {__version__}")
        raise typer.Exit


@app.callback()
def aquatint(
    version: Annotated[
        bool, typer.Option("-V", "--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """An image codec for photographs at very low rates."""


def main() -> None:
    """Runs the command line and exits: 0 if all is well, 1 after an error, 2 for wrong usage, 130 or 143 if stopped."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _stop)
    warnings.formatwarning = lambda message, *_, **__: f"aquatint: warning: {message}\n"
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files in an encoding that lacks their letters
    app(prog_name="aquatint")


def _stop(number: int, _: object) -> None:
    """Turns a signal into an exception, so that what is half done is cleaned up on the way out."""
    raise SystemExit(128 + number)
