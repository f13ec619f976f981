"""Where trained models are, and which one a file needs.

A model is a safetensors file and, beside it, a card: a JSON file of the same stem that says what it is and how it was
made. The first 8 bytes of the SHA-256 of the weights file are its hash in .aqt files (docs/FORMAT.md, section 1).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from aquatint.errors import (
    AquatintError,
    CorruptStreamError,
    DependencyError,
    MissingModelError,
    ModelError,
    ModelMismatchError,
    UsageError,
)

if TYPE_CHECKING:
    import numpy as np

    from aquatint.codecs.options import Options

PACKAGED = Path(__file__).parent.parent / "models"
SUFFIX = ".safetensors"
# Codecs that have trained models, and the one that each uses if nobody names another.
DEFAULTS = {"hyperprior": "compact", "extreme": "gc", "transport": "ot"}
_NEEDS = "trained models need safetensors: pip install 'aquatint[torch]'"

Assembled = TypeVar("Assembled", covariant=True)


class Assemble(Protocol[Assembled]):
    """Makes something usable of a weights file."""

    def __call__(self, about: Mapping[str, Any], tensors: dict[str, np.ndarray], hash_: bytes, /) -> Assembled: ...


@dataclass(frozen=True)
class ModelFile:
    """A weights file and its card."""

    path: Path

    @property
    def name(self) -> str:
        """The name that it is loaded by."""
        return self.path.stem

    @cached_property
    def card(self) -> dict[str, object]:
        """What the card says; empty if there is none.

        Raises:
            ModelError: the card is not a JSON object.
        """
        path = self.path.with_suffix(".json")
        try:
            card = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (ValueError, OSError) as error:
            raise ModelError(f"the card {path} cannot be read: {error}") from None
        if not isinstance(card, dict):
            raise ModelError(f"the card {path} is not a JSON object")
        return card

    @property
    def content(self) -> bytes:
        """The bytes of the weights file.

        Raises:
            MissingModelError: it cannot be read.
        """
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise MissingModelError(f"the model {self.path} cannot be read: {error.strerror}") from None

    @cached_property
    def hash(self) -> bytes:
        """What the header of an .aqt file says about the model that it needs.

        Raises:
            MissingModelError: the file cannot be read.
            ModelMismatchError: the file is not the one that its card describes.
        """
        try:
            now = self.path.stat()
        except OSError as error:
            raise MissingModelError(f"the model {self.path} cannot be read: {error.strerror}") from None
        digest = _digest(self, now.st_mtime_ns, now.st_size)
        promised = self.card.get("sha256", digest.hex())
        if promised != digest.hex():
            raise ModelMismatchError(
                f"{self.path} is damaged or was exchanged: its SHA-256 is {digest.hex()}, not {promised}"
            )
        return digest[:8]


@lru_cache(maxsize=64)
def _digest(model: ModelFile, modified: int, size: int) -> bytes:
    """SHA-256 of a weights file, once for each state of it: it takes a tenth of the time of decoding a picture."""
    return hashlib.sha256(model.content).digest()


def user_folder() -> Path:
    """The folder of models that are not part of the package: AQUATINT_MODELS, or in the user's cache."""
    return Path(os.environ.get("AQUATINT_MODELS") or Path.home() / ".cache" / "aquatint" / "models")


def installed() -> Iterator[ModelFile]:
    """All models that can be loaded by name, the user's before the package's."""
    for folder in (user_folder(), PACKAGED):
        for path in sorted(folder.glob("*" + SUFFIX)):
            yield ModelFile(path)


# Models that this process was given by path or id: it can decode what it encoded with them.
_given: dict[str, ModelFile] = {}


def find(name: str) -> ModelFile:
    """A model by name, by path, or by its id on the Hugging Face hub, "owner/repository".

    Raises:
        MissingModelError: there is none.
        DependencyError: it is on the hub, and the package for that is not installed.
    """
    if name.endswith(SUFFIX):
        if not Path(name).is_file():
            raise MissingModelError(f"there is no model file {name}")
        _given[name] = ModelFile(Path(name))
        return _given[name]
    for model in installed():
        if model.name == name:
            return model
    if name.count("/") == 1:
        _given[name] = _downloaded(name)
        return _given[name]
    known = ", ".join(sorted({model.name for model in installed()})) or "none"
    raise MissingModelError(f"there is no model {name!r}; installed are: {known} (in {PACKAGED} and {user_folder()})")


def find_hash(wanted: bytes) -> ModelFile:
    """The model of which a file says that it needs it.

    Raises:
        MissingModelError: it is not installed.
        ModelMismatchError: a model's file is not the one that its card describes.
    """
    for model in (*installed(), *(model for model in _given.values() if model.path.is_file())):
        # The card tells without reading all the weights.
        promised = model.card.get("sha256")
        if (promised is None or str(promised).startswith(wanted.hex())) and model.hash == wanted:
            return model
    raise MissingModelError(
        f"the file needs the model with hash {wanted.hex()}, which is not installed: "
        f"get its weights file and run 'aquatint models add FILE', or put it into {user_folder()}"
    )


class Loaded(Protocol):
    """A model that can code."""

    @property
    def hash(self) -> bytes: ...


AnyLoaded = TypeVar("AnyLoaded", bound=Loaded)


def of_header(wanted: bytes, load: Callable[[ModelFile], AnyLoaded]) -> AnyLoaded:
    """The model of a file, by the hash in its header; raises what `find_hash` and `load` raise.

    Raises:
        CorruptStreamError: the header names no model.
        ModelMismatchError: the weights were exchanged meanwhile.
    """
    if not any(wanted):
        raise CorruptStreamError("the file names no model; this codec needs one")
    model = load(find_hash(wanted))
    if model.hash != wanted:
        raise ModelMismatchError(f"the file needs model {wanted.hex()}, not {model.hash.hex()}")
    return model


def chosen(codec: str, model: str | None) -> ModelFile:
    """The model that was named, see `find`, or that of the codec.

    Raises:
        MissingModelError: there is no such model.
    """
    return find(model or DEFAULTS[codec])


def refuse_tuning(options: Options) -> None:
    """What a trained model was made for cannot be chosen when it encodes.

    Raises:
        UsageError: the encoder was given another objective than the squared error, or a map for one.
    """
    if options.tune not in (None, "psnr") or options.sigma_map is not None:
        raise UsageError("a trained model has been tuned already: tune and sigma_map are for the overfitted codec")


def assembled(file: ModelFile, kind: str, form: int, assemble: Assemble[Assembled]) -> Assembled:
    """What a weights file holds, ready for use; the last few are kept.

    Arguments:
        file: the file.
        kind, form: what it must be, and its format.
        assemble: makes it of what the file says about itself, its tensors and its hash. Whatever it raises of the
            package's and of common errors means that the file cannot be used.

    Raises:
        ModelError: the file is of another kind or format, damaged, or not whole.
        DependencyError: safetensors is not installed.
    """
    return _assembled(str(file.path), file.hash, kind, form, assemble)


@lru_cache(maxsize=8)
def _assembled(path: str, hash_: bytes, kind: str, form: int, assemble: Assemble[Any]) -> Any:
    try:
        about, tensors = _read(path, kind, form)
        return assemble(about, tensors, hash_)
    except DependencyError:
        raise
    except (AquatintError, KeyError, ValueError, TypeError, RuntimeError, OSError) as error:
        raise ModelError(f"the {'model' if kind in DEFAULTS else kind} {path} cannot be used: {error}") from None


def _about(path: str) -> dict[str, Any]:
    """What a weights file says about itself."""
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError:
        raise DependencyError(_NEEDS) from None
    try:
        with safe_open(path, "numpy") as opened:
            about = json.loads((opened.metadata() or {}).get("aquatint", "{}"))
    except (SafetensorError, ValueError) as error:
        raise ModelError(f"it is damaged: {error}") from None
    return about if isinstance(about, dict) else {}


def _read(path: str, kind: str, form: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a weights file says about itself, and its tensors."""
    about = _about(path)
    if about.get("kind") != kind:
        raise ModelError(f"it is not a model of the {kind} codec" if kind in DEFAULTS else f"it is not a {kind}")
    if about.get("format") != form:
        raise ModelError(f"it has format {about.get('format')}; this program reads {form}")
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return about, load_file(path)
    except (SafetensorError, AttributeError) as error:  # AttributeError: numpy has no such type of numbers
        raise ModelError(f"its tensors cannot be read: {error}") from None


def kind(file: ModelFile) -> str:
    """What a weights file is: "hyperprior", "transport", "extreme", "generator" or "sampler"; "" if it does not say.

    Raises:
        ModelError: it is damaged.
        DependencyError: safetensors is not installed.
    """
    try:
        return str(_about(str(file.path)).get("kind", ""))
    except (ModelError, OSError) as error:
        raise ModelError(f"the model {file.path} cannot be used: {error}") from None


def tensors_under(tensors: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Those whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def add(path: Path) -> ModelFile:
    """Copies a model and its card to the user's folder.

    Raises:
        MissingModelError, ModelMismatchError: as for `ModelFile`.
        OSError: the folder cannot be written.
    """
    source = ModelFile(path)
    _ = source.hash
    folder = user_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for file in (path.with_suffix(".json"), path):  # a model never appears without its card
        if file.exists():
            partial = folder / f".{file.name}.{os.getpid()}"
            shutil.copyfile(file, partial)
            os.replace(partial, folder / file.name)
    return ModelFile(folder / path.name)


def _downloaded(repository: str) -> ModelFile:
    """The first model of a repository on the hub."""
    try:
        from huggingface_hub import HfApi, hf_hub_download
    except ModuleNotFoundError:
        raise DependencyError(
            f"{repository} is no installed model; models of the hub need: pip install 'aquatint[hub]'"
        ) from None
    try:
        names = sorted(name for name in HfApi().list_repo_files(repository) if name.endswith(SUFFIX))
        if not names:
            raise MissingModelError(f"the repository {repository} has no {SUFFIX} file")
        paths = [hf_hub_download(repository, name) for name in (names[0].removesuffix(SUFFIX) + ".json", names[0])]
    except MissingModelError:
        raise
    except Exception as error:  # the hub's client raises errors of several libraries
        raise MissingModelError(f"the model {repository} cannot be fetched: {error}") from None
    return add(Path(paths[1]))
