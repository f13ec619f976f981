"""What the commands say: results to standard output, words to standard error."""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import typer

from aquatint.errors import AquatintError

if TYPE_CHECKING:
    from aquatint.codecs import Progress

Item = TypeVar("Item")


def printable(name: str, *, standard: str = "<stdin>") -> str:
    """A file name on one line: control characters and bytes that are not UTF-8 escaped, `standard` for "-"."""
    if name == "-":
        return standard
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def say(line: str) -> None:
    """A line for people."""
    print(line, file=sys.stderr, flush=True)


def say_json(values: Mapping[str, object]) -> None:
    """A line for programs; numbers that JSON does not have are null."""
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values.items()
    }
    print(json.dumps(finite), flush=True)


def for_each(items: Iterable[Item], work: Callable[[Item], None], *, name: Callable[[Item], str]) -> None:
    """Works on every item; one that fails is reported, and the others go on.

    Raises:
        typer.Exit: with status 1, after the last item, if one has failed.
    """
    failed = False
    for item in items:
        try:
            work(item)
        except BrokenPipeError:  # nobody listens any more
            raise
        except (AquatintError, OSError, MemoryError) as error:
            failed = True
            say(f"aquatint: error: {_sentence(error, name(item))}")
            if os.environ.get("AQUATINT_DEBUG") == "1":
                traceback.print_exception(error)
    if failed:
        raise typer.Exit(1)


def _sentence(error: Exception, name: str) -> str:
    """One line that names the file and what is wrong with it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{printable(str(error.filename or name))}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"{printable(name)}: not enough memory"
    message = " ".join(printable(line) for line in str(error).splitlines())
    prefix = f"{printable(name)}: "
    return message if message.startswith(prefix) else prefix + message


@contextmanager
def progress_bar(name: str, *, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A live line on standard error, or None if that is not a terminal or nothing is to be said.

    Arguments:
        name: of the picture.
        quiet: show nothing.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich import progress
    from rich.console import Console
    from rich.table import Column

    columns = [
        progress.TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, max_width=32)),
        progress.BarColumn(),
        progress.TextColumn("{task.completed}/{task.total} {task.fields[state]}", markup=False),
    ]
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(printable(name), total=None, state="")

        def update(now: Progress) -> None:
            state = f"{now.bpp:.3f} bpp {now.psnr:.2f} dB {clock(now.seconds_left)} left"
            bar.update(task, completed=now.step, total=now.steps, state=state)

        yield update


def clock(seconds: float) -> str:
    """Minutes and seconds, for a time that may not be known."""
    if not math.isfinite(seconds):
        return "-:--"
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02}"
