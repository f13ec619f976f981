"""Making a study: pictures are cropped, stripped of all that could tell where they come from, and listed."""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from aquatint.errors import UsageError
from aquatint.evaluation import pictures
from aquatint.study import files, sources
from aquatint.study.files import Role, Settings, Stimulus
from aquatint.study.sources import Source

CROP = 1024  # pixels a side: about what a screen has room for
GOLDEN = 12  # pictures of which there is a damaged version
TOLERANCE = 0.02

_TEMPLATES = resources.files("aquatint.study") / "templates"


def new(
    folder: str | Path,
    compared: Sequence[Source],
    settings: Settings,
    *,
    crop: int = CROP,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> None:
    """Makes the folder of a study, whole or not at all.

    Arguments:
        folder: must not exist, or be empty.
        compared: what is compared.
        settings: to begin with; its file can be edited.
        crop: larger pictures are cropped to so many pixels a side, at least 64, at a random place.
        tolerance: see `sources.check_bits`.
        seed: of the places of crops.

    Raises:
        UsageError: names, sizes or the choice of stimuli make no sense.
        AquatintError: a picture cannot be read.
        OSError: the folder has something in it, or cannot be written to.
    """
    folder = Path(folder)
    if crop < 64:
        raise UsageError(f"crops must have at least 64 pixels a side, not {crop}")
    sources.check_names(compared)
    sources.check_bits(compared, tolerance)
    compared = _comparable(compared)
    partial = folder.resolve().with_name(f".{folder.resolve().name}.{os.getpid()}")
    try:
        (partial / files.PICTURES).mkdir(parents=True)
        stimuli: list[Stimulus] = []
        names = sorted({source.picture for source in compared})
        for place, name in enumerate(names):
            rng = np.random.default_rng([seed, place])
            versions = [source for source in compared if source.picture == name]
            stimuli += _picture(partial / files.PICTURES, versions, crop, rng, golden=place < GOLDEN)
        secrets.SystemRandom().shuffle(stimuli)  # neither names nor order nor times tell what is what
        files.write_stimuli(partial / files.STIMULI, sorted(stimuli, key=lambda s: (s.picture, s.rate, s.file)))
        (partial / files.SETTINGS).write_text(_toml(settings), encoding="utf-8")
        for text in (files.INSTRUCTIONS, files.CONSENT):
            (partial / text).write_text((_TEMPLATES / text).read_text(encoding="utf-8"), encoding="utf-8")
        files.load(partial)
        os.replace(partial, folder)  # over an empty folder, too; OSError over any other
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def damage(pixels: np.ndarray) -> np.ndarray:
    """A picture that nobody can take for closer to the original: an eighth of the resolution, and JPEG at its worst."""
    image = PILImage.fromarray(pixels)
    small = image.resize((max(1, image.width // 8), max(1, image.height // 8)), PILImage.Resampling.BOX)
    coded = io.BytesIO()
    small.resize(image.size, PILImage.Resampling.BICUBIC).save(coded, "JPEG", quality=1)
    return np.asarray(PILImage.open(coded).convert("RGB"))


def _comparable(compared: Sequence[Source]) -> list[Source]:
    """Those with a partner of the same picture and rate."""
    counts: dict[tuple[str, str], int] = {}
    for source in compared:
        counts[source.rate, source.picture] = counts.get((source.rate, source.picture), 0) + 1
    chosen = [source for source in compared if counts[source.rate, source.picture] > 1]
    if not chosen:
        raise UsageError("there is nothing to compare: no picture has two conditions at one rate")
    return chosen


def _picture(
    folder: Path, versions: Sequence[Source], crop: int, rng: np.random.Generator, *, golden: bool
) -> list[Stimulus]:
    """Writes the original, the versions and a damaged one of a picture, all cropped at the same place."""
    original = pictures.load(versions[0].reference)
    window = _window(original.shape[0], original.shape[1], crop, rng)
    name = versions[0].picture

    def write(pixels: np.ndarray, role: Role, **rest: object) -> Stimulus:
        shown = np.ascontiguousarray(pixels[window])
        file = f"{secrets.token_hex(16)}.png"
        PILImage.fromarray(shown).save(folder / file)
        return Stimulus(file, name, shown.shape[1], shown.shape[0], role, **rest)  # pyright: ignore[reportArgumentType]

    stimuli = [write(original, Role.REFERENCE)]
    if golden:
        stimuli.append(write(damage(original), Role.GOLDEN))
    for source in versions:
        decoded = pictures.load(source.path)
        if decoded.shape != original.shape:
            sizes = "x".join(map(str, decoded.shape[1::-1])), "x".join(map(str, original.shape[1::-1]))
            raise UsageError(f"{source.path} has {sizes[0]} pixels, its original {sizes[1]}")
        bits = None if source.bytes is None else 8 * source.bytes
        bpp = None if bits is None else bits / original[..., 0].size
        rest = {"condition": source.condition, "rate": source.rate, "bits": bits, "bpp": bpp, "metrics": source.metrics}
        stimuli.append(write(decoded, Role.STIMULUS, **rest))
    return stimuli


def _window(height: int, width: int, crop: int, rng: np.random.Generator) -> tuple[slice, slice]:
    rows, columns = (
        slice(start := int(rng.integers(max(0, size - crop) + 1)), start + min(size, crop)) for size in (height, width)
    )
    return rows, columns


def _toml(settings: Settings) -> str:
    template = (_TEMPLATES / files.SETTINGS).read_text(encoding="utf-8")
    for name, value in vars(settings).items():
        text = str(value).lower() if isinstance(value, bool) else _quoted(value) if isinstance(value, str) else value
        template = template.replace(f"{{{name}}}", str(text))
    return template


def _quoted(text: str) -> str:
    """A basic string of TOML: its escapes include those of JSON."""
    return json.dumps(text, ensure_ascii=False)
