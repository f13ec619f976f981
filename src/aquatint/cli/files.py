"""Which file goes where, and files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import typer

STANDARD = "-"  # standard input or output; a file of this name is ./-


@dataclass(frozen=True)
class Job:
    """One input and its output.

    Attributes:
        source, target: paths as they were given, or "-". Strings, because `Path` would make "-" of "./-".
        named: the target was given, not derived from the source.
    """

    source: str
    target: str
    named: bool


def plan(paths: list[str], extension: str) -> list[Job]:
    """Inputs and outputs of IN, IN OUT, or IN... FOLDER, as with cp.

    A derived output has the name of its input with another extension, beside the input or in the folder.

    Arguments:
        paths: the arguments of the command, at least one.
        extension: of derived outputs, with its dot.

    Raises:
        typer.BadParameter: they make no sense, or an input or output would be overwritten.
    """
    jobs = _pair(paths, extension)
    targets: dict[str, str] = {}
    for job in jobs:
        if job.target == STANDARD:
            if sys.stdout.isatty():
                raise typer.BadParameter("binary data is not written to a terminal: name an output or redirect")
            continue
        if job.source != STANDARD and _is_same_file(job.source, job.target):
            raise typer.BadParameter(f"{job.target!r} is both input and output")
        other = targets.setdefault(os.path.normcase(os.path.realpath(job.target)), job.source)
        if other is not job.source:
            raise typer.BadParameter(f"{other!r} and {job.source!r} would both be written to {job.target!r}")
    return jobs


def _pair(paths: list[str], extension: str) -> list[Job]:
    *sources, last = paths
    if not sources:
        target = STANDARD if last == STANDARD else os.path.splitext(last)[0] + extension
        return [Job(last, target, named=False)]
    if os.path.isdir(last):
        if STANDARD in sources:
            raise typer.BadParameter("standard input has no name: name its output instead of a folder")
        stems = [os.path.splitext(os.path.basename(source))[0] for source in sources]
        return [
            Job(source, os.path.join(last, stem + extension), named=False)
            for source, stem in zip(sources, stems, strict=True)
        ]
    if len(sources) > 1 or last.endswith(os.sep):
        raise typer.BadParameter(f"several inputs need a folder that exists as the last argument; {last!r} is none")
    return [Job(sources[0], last, named=True)]


def _is_same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:  # one of them does not exist
        return False


def read(source: str) -> str | BinaryIO:
    """What the library reads a source from: its path, or standard input."""
    return sys.stdin.buffer if source == STANDARD else source


def check(target: str, *, overwrite: bool) -> None:
    """Fails early if a target cannot be written.

    Raises:
        OSError: its folder does not exist or is not writable, or it exists and must not be overwritten.
    """
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    if is_stream(target):
        return
    folder = os.path.dirname(os.path.realpath(target))
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "its folder does not exist", target)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "its folder is not writable", target)
    if not overwrite and os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "exists already", target)


def save(target: str, write: Callable[[str | BinaryIO], object]) -> None:
    """Has a target written to as a whole: by its temporary path, or to standard output.

    Raises:
        OSError: the disk is full or the target cannot be written.
    """
    if target == STANDARD:
        write(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    try:
        with nullcontext(target) if is_stream(target) else _replacing(target) as path:
            write(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, target) from error


def save_bytes(target: str, data: bytes) -> None:
    """Writes a whole file, or to standard output; raises OSError like `save`."""
    save(target, lambda out: Path(out).write_bytes(data) if isinstance(out, str) else out.write(data))


def is_stream(target: str) -> bool:
    """Whether a target is standard output, a device or a pipe, which a file must not replace."""
    return target == STANDARD or (os.path.exists(target) and not os.path.isfile(target))


@contextmanager
def _replacing(target: str) -> Iterator[str]:
    """A path in the target's folder that becomes the target at the end, or vanishes after an exception."""
    final = os.path.realpath(target)  # through a link, not over it
    partial = os.path.join(os.path.dirname(final), f".{os.urandom(8).hex()}{os.path.splitext(final)[1]}")
    try:
        yield partial
        os.replace(partial, final)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(partial)
