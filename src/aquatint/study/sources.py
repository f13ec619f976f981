"""What is compared: from the folder of `aquatint evaluate`, or from folders of pictures."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aquatint.errors import UsageError
from aquatint.evaluation import pictures
from aquatint.evaluation.jobs import DECODED
from aquatint.evaluation.metrics import METRICS
from aquatint.study.files import check_name

RESULTS, ORIGINALS = "results.jsonl", "originals"  # docs/evaluation.md
REFERENCE, SIZES = "reference", "sizes.csv"


@dataclass(frozen=True)
class Source:
    """A decoded picture with its original.

    Attributes:
        picture: name of what it shows.
        condition: the codec.
        rate: label of its rate; empty if there is but one.
        reference, path: files of the original and of the decoded picture.
        bytes: of the coded file; None if not known.
        metrics: of the decoded picture.
    """

    picture: str
    condition: str
    rate: str
    reference: Path
    path: Path
    bytes: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


def from_evaluation(folder: str | Path) -> list[Source]:
    """The finished rows of an evaluation; those that failed are left out.

    Raises:
        UsageError: a row lacks a field, leads out of the folder, or there are two of a codec, rate and picture.
        OSError: results.jsonl cannot be read.
    """
    folder = Path(folder)
    sources: dict[tuple[str, str, str], Source] = {}
    for number, line in enumerate((folder / RESULTS).read_text(encoding="utf-8").splitlines(), 1):
        try:
            row: dict[str, Any] = json.loads(line)
            if row["status"] != "ok":
                continue
            source = Source(
                picture=row["picture"],
                condition=row["codec"],
                rate=f"{row['target_bpp']:g}",
                reference=_inside(folder, f"{ORIGINALS}/{row['picture_digest']}.png"),
                path=_inside(folder, f"{row['folder']}/{DECODED}"),
                bytes=int(row["bytes"]),
                metrics={name: float(row[name]) for name in METRICS if row.get(name) is not None},
            )
        except KeyError as error:
            raise UsageError(f"{folder / RESULTS}, line {number}: there is no {error}") from None
        except (ValueError, TypeError) as error:
            raise UsageError(f"{folder / RESULTS}, line {number}: {error}") from None
        other = sources.setdefault((source.picture, source.condition, source.rate), source)
        if other is not source:
            what = f"{source.condition!r} at {source.rate} bpp of {source.picture!r}"
            raise UsageError(f"{folder / RESULTS}, line {number}: there are two rows of {what}")
    return list(sources.values())


def from_folder(folder: str | Path) -> list[Source]:
    """Pictures in folders: `reference`, and one for each condition, with the same names of files.

    The name of a condition's folder may end in @ and a rate: avif@0.1. A file `sizes.csv` with the columns folder,
    picture (the name without extension) and bytes tells the sizes of the coded files.

    Raises:
        UsageError: there are not two conditions, a picture has no reference, or `sizes.csv` makes no sense.
        OSError: a folder cannot be read.
    """
    folder = Path(folder)
    references = pictures.Folder(folder / REFERENCE).files
    sizes = _sizes(folder / SIZES)
    sources = []
    for path in sorted(folder.iterdir()):
        if path.name == REFERENCE or path.name.startswith(".") or not path.is_dir():
            continue
        condition, _, rate = path.name.partition("@")
        for name, file in pictures.Folder(path).files.items():
            if name not in references:
                raise UsageError(f"{file} has no picture of the same name in {folder / REFERENCE}")
            sources.append(Source(name, condition, rate, references[name], file, sizes.pop((path.name, name), None)))
    if len({source.condition for source in sources}) < 2:
        raise UsageError(f"{folder}: at least two folders of pictures are needed besides {REFERENCE}")
    if sizes:
        raise UsageError(f"{folder / SIZES}: there is no picture {'/'.join(next(iter(sizes)))}")
    return sources


def check_bits(sources: Sequence[Source], tolerance: float) -> None:
    """Checks that what is compared has equal sizes: else votes would be on sizes.

    Arguments:
        sources: what is compared; those of unknown size are not checked.
        tolerance: by which share the largest file of a picture and rate may exceed the smallest.

    Raises:
        UsageError: a picture has a larger mismatch; the message names the worst. Or the tolerance is no share.
    """
    if not 0 <= tolerance < math.inf:
        raise UsageError(f"the tolerance must be a share from 0 on, not {tolerance}")
    groups: dict[tuple[str, str], list[Source]] = {}
    for source in sources:
        if source.bytes is not None:
            groups.setdefault((source.rate, source.picture), []).append(source)
    worst, bad, which = 0.0, 0, None
    for group in groups.values():
        small, large = (extreme(group, key=lambda s: s.bytes or 0) for extreme in (min, max))
        mismatch = (large.bytes or 0) / max(1, small.bytes or 0) - 1
        bad += (large.bytes or 0) - (small.bytes or 0) > tolerance * (small.bytes or 0)
        if mismatch > worst:
            worst, which = mismatch, (small, large)
    if bad and which is not None:
        small, large = which
        at = f" at {small.rate} bpp" if small.rate else ""
        raise UsageError(
            f"the files of {bad} of {len(groups)} pictures differ by more than {tolerance:.2%}: {small.picture}{at} is "
            f"{small.bytes} bytes by {small.condition} and {large.bytes} by {large.condition}, {worst:.1%} more"
        )


def check_names(sources: Iterable[Source]) -> None:
    """Raises UsageError for names that are too long or have control characters."""
    for source in sources:
        for name in (source.picture, source.condition, source.rate):
            check_name(name)


def _inside(folder: Path, name: str) -> Path:
    """A file in a folder; raises UsageError for a name that leads out of it."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise UsageError(f"{name!r} leads out of the folder")
    return path


def _sizes(path: Path) -> dict[tuple[str, str], int]:
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        try:
            return {(row["folder"], row["picture"]): int(row["bytes"]) for row in csv.DictReader(file)}
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{path}: the columns folder, picture and bytes are needed: {error}") from None
