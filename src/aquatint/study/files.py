"""The folder of a study: settings and texts to be edited, a list of stimuli, and their pictures.

study.toml        settings
instructions.md   what raters read first
consent.md        what they agree to
stimuli.jsonl     a line for every picture that may be shown
pictures/         PNG files with random names, which tell raters nothing
votes.sqlite      raters, trials and votes, made by `aquatint study serve`
secrets.json      keys of tokens, likewise
results/          made by `aquatint study results`
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from aquatint.errors import UsageError
from aquatint.study.design import Pairs

SETTINGS, STIMULI, PICTURES = "study.toml", "stimuli.jsonl", "pictures"
INSTRUCTIONS, CONSENT = "instructions.md", "consent.md"
LAYOUTS = ("side-by-side", "flip", "flip-with-reference")
_FILE_NAME = re.compile(r"[0-9a-f]{32}\.png")
_NAME_LENGTH = 100


@dataclass(frozen=True)
class Settings:
    """What study.toml says.

    Attributes:
        title: on every page.
        layout: where there is room for it; on small screens more of the pictures share one place.
        not_sure: raters may prefer neither.
        trials: of a rater, golden pairs and repeats included, 1 to 1000.
        golden: of them, pairs of an original and a damaged one.
        repeats: of them, pairs that the rater has seen before; with golden at most half of the trials.
        minimum_seconds: of looking before a vote counts, 0 to 60.
        joins_per_minute: new raters from one address, 1 to 10000.

    Raises:
        UsageError: a value is of another type or outside its range.
    """

    title: str = "Which picture is closer to the original?"
    layout: str = "side-by-side"
    not_sure: bool = True
    trials: int = 60
    golden: int = 4
    repeats: int = 4
    minimum_seconds: float = 1.0
    joins_per_minute: int = 60

    def __post_init__(self) -> None:
        for setting in fields(self):
            value, default = getattr(self, setting.name), setting.default
            numeric = isinstance(default, float) and type(value) is int
            if type(value) is not type(default) and not numeric:
                raise UsageError(f"{setting.name} must be {type(default).__name__}, not {value!r}")
        if self.layout not in LAYOUTS:
            raise UsageError(f"layout must be one of {', '.join(LAYOUTS)}, not {self.layout!r}")
        for name, low, high in (
            ("trials", 1, 1000),
            ("golden", 0, self.trials // 2),
            ("repeats", 0, self.trials // 2 - self.golden),
            ("minimum_seconds", 0, 60),
            ("joins_per_minute", 1, 10000),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(f"{name} must lie between {low} and {high}, not {value}")


class Role(StrEnum):
    """What a picture is in a study."""

    STIMULUS = "stimulus"
    REFERENCE = "reference"
    GOLDEN = "golden"


@dataclass(frozen=True)
class Stimulus:
    """A picture that may be shown.

    Attributes:
        file: its name in the folder of pictures, random.
        picture: name of what it shows.
        width, height: in pixels, as shown.
        role: the original, a golden pair's damaged one, or what is compared.
        condition: the codec.
        rate: label of the rate; only stimuli of one rate are compared.
        bits: of the whole file; None if not known.
        bpp: bits over pixels of the whole picture, which may be larger than what is shown.
        metrics: of the whole picture.

    Raises:
        UsageError: a name is too long, has control characters, or could lead out of the folder.
    """

    file: str
    picture: str
    width: int
    height: int
    role: Role = Role.STIMULUS
    condition: str = ""
    rate: str = ""
    bits: int | None = None
    bpp: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _FILE_NAME.fullmatch(self.file):
            raise UsageError(f"{self.file!r} is not the name of a picture of a study: 32 hexadecimal digits and .png")
        for name in (self.picture, self.condition, self.rate):
            check_name(name)

    @property
    def id(self) -> str:
        """What votes know it by."""
        return self.file.removesuffix(".png")


def check_name(name: str) -> None:
    """Raises UsageError for a name of a picture, condition or rate that is too long or has control characters."""
    if len(name) > _NAME_LENGTH or not name.isprintable():
        raise UsageError(f"{name[:_NAME_LENGTH]!r} is no name: at most {_NAME_LENGTH} printable characters")


@dataclass(frozen=True)
class Study:
    """A study as its folder says.

    Attributes:
        folder: where it is.
        settings: see there.
        stimuli: everything that may be shown.
    """

    folder: Path
    settings: Settings
    stimuli: tuple[Stimulus, ...]

    @cached_property
    def by_id(self) -> dict[str, Stimulus]:
        """Stimuli by their ids."""
        return {stimulus.id: stimulus for stimulus in self.stimuli}

    @cached_property
    def compared(self) -> dict[tuple[str, str, str], Stimulus]:
        """By rate, condition and picture: what is compared."""
        return {(s.rate, s.condition, s.picture): s for s in self.stimuli if s.role is Role.STIMULUS}

    @cached_property
    def references(self) -> dict[str, Stimulus]:
        """Originals by picture."""
        return {s.picture: s for s in self.stimuli if s.role is Role.REFERENCE}

    @cached_property
    def golden(self) -> list[Stimulus]:
        """Damaged pictures, each to be shown with its original."""
        return [s for s in self.stimuli if s.role is Role.GOLDEN]

    @cached_property
    def conditions(self) -> list[str]:
        """Codecs, sorted."""
        return sorted({condition for _, condition, _ in self.compared})

    @cached_property
    def rates(self) -> list[str]:
        """Rates, from low to high."""
        return sorted({rate for rate, _, _ in self.compared}, key=_by_value)

    @cached_property
    def pictures(self) -> list[str]:
        """Names of pictures, sorted."""
        return sorted({picture for _, _, picture in self.compared})

    @cached_property
    def pairs(self) -> Pairs:
        """All pairs, in terms of places in `rates`, `conditions` and `pictures`."""
        rates, conditions, pictures = (
            {name: place for place, name in enumerate(names)} for names in (self.rates, self.conditions, self.pictures)
        )
        return Pairs.of((rates[r], conditions[c], pictures[p]) for r, c, p in self.compared)

    @cached_property
    def plan(self) -> tuple[int, int, int]:
        """Trials of a rater, and of them golden pairs and repeats: fewer than in the settings if pairs are few."""
        golden = min(self.settings.golden, len(self.golden), len(self.pairs) // 2)
        repeats = min(self.settings.repeats, len(self.pairs) // 2)
        ordinary = min(self.settings.trials - self.settings.golden - self.settings.repeats, len(self.pairs))
        return ordinary + golden + repeats, golden, repeats

    def path(self, stimulus: Stimulus) -> Path:
        """Of a picture's file."""
        return self.folder / PICTURES / stimulus.file

    def text(self, name: str) -> str:
        """Of one of the texts, in Markdown; raises OSError."""
        return (self.folder / name).read_text(encoding="utf-8")


def load(folder: str | Path) -> Study:
    """Reads a study and checks that it is whole.

    Raises:
        UsageError: a file says what makes no sense; the message names file and line.
        OSError: a file cannot be read.
    """
    folder = Path(folder)
    settings = _settings(folder / SETTINGS)
    study = Study(folder, settings, tuple(_stimuli(folder / STIMULI)))
    if len(study.by_id) < len(study.stimuli):
        raise UsageError(f"{folder / STIMULI}: two lines have the same file")
    if len(study.compared) + len(study.references) + len(study.golden) < len(study.stimuli):
        raise UsageError(f"{folder / STIMULI}: two lines have the same picture, condition and rate")
    for stimulus in study.stimuli:
        original = study.references.get(stimulus.picture)
        if original is None:
            raise UsageError(f"{folder / STIMULI}: the picture {stimulus.picture!r} has no reference")
        if (original.width, original.height) != (stimulus.width, stimulus.height):
            raise UsageError(f"{folder / STIMULI}: {stimulus.file} has another size than its reference")
        if not study.path(stimulus).is_file():
            raise UsageError(f"{study.path(stimulus)} is missing")
    assert len(study.pairs) > 0  # or UsageError
    return study


def write_stimuli(path: Path, stimuli: Iterable[Stimulus]) -> None:
    """Writes stimuli.jsonl."""
    lines = [
        json.dumps({f.name: getattr(s, f.name) for f in fields(s)} | {"metrics": dict(s.metrics)}) for s in stimuli
    ]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _settings(path: Path) -> Settings:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        if unknown := values.keys() - {f.name for f in fields(Settings)}:
            raise UsageError(f"there is no setting {sorted(unknown)[0]!r}")
        return Settings(**values)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, UsageError) as error:
        raise UsageError(f"{path}: {error}") from None


def _stimuli(path: Path) -> Iterable[Stimulus]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            values: dict[str, Any] = json.loads(line)
            values["role"] = Role(values["role"])
            yield Stimulus(**values)
        except (ValueError, TypeError, KeyError) as error:  # UsageError is a ValueError
            raise UsageError(f"{path}, line {number}: {error}") from None


def _by_value(label: str) -> tuple[float, str]:
    try:
        return float(label), label
    except ValueError:
        return float("inf"), label
