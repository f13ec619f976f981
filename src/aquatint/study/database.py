"""Raters, trials and votes in SQLite. Rows are only ever added; a vote that was acknowledged is on disk."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TypeVar

from aquatint.errors import AquatintError

NAME = "votes.sqlite"
VERSION = 1
CHOICES = ("left", "right", "neither")

_SCHEMA = """
CREATE TABLE raters (
    id TEXT PRIMARY KEY,
    seed INTEGER NOT NULL,
    joined REAL NOT NULL
) STRICT;
CREATE TABLE trials (
    id TEXT PRIMARY KEY,
    rater TEXT NOT NULL REFERENCES raters (id),
    position INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('pair', 'golden', 'repeat')),
    left TEXT NOT NULL,
    right TEXT NOT NULL,
    reference TEXT NOT NULL,
    shown REAL NOT NULL,
    UNIQUE (rater, position)
) STRICT;
CREATE TABLE votes (
    trial TEXT PRIMARY KEY REFERENCES trials (id),
    choice TEXT NOT NULL CHECK (choice IN ('left', 'right', 'neither')),
    seconds REAL NOT NULL,
    flips INTEGER NOT NULL,
    layout TEXT NOT NULL,
    viewport_width INTEGER NOT NULL,
    viewport_height INTEGER NOT NULL,
    pixel_ratio REAL NOT NULL,
    zoom REAL NOT NULL,
    input TEXT NOT NULL,
    received REAL NOT NULL
) STRICT;
"""
_APPEND_ONLY = "".join(
    f"CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table} BEGIN SELECT RAISE(ABORT, 'append only'); END;"
    for table in ("raters", "trials", "votes")
    for verb in ("UPDATE", "DELETE")
)


Row = TypeVar("Row", "Rater", "Trial", "Vote")


@dataclass(frozen=True)
class Rater:
    """Someone who has agreed to take part.

    Attributes:
        id: random.
        seed: of this rater's schedule.
        joined: seconds since 1970.
    """

    id: str
    seed: int
    joined: float


@dataclass(frozen=True)
class Trial:
    """One question to one rater.

    Attributes:
        id: random.
        rater: whom it is put to.
        position: 0 for the first.
        kind: what for, a `design.Kind`.
        left, right, reference: ids of stimuli.
        shown: when it was made, seconds since 1970.
    """

    id: str
    rater: str
    position: int
    kind: str
    left: str
    right: str
    reference: str
    shown: float


@dataclass(frozen=True)
class Vote:
    """The answer to a trial.

    Attributes:
        trial: its id.
        choice: "left", "right" or "neither".
        seconds: that the pictures were to be seen.
        flips: how often another picture was turned to.
        layout: as it was, one of `files.LAYOUTS`.
        viewport_width, viewport_height: of the window, in CSS pixels.
        pixel_ratio: device pixels a CSS pixel.
        zoom: by pinching; 1 is none.
        input: "keyboard", "mouse", "touch" or "pen".
        received: seconds since 1970.
    """

    trial: str
    choice: str
    seconds: float
    flips: int
    layout: str
    viewport_width: int
    viewport_height: int
    pixel_ratio: float
    zoom: float
    input: str
    received: float


class Database:
    """The file of a study's votes. Safe for threads: what is done inside of transactions is done one after another.

    Arguments:
        path: of the file; it is made if it does not exist, unless it is only to be read.
        read_only: of results, beside a server that writes.

    Raises:
        AquatintError: the file is no database of votes, or one of a newer version.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._lock = threading.RLock()  # of the connection
        self._committing = threading.Lock()
        self._written = self._committed = 0  # transactions
        self._failed = False
        mode = "ro" if read_only else "rwc"
        try:
            self._connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
            )
            self._open(read_only)
        except sqlite3.DatabaseError as error:
            raise AquatintError(f"{path}: {error}") from error

    def _open(self, read_only: bool) -> None:
        execute = self._connection.execute
        execute("PRAGMA foreign_keys = ON")
        execute("PRAGMA busy_timeout = 5000")
        if not read_only:
            execute("PRAGMA journal_mode = WAL")
            execute("PRAGMA synchronous = FULL")  # a commit returns when the vote is on disk
        version = execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and not read_only:
            self._connection.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} {_APPEND_ONLY} PRAGMA user_version = {VERSION}; COMMIT;"
            )
        elif version != VERSION:
            raise sqlite3.DatabaseError(f"the version of the votes is {version}, not {VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of what is done inside, also if the process is killed; on disk at the end.

        Writing is one after another. Waiting for the disk is shared: whoever comes to commit commits for all who have
        written by then, so a hundred votes a second do not need a hundred writes to disk.

        Raises:
            AquatintError: the disk has failed, now or before; nothing is acknowledged any more.
        """
        execute = self._connection.execute
        with self._lock:
            if self._failed:
                raise AquatintError("votes cannot be stored: the disk has failed")
            if not self._connection.in_transaction:
                execute("BEGIN IMMEDIATE")
            execute("SAVEPOINT one")
            try:
                yield
            except BaseException:
                execute("ROLLBACK TO one" if self._written > self._committed else "ROLLBACK")
                raise
            execute("RELEASE one")
            self._written += 1
            mine = self._written
        with self._committing:
            if self._committed < mine:
                self._commit()

    def _commit(self) -> None:
        with self._lock:
            if self._failed:
                raise AquatintError("votes cannot be stored: the disk has failed")
            try:
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._failed = True
                raise AquatintError(f"votes cannot be stored: {error}") from error
            self._committed = self._written

    def add(self, row: Rater | Trial | Vote) -> None:
        """Adds a row, inside a transaction."""
        places = ", ".join("?" * len(fields(row)))
        self._connection.execute(f"INSERT INTO {_table(type(row))} VALUES ({places})", astuple(row))

    def rater(self, id: str) -> Rater | None:
        """The rater with an id."""
        return next(self._select(Rater, "WHERE id = ?", id), None)

    def trial(self, id: str) -> Trial | None:
        """The trial with an id."""
        return next(self._select(Trial, "WHERE id = ?", id), None)

    def vote(self, trial: str) -> Vote | None:
        """The vote on a trial."""
        return next(self._select(Vote, "WHERE trial = ?", trial), None)

    def trials_of(self, rater: str) -> list[Trial]:
        """A rater's trials in order."""
        return list(self._select(Trial, "WHERE rater = ? ORDER BY position", rater))

    def voted(self, rater: str) -> set[str]:
        """Ids of a rater's trials that have a vote."""
        query = "SELECT trial FROM votes JOIN trials ON trials.id = votes.trial WHERE rater = ?"
        with self._lock:
            return {row[0] for row in self._connection.execute(query, (rater,))}

    def raters(self) -> list[Rater]:
        """All raters in the order of joining."""
        return list(self._select(Rater, "ORDER BY joined"))

    def trials(self) -> list[Trial]:
        """All trials in the order of being made."""
        return list(self._select(Trial, "ORDER BY shown, rater, position"))

    def votes(self) -> dict[str, Vote]:
        """All votes by trial, in the order of arrival."""
        return {vote.trial: vote for vote in self._select(Vote, "ORDER BY received")}

    def check(self) -> str:
        """SQLite's own check of the file: "ok", or what is wrong."""
        with self._lock:
            return self._connection.execute("PRAGMA integrity_check").fetchone()[0]

    def close(self) -> None:
        """Ends the connection; what was committed is in the main file then."""
        with self._lock:
            self._connection.close()

    def _select(self, kind: type[Row], rest: str, *values: str) -> Iterator[Row]:
        with self._lock:
            rows = self._connection.execute(f"SELECT * FROM {_table(kind)} {rest}", values).fetchall()
        return (kind(*row) for row in rows)


def _table(kind: type) -> str:
    return f"{kind.__name__.lower()}s"
