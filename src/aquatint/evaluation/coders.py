"""The codecs that are compared: what a run needs of each, and Aquatint's own as the command line names them."""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from aquatint import __version__, api, codecs, image
from aquatint.codecs import models
from aquatint.codecs.options import Options
from aquatint.codecs.target import Target
from aquatint.errors import DependencyError, RateError, UsageError


@dataclass(frozen=True)
class Coded:
    """A file that a codec made.

    Attributes:
        data: all of its bytes, headers included.
        seconds: time that making this one file took.
        setting: what a search has found, None if the codec aims for rates by itself.
        trials: files that were made to find it.
        multiplications_per_pixel: cost of decoding, None where it is not known.
    """

    data: bytes
    seconds: float
    setting: float | None = None
    trials: int = 1
    multiplications_per_pixel: float | None = None


class Coder(Protocol):
    """A codec with its settings. It goes to worker processes, so it must pickle."""

    @property
    def name(self) -> str:
        """As the command line names it."""
        ...

    @property
    def extension(self) -> str:
        """Of its files, with the dot."""
        ...

    def describe(self) -> Mapping[str, object]:
        """All that its files depend on but the picture and the rate: version and exact settings.

        Raises:
            DependencyError: what it needs is not installed; the message says how to.
        """
        ...

    def encode(self, pixels: np.ndarray, bpp: float, *, threads: int) -> Coded:
        """Encodes uint8 of shape (H, W, 3) into a file of that many bits per pixel, or nearly so.

        Raises:
            OutOfReachError: the codec cannot make such a file.
        """
        ...

    def decode(self, data: bytes, *, threads: int) -> np.ndarray:
        """Decodes a file to uint8 of shape (H, W, 3)."""
        ...


@dataclass(frozen=True)
class Aquatint:
    """A codec of this package: `NAME[-TUNE][+GENERATOR][:eEFFORT]`, such as "overfitted-wd:e4" or "hyperprior+illm"."""

    codec: str = "overfitted"
    tune: str | None = None
    effort: int = 5
    generator: str | None = None

    extension = ".aqt"

    @property
    def name(self) -> str:
        tune, generator = (f"{sign}{part}" if part else "" for sign, part in (("-", self.tune), ("+", self.generator)))
        return f"{self.codec}{tune}{generator}:e{self.effort}"

    def describe(self) -> Mapping[str, object]:
        codecs.load(self.codec)
        settings: dict[str, object] = {"codec": self.codec, "tune": self.tune, "effort": self.effort}
        if self.generator is not None:
            files = [file for file in models.installed() if file.card.get("generator") == self.generator]
            if not files:
                raise DependencyError(
                    f"{self.name}: there is no generator {self.generator!r}; see 'aquatint models add'"
                )
            settings["generators"] = [file.hash.hex() for file in files]
        code = fingerprint("codecs/**/*.py", "perception/**/*.py", "models/*", "native.*")
        return {"version": f"aquatint {__version__} ({code})", "settings": settings}

    def encode(self, pixels: np.ndarray, bpp: float, *, threads: int) -> Coded:
        picture, options = image.from_array(pixels), Options(effort=self.effort, threads=threads, tune=self.tune)
        try:
            encoded = api.compress(picture, Target(bpp=bpp), options, codec=self.codec)
        except RateError as error:  # models with few rates come as near as they can, like the searched codecs
            encoded = api.compress(picture, Target(bpp=error.nearest), options, codec=self.codec)
        report = encoded.report
        return Coded(encoded.data, encoded.seconds, report.lagrangian, 1, report.multiplications_per_pixel)

    def decode(self, data: bytes, *, threads: int) -> np.ndarray:
        return api.decode(data, threads=threads, generator=self.generator).to_array()


@functools.cache
def fingerprint(*patterns: str) -> str:
    """Twelve hexadecimal digits of files of this package, so that results of other code are not reused."""
    package = Path(inspect.getfile(codecs)).parents[1]
    digest = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in package.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def parse(names: Sequence[str]) -> list[Coder]:
    """The codecs that are named, each once.

    Raises:
        UsageError: no codec has this name.
    """
    return list({coder.name: coder for coder in map(_parse, names)}.values())


def _parse(name: str) -> Coder:
    from aquatint.evaluation.peers import PEERS

    if name in PEERS:
        return PEERS[name]
    match = re.fullmatch(
        r"(?P<codec>[a-z]+)(-(?P<tune>[a-z0-9-]+))?(\+(?P<generator>[a-z0-9-]+))?(:e(?P<effort>[0-9]+))?", name
    )
    try:
        codecs.load(match["codec"] if match else name)
    except UsageError as error:
        raise UsageError(f"{error}; or of other codecs: {', '.join(PEERS)}") from None
    assert match  # no codec of this package has a name of another form
    effort = int(match["effort"] or 5)
    if effort not in range(1, 11):
        raise UsageError(f"codec {name!r}: effort must be from 1 to 10, not {effort}")
    if match["generator"] and match["codec"] not in codecs.WITH_GENERATORS:
        raise UsageError(f"codec {name!r}: {match['codec']} has no generators")
    return Aquatint(match["codec"], match["tune"], effort, match["generator"])
